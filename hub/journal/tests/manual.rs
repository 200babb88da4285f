//! Without threads the journal does the same, when it is told to, and the same again when it is told the same.
// A helper's unwrap is a test's failure.
#![allow(clippy::unwrap_used)]

mod kit;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dispatch_contract::{AppendError, Log, SubscriptionId};
use dispatch_journal::{Journal, Next, Options, Recovered, Work};
use kit::memory::Memory;
use kit::*;
use uuid::Uuid;

const DIR: &str = "/journal";

fn options() -> Options {
    Options {
        segment_bytes: 16 * 1024,
        tail_bytes: 0,
        ..small()
    }
}

fn open_manual(disk: &Memory, options: &Options) -> (Journal, Recovered, Work, Arc<Hands>) {
    let clock = Arc::new(Hands::default());
    let disk = Arc::new(disk.clone());
    let (journal, recovered, work) =
        Journal::open_manual(disk, Path::new(DIR), options, clock.clone()).unwrap();
    (journal, recovered, work, clock)
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_but_by_a_step_and_each_wait_says_how_long() {
    let disk = Memory::default();
    let (journal, _, mut work, clock) = open_manual(&disk, &options());
    while work.step() == Next::More {}
    let before = disk.operations();

    let mut appended = journal.append(group(&["a"]));
    assert!(futures_util::poll!(&mut appended).is_pending());
    assert_eq!((disk.operations(), journal.head()), (before, 0));
    assert_eq!(work.step(), Next::More);
    assert_eq!(soon(appended).await.unwrap().accepted(), 1);

    soon(journal.note(settled(SubscriptionId(Uuid::nil()), 1)))
        .await
        .unwrap();
    assert_eq!(work.commit(), Next::Wait(options().note_delay));
    clock.pass(options().note_delay);
    assert_eq!(work.commit(), Next::More);
    assert_eq!(journal.head(), 2);
    assert_eq!(ids(&read_all(&journal).await), ["a"]);

    let closing = tokio::spawn({
        let journal = journal.clone();
        async move { journal.close().await }
    });
    tokio::task::yield_now().await;
    while work.step() != Next::Ended {}
    soon(closing).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn dropping_the_work_is_a_crash_that_tells_those_who_wait() {
    let disk = Memory::default();
    let (journal, _, mut work, _) = open_manual(&disk, &options());
    while work.step() == Next::More {}
    let mut appended = journal.append(group(&["a"]));
    assert!(futures_util::poll!(&mut appended).is_pending());

    drop(work);

    assert!(matches!(soon(appended).await, Err(AppendError::Closed)));
    assert!(soon(journal.tail(1).next()).await.is_none());
    soon(journal.close()).await;
    let (_, recovered, ..) = open_manual(&disk, &options());
    assert_eq!(recovered.head, 0);
}

/// Appends, notes, settles, seals and lets retention remove, all from one seed.
async fn run(seed: u64) -> Memory {
    let mut dice = Dice(seed);
    let disk = Memory::default();
    let options = Options {
        retain_age: Some(Duration::from_secs(20)),
        ..options()
    };
    let (journal, _, mut work, clock) = open_manual(&disk, &options);
    let mut waiting = Vec::new();
    for n in 0..200 {
        let mut appended = journal.append(sized(&n.to_string(), dice.roll(2000) as usize));
        assert!(futures_util::poll!(&mut appended).is_pending());
        waiting.push(appended);
        let subscription = SubscriptionId(Uuid::from_u128(u128::from(dice.roll(5))));
        soon(journal.note(settled(subscription, n + 1))).await.unwrap();
        clock.pass(Duration::from_millis(dice.roll(500)));
        journal.set_floor(journal.head());
        match dice.roll(4) {
            0 => while work.step() == Next::More {},
            1 => drop(work.upkeep()),
            _ => drop(work.commit()),
        }
    }
    while work.step() == Next::More {}
    for appended in waiting {
        soon(appended).await.unwrap();
    }
    assert!(journal.stats().dropped > 0 && journal.stats().segments > 2);
    disk
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_makes_the_same_files_byte_for_byte() {
    assert!(run(1).await.files() == run(1).await.files());
    assert!(run(1).await.files() != run(2).await.files());
}

#[tokio::test(start_paused = true)]
async fn as_a_task_it_works_until_the_journal_is_closed() {
    let disk = Memory::default();
    let (journal, _, work, _) = open_manual(&disk, &options());
    let working = tokio::spawn(work.run());

    append(&journal, group(&["a", "b"])).await;
    let mut tail = journal.tail(1);
    assert_eq!(soon(tail.next()).await.unwrap().entries.len(), 2);
    soon(journal.close()).await;

    soon(working).await.unwrap();
    assert!(
        disk.files()
            .keys()
            .all(|p| p.extension().is_none_or(|e| e != "tmp"))
    );
}
