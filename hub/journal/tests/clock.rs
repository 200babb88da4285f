//! A clock that jumps by years, forwards or backwards, takes nothing away and stops nothing.
// A helper's unwrap is a test's failure.
#![allow(clippy::unwrap_used)]

mod kit;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dispatch_contract::{Entry, Log, Record};
use dispatch_journal::{Journal, Next, Options, Work};
use kit::memory::Memory;
use kit::*;

const DAY: Duration = Duration::from_secs(24 * 3600);
const TEN_YEARS: i64 = 3653 * 24 * 3600 * 1000;

fn options() -> Options {
    Options {
        segment_bytes: 16 * 1024,
        retain_age: Some(7 * DAY),
        tail_bytes: 0,
        ..small()
    }
}

fn open(disk: &Memory, clock: &Arc<Hands>) -> (Journal, Work) {
    let disk = Arc::new(disk.clone());
    let (journal, _, work) =
        Journal::open_manual(disk, Path::new("/journal"), &options(), clock.clone()).unwrap();
    (journal, work)
}

/// A segment's worth of events an hour, and retention every few seconds.
async fn hours(journal: &Journal, work: &mut Work, clock: &Hands, count: u64, name: &str) {
    for hour in 0..count {
        let mut appended = journal.append(sized(&format!("{name}-{hour}"), 13_000));
        assert!(futures_util::poll!(&mut appended).is_pending());
        while work.step() == Next::More {}
        soon(appended).await.unwrap();
        journal.set_floor(journal.head());
        for _ in 0..6 {
            clock.pass(Duration::from_secs(600));
            while work.step() == Next::More {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_years_ahead_makes_retention_twice_as_fast_and_no_faster() {
    let (disk, clock) = (Memory::default(), Arc::new(Hands::default()));
    let (journal, mut work) = open(&disk, &clock);
    hours(&journal, &mut work, &clock, 48, "before").await;

    clock.jump(TEN_YEARS);
    hours(&journal, &mut work, &clock, 48, "wrong").await;
    assert_eq!(journal.stats().dropped, 0, "four days of age at most");
    clock.jump(-TEN_YEARS);
    hours(&journal, &mut work, &clock, 24 * 4, "right").await;

    // Eight days passed, of which seven are kept; own time went ahead by two days and came back.
    let kept = (journal.stats().head - journal.stats().dropped) as i64;
    assert!((kept - 7 * 24).abs() <= 2, "{kept} hours are kept");
}

#[tokio::test(start_paused = true)]
async fn a_jump_while_the_hub_is_down_counts_for_a_day() {
    for jump in [TEN_YEARS, -TEN_YEARS] {
        let (disk, clock) = (Memory::default(), Arc::new(Hands::default()));
        let (journal, mut work) = open(&disk, &clock);
        hours(&journal, &mut work, &clock, 6 * 24 + 12, "before").await;
        drop((journal, work));

        clock.jump(jump);
        let (journal, mut work) = open(&disk, &clock);
        journal.set_floor(journal.head());
        hours(&journal, &mut work, &clock, 1, "after").await;

        let stats = journal.stats();
        match jump > 0 {
            true => assert!((10..=18).contains(&stats.dropped), "{stats:?}"),
            false => assert_eq!(stats.dropped, 0),
        }
        let arrival = |e: &Entry| match &e.record {
            Record::Event(c) => c.arrival,
            other => panic!("{other:?}"),
        };
        let arrivals: Vec<_> = read_all(&journal).await.iter().map(arrival).collect();
        let [.., before, after] = arrivals.as_slice() else {
            panic!("events are kept");
        };
        assert!(
            (after - before - jump).abs() < 2 * 3600 * 1000,
            "arrival is what the clock said"
        );
    }
}
