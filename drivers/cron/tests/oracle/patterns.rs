//! Schedules drawn from a seed, as we write them and as croniter does.
//!
//! They are written alike but for the last weekday of a month: `FRI#L` here, `L5` there.

const MONTHS: [&str; 12] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// One schedule.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    /// Five or six fields, for this driver.
    pub(crate) ours: String,
    /// Six fields, for croniter.
    pub(crate) theirs: String,
    /// Whether no `*` and no open step is among its times of day.
    pub(crate) fixed: bool,
}

/// Schedules without end.
pub(crate) struct Patterns(fastrand::Rng);

impl Patterns {
    pub(crate) fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    fn one_of(&mut self, weights: &[u32]) -> usize {
        let mut left = self.0.u32(..weights.iter().sum::<u32>());
        let chosen = weights.iter().position(|weight| match left.checked_sub(*weight) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        });
        chosen.unwrap()
    }

    /// A number, a list, a range, a range with steps, `*/n` or `n/m`.
    fn numbers(&mut self, low: u32, high: u32, weights: &[u32; 7]) -> String {
        let rng = &mut self.0;
        let step = rng.u32(2..=(high - low) / 2);
        let (one, two) = (rng.u32(low..=high), rng.u32(low..=high));
        // From a number to itself is every number for croniter.
        let first = rng.u32(low..high);
        let last = rng.u32(first + 1..=high);
        match self.one_of(weights) {
            0 => "*".to_owned(),
            1 => one.to_string(),
            2 => format!("{one},{two}"),
            3 => format!("{first}-{last}"),
            4 => format!("{first}-{last}/{step},{two}"),
            5 => format!("*/{step}"),
            _ => format!("{one}/{step}"),
        }
    }

    fn seconds(&mut self) -> String {
        match self.one_of(&[6, 2, 1]) {
            0 => "0".to_owned(),
            1 => self.0.u32(..60).to_string(),
            _ => self.numbers(0, 59, &[1, 0, 2, 1, 2, 2, 1]),
        }
    }

    fn minutes(&mut self) -> String {
        match self.one_of(&[3, 1]) {
            0 => self.numbers(0, 59, &[1, 4, 2, 1, 1, 3, 1]),
            _ => ["0", "30", "0,30", "*/15", "59"][self.one_of(&[1, 1, 1, 1, 1])].to_owned(),
        }
    }

    /// Mostly in the hours in which clocks are changed.
    fn hours(&mut self) -> String {
        match self.one_of(&[3, 1, 2]) {
            0 => self.numbers(0, 4, &[0, 4, 3, 2, 1, 0, 0]),
            1 => ["23", "22-23", "23,0,1"][self.one_of(&[2, 1, 1])].to_owned(),
            _ => self.numbers(0, 23, &[3, 2, 2, 2, 1, 2, 1]),
        }
    }

    /// Days of the month; never all of them in words.
    fn days(&mut self) -> String {
        match self.one_of(&[10, 3, 1, 1, 1, 1]) {
            0 => "*".to_owned(),
            1 => self.numbers(1, 28, &[0, 3, 2, 2, 1, 0, 0]),
            2 => format!("*/{}", self.0.u32(2..10)),
            3 => "L".to_owned(),
            4 => format!("{},L", self.0.u32(1..28)),
            _ => "?".to_owned(),
        }
    }

    fn months(&mut self) -> String {
        let rng = &mut self.0;
        let (one, two) = (rng.usize(..12), rng.usize(..12));
        let first = rng.usize(..11);
        let last = rng.usize(first + 1..12);
        match self.one_of(&[8, 1, 1, 1, 1]) {
            0 => "*".to_owned(),
            1 => format!("{},{}", MONTHS[one], MONTHS[two]),
            2 => format!("{}-{}", MONTHS[first], MONTHS[last]),
            3 => format!("{},{}", one + 1, two + 1),
            _ => "*/2".to_owned(),
        }
    }

    /// Days of the week, ours and croniter's; never all of them in words.
    fn weekdays(&mut self) -> (String, String) {
        let rng = &mut self.0;
        let (one, nth) = (rng.usize(..7), rng.usize(1..=5));
        let same = |text: String| (text.clone(), text);
        match self.one_of(&[10, 3, 2, 1, 1, 2, 1, 1]) {
            0 => same("*".to_owned()),
            1 => same(WEEKDAYS[one].to_owned()),
            2 => same("MON-FRI".to_owned()),
            3 => same(format!("{one},7")),
            4 => same(format!("1-3,{one}")),
            5 => (format!("{}#L", WEEKDAYS[one]), format!("L{one}")),
            6 => same(format!("{one}#{nth}")),
            _ => same("1-5/2".to_owned()),
        }
    }
}

impl Iterator for Patterns {
    type Item = Pattern;

    fn next(&mut self) -> Option<Pattern> {
        let times = [self.seconds(), self.minutes(), self.hours()];
        let (months, (ours, theirs)) = (self.months(), self.weekdays());
        // Beside a day of the month croniter wants both of it and such a weekday; elsewhere either is enough for it too.
        let days = match ours.contains('#') {
            true => "*".to_owned(),
            false => self.days(),
        };
        let open = |field: &String| {
            let mut items = field.split(',');
            items.any(|item| item.contains('*') || item.contains('/') && !item.contains('-'))
        };
        let fixed = !times.iter().any(open);
        let [seconds, minutes, hours] = times;
        let rest = format!("{minutes} {hours} {days} {months}");
        Some(Pattern {
            // Five fields and none for seconds are the second 0.
            ours: match seconds == "0" {
                true => format!("{rest} {ours}"),
                false => format!("{seconds} {rest} {ours}"),
            },
            theirs: format!("{seconds} {rest} {theirs}"),
            fixed,
        })
    }
}
