//! A thousand schedules over ten years in twenty time zones: the ticks that `croniter` finds are ours.
//!
//! Nothing is left out by list. By rule, `patterns.rs` writes no schedule that the two read differently: day fields that
//! name every day in words (`1-31`), `FRI#2` beside a day of the month, ranges from a number to itself or over their end
//! (`5-5`, `FRI-MON`), and what only one of them knows.

// A helper that fails fails its test.
#![allow(clippy::unwrap_used)]

mod patterns;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use chrono::{DateTime, Offset as _, TimeZone as _, Utc};
use chrono_tz::Tz;
use dispatch_driver_cron::{Dialect, Schedule};
use dispatch_fixtures::croniter::{Croniter, Question};

use crate::patterns::{Pattern, Patterns};

const SCHEDULES: usize = 1000;
const SEED: u64 = 20_260_131;
/// With a gap, with half an hour of it, with two hours, at midnight, on the day before, against the seasons, around
/// Ramadan, below zero in winter, and without any.
const ZONES: [&str; 20] = [
    "Europe/Berlin",
    "Europe/London",
    "Europe/Dublin",
    "America/New_York",
    "America/Los_Angeles",
    "America/St_Johns",
    "America/Havana",
    "America/Santiago",
    "America/Nuuk",
    "Africa/Casablanca",
    "Africa/Cairo",
    "Asia/Beirut",
    "Asia/Jerusalem",
    "Asia/Gaza",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "Pacific/Auckland",
    "Pacific/Chatham",
    "Antarctica/Troll",
];

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

/// When the zone's clock is changed, to six hours.
fn changes(zone: Tz, from: i64, until: i64) -> Vec<(i64, i64)> {
    const STEP: i64 = 6 * 3600;
    let offset = |seconds| zone.offset_from_utc_datetime(&at(seconds).naive_utc()).fix();
    let edges = (from..until).step_by(STEP as usize).map(|t| (t, t + STEP));
    edges
        .filter(|(low, high)| offset(*low) != offset(*high))
        .collect()
}

#[test]
fn a_thousand_schedules_fire_when_croniter_says_for_ten_years_in_twenty_zones() {
    // Given a thousand schedules, fifty a zone
    let Some(croniter) = Croniter::new().unwrap() else {
        return;
    };
    let [from, until] = ["2026-01-01T00:00:00Z", "2036-01-01T00:00:00Z"]
        .map(|text| text.parse::<DateTime<Utc>>().unwrap().timestamp());
    let schedules: Vec<(Pattern, Schedule, &str)> = Patterns::new(SEED)
        .zip(ZONES.into_iter().cycle())
        .filter_map(|(pattern, zone)| {
            // One that never fires is refused, and another is drawn.
            let schedule = Schedule::parse(&pattern.ours, Dialect::Unix, zone.parse().unwrap()).ok()?;
            Some((pattern, schedule, zone))
        })
        .take(SCHEDULES)
        .collect();

    // When croniter is asked
    let began = Instant::now();
    let questions: Vec<Question> = schedules
        .iter()
        .enumerate()
        .map(|(seed, (pattern, _, zone))| Question {
            zone,
            fields: pattern.theirs.clone(),
            seed,
        })
        .collect();
    let answers = croniter.windows(&questions, from, until).unwrap();
    let asked = began.elapsed();

    // Then the same ticks are in every window, and every change is in one
    let (mut windows, mut ticks, mut seen, mut fixed, mut differing) = (0, 0, 0, 0, 0);
    let mut wrong = BTreeMap::new();
    for ((pattern, schedule, zone), answer) in schedules.iter().zip(&answers) {
        for window in answer {
            let next = std::iter::successors(schedule.after(at(window.from)), |tick| schedule.after(*tick));
            let ours: Vec<i64> = next
                .map(|tick| tick.timestamp())
                .take_while(|tick| *tick <= window.until)
                .collect();
            if ours != window.ticks {
                differing += 1;
                let first = || difference(pattern, zone, &ours, &window.ticks);
                wrong.entry((&pattern.ours, *zone)).or_insert_with(first);
            }
            windows += 1;
            ticks += ours.len();
        }
        for (low, high) in changes(zone.parse().unwrap(), from, until) {
            let around = answer.iter().any(|w| w.from < high && low < w.until);
            assert!(around, "{} {zone}: no window at {}", pattern.ours, at(high));
            seen += 1;
        }
        fixed += usize::from(pattern.fixed);
    }
    let zones: BTreeSet<&str> = schedules.iter().map(|(_, _, zone)| *zone).collect();
    let distinct: usize = zones
        .iter()
        .map(|zone| changes(zone.parse().unwrap(), from, until).len())
        .sum();
    println!(
        "{} schedules ({fixed} at fixed times) in {} zones with {distinct} changes: {windows} windows, {seen} of them \
         around a change, {ticks} ticks; {differing} windows differ; croniter took {asked:.1?}, all {:.1?}",
        schedules.len(),
        zones.len(),
        began.elapsed()
    );
    assert_eq!((schedules.len(), zones.len()), (SCHEDULES, ZONES.len()));
    let some: Vec<String> = wrong.into_values().take(20).collect();
    assert!(
        some.is_empty(),
        "the first window of each schedule that differs:\n{}",
        some.join("\n")
    );
}

fn difference(pattern: &Pattern, zone: &str, ours: &[i64], theirs: &[i64]) -> String {
    let only = |these: &[i64], those: &[i64]| -> Vec<String> {
        let zone: Tz = zone.parse().unwrap();
        let these = these.iter().filter(|tick| !those.contains(tick)).take(3);
        these
            .map(|tick| at(*tick).with_timezone(&zone).to_rfc3339())
            .collect()
    };
    format!(
        "{} {zone}: only ours {:?}, only croniter's {:?}",
        pattern.ours,
        only(ours, theirs),
        only(theirs, ours)
    )
}
