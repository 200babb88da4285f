//! What of the past is made up for. Pure.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use crate::schedule::Schedule;

/// The most ticks made up for at once: the newest.
const MOST: usize = 1000;

/// What becomes of ticks that passed while the driver, the hub or the machine was not there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missed {
    /// Nothing.
    Skip,
    /// One tick, the newest, stands for all of them.
    #[default]
    Once,
    /// Each of them, the newest 1000.
    All,
}

/// The ticks after `last` that are to be emitted at `now`, oldest first. A tick older than `late` was missed;
/// younger ones are simply due.
pub fn due(
    schedule: &Schedule,
    last: DateTime<Utc>,
    now: DateTime<Utc>,
    missed: Missed,
    late: TimeDelta,
) -> Vec<DateTime<Utc>> {
    let passed = schedule.newest(last, now, MOST);
    let in_time = passed.partition_point(|tick| *tick < now - late);
    match missed {
        Missed::All => passed,
        Missed::Once if in_time == passed.len() => passed.into_iter().next_back().into_iter().collect(),
        Missed::Skip | Missed::Once => passed[in_time..].to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Dialect;

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-01-31T{text}Z").parse().unwrap()
    }
    fn ticks(cron: &str, last: &str, now: &str, missed: Missed, late: i64) -> Vec<String> {
        let schedule = Schedule::parse(cron, Dialect::Unix, chrono_tz::UTC).unwrap();
        let due = due(&schedule, at(last), at(now), missed, TimeDelta::seconds(late));
        due.iter()
            .map(|tick| tick.format("%H:%M:%S").to_string())
            .collect()
    }

    #[test]
    fn the_policy_decides_about_what_was_missed_while_nobody_was_there() {
        let ticks = |missed| ticks("*/10 * * * *", "08:00:00", "08:35:00", missed, 0);
        assert_eq!(ticks(Missed::Skip), [""; 0]);
        assert_eq!(ticks(Missed::Once), ["08:30:00"]);
        assert_eq!(ticks(Missed::All), ["08:10:00", "08:20:00", "08:30:00"]);
    }

    #[test]
    fn what_is_only_a_little_late_is_emitted_under_every_policy() {
        for missed in [Missed::Skip, Missed::Once, Missed::All] {
            let due = ticks("@every 1s", "08:00:00", "08:00:03", missed, 10);
            assert_eq!(due, ["08:00:01", "08:00:02", "08:00:03"], "{missed:?}");
        }
    }

    #[test]
    fn one_due_tick_stands_for_the_missed_ones_before_it() {
        let due = ticks("@every 10s", "08:00:00", "08:00:31", Missed::Once, 5);
        assert_eq!(due, ["08:00:30"]);
    }

    #[test]
    fn nothing_fires_twice_when_the_clock_goes_back() {
        assert_eq!(
            ticks("@every 1s", "08:00:10", "08:00:05", Missed::All, 0),
            [""; 0]
        );
        assert_eq!(
            ticks("@every 1s", "08:00:10", "08:00:10", Missed::All, 0),
            [""; 0]
        );
    }

    #[test]
    fn the_newest_thousand_are_the_bound() {
        let due = ticks("@every 1s", "00:00:00", "12:00:00", Missed::All, 0);
        assert_eq!(
            (due.len(), due[0].as_str(), due[999].as_str()),
            (1000, "11:43:21", "12:00:00")
        );
    }
}
