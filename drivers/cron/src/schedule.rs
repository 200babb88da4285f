//! When: a schedule, its dialects, its ticks. Pure: nothing here looks at the clock.
//!
//! Patterns are croner's; what a change of the clock means for fixed times is said in `fixed_time.rs`. `@every` counts
//! from the Unix epoch, so that a restart shifts nothing.

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use crate::config::Dialect;
use crate::fixed_time;

/// Shorter than any schedule fires.
const SECOND: i64 = 1;

/// A checked schedule that fires at least once more.
#[derive(Debug, Clone)]
pub enum Schedule {
    /// A pattern in a time zone.
    Pattern {
        /// The pattern.
        cron: Box<Cron>,
        /// Whether its times of day are fixed.
        fixed: bool,
        /// The time zone its fields are meant in.
        timezone: Tz,
    },
    /// Every so many seconds, counted from the Unix epoch.
    Every {
        /// At least one.
        seconds: i64,
        /// For showing ticks.
        timezone: Tz,
    },
    /// Once.
    At {
        /// When.
        time: DateTime<Utc>,
        /// For showing it.
        timezone: Tz,
    },
}

/// Why a text is no schedule; follows the text in a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Wrong number of fields.
    #[error(
        "has {0} fields; write five (minute hour day month weekday) or six (seconds first), or @every, @daily"
    )]
    Fields(usize),
    /// A field is wrong.
    #[error("is no cron pattern: {0}")]
    Pattern(String),
    /// `@every` without a length, or with one under a second.
    #[error("must be @every and a time of at least a second, for instance @every 1m30s")]
    Every,
    /// An unknown `@name`.
    #[error("is not one of @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly, @every")]
    Name,
    /// Right, but no such time ever comes.
    #[error("never fires")]
    Never,
}

impl Schedule {
    /// Reads a schedule.
    pub fn parse(text: &str, dialect: Dialect, timezone: Tz) -> Result<Self, ScheduleError> {
        let text = text.trim();
        if let Some(name) = text.strip_prefix('@') {
            return named(name, timezone);
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let pattern = match (fields.len(), dialect) {
            (6, _) => fields.join(" "),
            (5, Dialect::Unix) => format!("0 {}", fields.join(" ")),
            (5, Dialect::Dispatch) => format!("{} *", fields.join(" ")),
            (other, _) => return Err(ScheduleError::Fields(other)),
        };
        Self::pattern(&pattern, timezone)
    }

    /// Six fields, seconds first. `0/10` (from 0 on, every 10) is allowed, as in the original driver.
    fn pattern(pattern: &str, timezone: Tz) -> Result<Self, ScheduleError> {
        let parser = CronParser::builder()
            .seconds(Seconds::Required)
            .year(Year::Disallowed)
            .sloppy_ranges(true)
            .build();
        let cron = parser
            .parse(pattern)
            .map_err(|e| ScheduleError::Pattern(e.to_string().to_lowercase()))?;
        let schedule = Self::Pattern {
            cron: Box::new(cron),
            fixed: fixed_time::is_fixed(pattern),
            timezone,
        };
        match schedule.after(DateTime::UNIX_EPOCH) {
            Some(_) => Ok(schedule),
            None => Err(ScheduleError::Never),
        }
    }

    /// The first tick after `time`; later ticks are always later. `None` when there is none any more.
    pub fn after(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::At { time: only, .. } => Some(*only).filter(|only| *only > time),
            Self::Every { seconds, .. } => {
                let next = (time.timestamp().div_euclid(*seconds) + 1).checked_mul(*seconds)?;
                DateTime::from_timestamp(next, 0)
            }
            Self::Pattern {
                cron,
                fixed: true,
                timezone,
            } => fixed_time::after(cron, *timezone, time),
            Self::Pattern { cron, timezone, .. } => {
                let found = cron
                    .find_next_occurrence(&time.with_timezone(timezone), false)
                    .ok()?;
                Some(found.to_utc()).filter(|found| *found > time)
            }
        }
    }

    /// The next `count` ticks after `time`, in the schedule's time zone: for people.
    pub fn next(&self, time: DateTime<Utc>, count: usize) -> Vec<DateTime<Tz>> {
        let timezone = match self {
            Self::Pattern { timezone, .. } | Self::Every { timezone, .. } | Self::At { timezone, .. } => {
                timezone
            }
        };
        let ticks = std::iter::successors(self.after(time), |tick| self.after(*tick));
        ticks
            .take(count)
            .map(|tick| tick.with_timezone(timezone))
            .collect()
    }

    /// The newest `count` ticks in `(after, until]`, oldest first. However long that is, it looks at not much more
    /// than the ticks it gives: it begins close to `until` and goes back until it has enough.
    pub(crate) fn newest(
        &self,
        after: DateTime<Utc>,
        until: DateTime<Utc>,
        count: usize,
    ) -> Vec<DateTime<Utc>> {
        let mut window = TimeDelta::seconds(count as i64 * SECOND);
        loop {
            let begin = until
                .checked_sub_signed(window)
                .map_or(after, |begin| begin.max(after));
            let mut found = VecDeque::new();
            let mut tick = self.after(begin);
            while let Some(time) = tick.filter(|time| *time <= until) {
                if found.len() == count {
                    found.pop_front();
                }
                found.push_back(time);
                tick = self.after(time);
            }
            if found.len() == count || begin == after {
                return found.into();
            }
            window = window.checked_mul(4).unwrap_or(TimeDelta::MAX);
        }
    }
}

fn named(name: &str, timezone: Tz) -> Result<Schedule, ScheduleError> {
    let pattern = match name.split_whitespace().collect::<Vec<_>>()[..] {
        ["yearly" | "annually"] => "0 0 0 1 1 *",
        ["monthly"] => "0 0 0 1 * *",
        ["weekly"] => "0 0 0 * * 0",
        ["daily" | "midnight"] => "0 0 0 * * *",
        ["hourly"] => "0 0 * * * *",
        ["every"] => return Err(ScheduleError::Every),
        ["every", length] => {
            let length = dispatch_contract::parse_duration(length).map_err(|_| ScheduleError::Every)?;
            if length < Duration::from_secs(1) {
                return Err(ScheduleError::Every);
            }
            let seconds = i64::try_from(length.as_secs()).map_err(|_| ScheduleError::Every)?;
            return Ok(Schedule::Every { seconds, timezone });
        }
        _ => return Err(ScheduleError::Name),
    };
    Schedule::pattern(pattern, timezone)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ticks(text: &str, dialect: Dialect, zone: &str, from: &str, count: usize) -> Vec<String> {
        let schedule = Schedule::parse(text, dialect, zone.parse().unwrap()).unwrap();
        let ticks = schedule.next(from.parse().unwrap(), count);
        ticks
            .iter()
            .map(|t| t.format("%a %d %H:%M:%S %Z").to_string())
            .collect()
    }
    fn utc(text: &str, dialect: Dialect) -> Vec<String> {
        ticks(text, dialect, "UTC", "2026-01-31T08:09:07Z", 2)
    }

    #[test]
    fn the_published_schedule_fires_every_ten_seconds() {
        let published = utc("0/10 * * * *", Dialect::Dispatch);
        assert_eq!(published, ["Sat 31 08:09:10 UTC", "Sat 31 08:09:20 UTC"]);
        assert_eq!(published, utc("*/10 * * * *", Dialect::Dispatch));
    }

    #[test]
    fn dialects_differ_with_five_fields_only() {
        let table = [
            (
                "0/10 * * * *",
                Dialect::Unix,
                ["Sat 31 08:10:00 UTC", "Sat 31 08:20:00 UTC"],
            ),
            (
                "5/20 * * * *",
                Dialect::Unix,
                ["Sat 31 08:25:00 UTC", "Sat 31 08:45:00 UTC"],
            ),
            (
                "5/20 * * * *",
                Dialect::Dispatch,
                ["Sat 31 08:09:25 UTC", "Sat 31 08:09:45 UTC"],
            ),
            (
                "0 9 * * MON-FRI",
                Dialect::Unix,
                ["Mon 02 09:00:00 UTC", "Tue 03 09:00:00 UTC"],
            ),
            (
                "0 30 8 * * *",
                Dialect::Unix,
                ["Sat 31 08:30:00 UTC", "Sun 01 08:30:00 UTC"],
            ),
            (
                "0 30 8 * * *",
                Dialect::Dispatch,
                ["Sat 31 08:30:00 UTC", "Sun 01 08:30:00 UTC"],
            ),
            (
                "0 30 8 * *",
                Dialect::Dispatch,
                ["Sat 31 08:30:00 UTC", "Sun 01 08:30:00 UTC"],
            ),
            (
                "0 0 12 ? * 0",
                Dialect::Dispatch,
                ["Sun 01 12:00:00 UTC", "Sun 08 12:00:00 UTC"],
            ),
            (
                "@hourly",
                Dialect::Unix,
                ["Sat 31 09:00:00 UTC", "Sat 31 10:00:00 UTC"],
            ),
            (
                "@daily",
                Dialect::Dispatch,
                ["Sun 01 00:00:00 UTC", "Mon 02 00:00:00 UTC"],
            ),
            (
                "@weekly",
                Dialect::Unix,
                ["Sun 01 00:00:00 UTC", "Sun 08 00:00:00 UTC"],
            ),
            (
                "@every 10s",
                Dialect::Unix,
                ["Sat 31 08:09:10 UTC", "Sat 31 08:09:20 UTC"],
            ),
            (
                "@every 1m30s",
                Dialect::Unix,
                ["Sat 31 08:10:30 UTC", "Sat 31 08:12:00 UTC"],
            ),
        ];
        for (text, dialect, expected) in table {
            assert_eq!(utc(text, dialect), expected, "{text} {dialect:?}");
        }
    }

    #[test]
    fn at_the_change_to_summer_time_a_time_in_the_gap_fires_right_after_it() {
        let fired = |text| ticks(text, Dialect::Unix, "Europe/Berlin", "2026-03-28T12:00:00Z", 2);
        assert_eq!(
            fired("30 2 * * *"),
            ["Sun 29 03:00:00 CEST", "Mon 30 02:30:00 CEST"]
        );
        assert_eq!(
            fired("30 3 * * *"),
            ["Sun 29 03:30:00 CEST", "Mon 30 03:30:00 CEST"]
        );
    }

    #[test]
    fn at_the_change_to_winter_time_a_fixed_time_fires_once_and_a_repeated_one_all_the_time() {
        let fired = |text, count| {
            ticks(
                text,
                Dialect::Unix,
                "Europe/Berlin",
                "2026-10-24T22:00:00Z",
                count,
            )
        };
        assert_eq!(
            fired("30 2 * * *", 2),
            ["Sun 25 02:30:00 CEST", "Mon 26 02:30:00 CET"]
        );
        let half_hours = [
            "Sun 25 02:00:00 CEST",
            "Sun 25 02:30:00 CEST",
            "Sun 25 02:00:00 CET",
            "Sun 25 02:30:00 CET",
        ];
        assert_eq!(fired("*/30 2 * * *", 4), half_hours);
    }

    #[test]
    fn what_is_no_schedule_says_why() {
        let error = |text| Schedule::parse(text, Dialect::Unix, Tz::UTC).unwrap_err();
        assert_eq!(error("* * * *"), ScheduleError::Fields(4));
        assert_eq!(error("59 59 23 31 12 ? 2099"), ScheduleError::Fields(7));
        assert_eq!(error(""), ScheduleError::Fields(0));
        for every in ["@every", "@every 0s", "@every 10", "@every soon"] {
            assert_eq!(error(every), ScheduleError::Every, "{every}");
        }
        assert_eq!(error("@noon"), ScheduleError::Name);
        assert_eq!(error("0 0 30 2 *"), ScheduleError::Never);
        for pattern in [
            "60 * * * *",
            "* 24 * * *",
            "a * * * *",
            "*/0 * * * *",
            "5-1 * * * *",
        ] {
            assert!(matches!(error(pattern), ScheduleError::Pattern(_)), "{pattern}");
        }
    }

    #[test]
    fn the_newest_ticks_are_found_without_walking_through_years() {
        let schedule = Schedule::parse("* * * * * *", Dialect::Unix, Tz::UTC).unwrap();
        let until: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().unwrap();

        let newest = schedule.newest(DateTime::UNIX_EPOCH, until, 3);

        let seconds: Vec<i64> = newest.iter().map(|t| (until - *t).num_seconds()).collect();
        assert_eq!(seconds, [2, 1, 0]);
    }

    const FIELDS: [&[&str]; 6] = [
        &["0", "*/7", "0/10", "59"],
        &["*", "0", "30", "*/20"],
        &["*", "2", "1-3", "*/6"],
        &["*", "1", "L", "29"],
        &["*", "3", "10", "*/2"],
        &["*", "0", "SUN#L", "1-5"],
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Around the changes of 2026 in Berlin, where clocks are strangest.
        #[test]
        fn the_next_tick_is_always_later_and_the_newest_are_the_last_of_them(
            picks in prop::array::uniform6(0usize..4),
            autumn in any::<bool>(),
            offset in -7200i64..7200,
        ) {
            let text = std::array::from_fn::<_, 6, _>(|n| FIELDS[n][picks[n]]).join(" ");
            let zone: Tz = "Europe/Berlin".parse().unwrap();
            let Ok(schedule) = Schedule::parse(&text, Dialect::Unix, zone) else { return Ok(()) };
            let change: i64 = if autumn { 1_792_890_000 } else { 1_774_746_000 };
            let from = DateTime::from_timestamp(change + offset, 0).unwrap();

            let ticks: Vec<_> = std::iter::successors(schedule.after(from), |t| schedule.after(*t)).take(50).collect();

            prop_assert!(ticks.windows(2).all(|pair| pair[0] < pair[1]), "{text}: {ticks:?}");
            prop_assert!(ticks.first().is_none_or(|first| *first > from));
            if let Some(last) = ticks.last() {
                let newest = schedule.newest(from, *last, 7);
                prop_assert_eq!(&newest[..], &ticks[ticks.len().saturating_sub(7)..], "{}", text);
            }
        }
    }
}
