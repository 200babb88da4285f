//! Jobs at fixed times, when the clock is changed. Pure.
//!
//! The rule is crontab(5)'s, by Paul Vixie: a job at a fixed time that a change leaves out runs right after it, and one that
//! a change repeats runs once; a job with a wildcard goes by the clock as it is shown. `n/m` is open to the end of the
//! field and counts as a wildcard, as `*/m` does. croner knows the rule too, but takes `2,14` for a wildcard, and drops
//! what a change carries into the next day.

use chrono::{
    DateTime, MappedLocalTime, NaiveDateTime, NaiveTime, TimeDelta, TimeZone as _, Timelike as _, Utc,
};
use chrono_tz::Tz;
use croner::Cron;

/// No clock was ever put forward by more than a day.
const LONGEST_GAP: i64 = 24 * 60;

/// Whether second, minute and hour of a pattern of six fields say fixed times.
pub(crate) fn is_fixed(pattern: &str) -> bool {
    let open = |item: &str| item.contains('*') || item.contains('/') && !item.contains('-');
    let mut times = pattern.split_whitespace().take(3);
    !times.any(|field| field.split(',').any(open))
}

/// The first tick after `time`.
///
/// The pattern is asked what comes next on a clock that is never changed; every time it shows is an instant, and later
/// times are never earlier instants.
pub(crate) fn after(cron: &Cron, timezone: Tz, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut shown = time.with_timezone(&timezone).naive_local().and_utc();
    loop {
        shown = cron.find_next_occurrence(&shown, false).ok()?;
        let tick = instant(timezone, shown.naive_utc())?;
        // While a repeated hour is repeated, its ticks have been.
        if tick > time {
            return Some(tick);
        }
    }
}

/// When a clock shows this for the first time; if it never does, when it is put forward over it.
fn instant(timezone: Tz, shown: NaiveDateTime) -> Option<DateTime<Utc>> {
    let found = |shown: &NaiveDateTime| match timezone.from_local_datetime(shown) {
        MappedLocalTime::Single(one) | MappedLocalTime::Ambiguous(one, _) => Some(one.to_utc()),
        MappedLocalTime::None => None,
    };
    let minute = NaiveTime::from_hms_opt(shown.hour(), shown.minute(), 0)?;
    let minute = shown.date().and_time(minute);
    let later = (1..=LONGEST_GAP).map(|n| minute + TimeDelta::minutes(n));
    std::iter::once(shown)
        .chain(later)
        .find_map(|shown| found(&shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_or_an_open_step_is_no_fixed_time() {
        for fixed in ["0 30 2 * * *", "0 0,30 2,14 * * *", "0-10/5 0 1-3 */2 * ?"] {
            assert!(is_fixed(fixed), "{fixed}");
        }
        for open in [
            "* 30 2 * * *",
            "0 */5 2 * * *",
            "0 0 * * * *",
            "0 0/15 2 1 1 1",
            "0 0 1,2/6 * * *",
        ] {
            assert!(!is_fixed(open), "{open}");
        }
    }

    #[test]
    fn a_time_in_a_gap_is_the_end_of_the_gap() {
        let instant = |zone: &str, shown: &str| {
            let found = instant(zone.parse().unwrap(), shown.parse().unwrap());
            found.unwrap().to_rfc3339()
        };
        let table = [
            (
                "Europe/Berlin",
                "2026-03-29T02:30:00",
                "2026-03-29T01:00:00+00:00",
            ),
            (
                "Europe/Berlin",
                "2026-10-25T02:30:00",
                "2026-10-25T00:30:00+00:00",
            ),
            (
                "Australia/Lord_Howe",
                "2026-10-04T02:29:59",
                "2026-10-03T15:30:00+00:00",
            ),
            ("America/Nuuk", "2026-03-28T23:30:00", "2026-03-29T01:00:00+00:00"),
            ("Pacific/Apia", "2011-12-30T12:00:00", "2011-12-30T10:00:00+00:00"),
        ];
        for (zone, shown, expected) in table {
            assert_eq!(instant(zone, shown), expected, "{zone} {shown}");
        }
    }
}
