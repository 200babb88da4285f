//! A disk that fails: nobody is told yes, what is durable stays readable, and it goes on by itself afterwards.
// A helper's unwrap is a test's failure.
#![allow(clippy::unwrap_used)]

mod kit;

use std::sync::atomic::Ordering;

use dispatch_contract::{AppendError, Log, Placed, SubscriptionId};
use dispatch_journal::{Options, dump, verify};
use kit::*;
use uuid::Uuid;

fn unread() -> Options {
    Options {
        tail_bytes: 0,
        ..small()
    }
}

fn unavailable(result: &Result<dispatch_contract::Appended, AppendError>) -> bool {
    matches!(result, Err(AppendError::Unavailable { .. }))
}

#[tokio::test]
async fn a_failed_sync_is_never_acknowledged_and_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let (journal, _) = disk.open(dir.path(), &unread());
    append(&journal, group(&["before"])).await;

    disk.0.sync.store(true, Ordering::SeqCst);
    let refused = try_append(&journal, group(&["lost-1", "lost-2", "lost-3"])).await;
    let again = try_append(&journal, group(&["lost-1"])).await;
    assert!(unavailable(&refused) && unavailable(&again));
    assert_eq!(journal.head(), 1);
    assert_eq!(ids(&read_all(&journal).await), ["before"]);

    disk.0.sync.store(false, Ordering::SeqCst);
    let after = append(&journal, group(&["lost-2"])).await;
    assert_eq!(after.placed, [Placed::New(2)], "what was refused is no duplicate");
    assert_eq!(ids(&read_all(&journal).await), ["before", "lost-2"]);
    // As a crash leaves it: what the failed batch wrote is still in the old file.
    let crashed = dir.path().join("crashed");
    std::fs::create_dir(&crashed).unwrap();
    for file in segments(dir.path()) {
        std::fs::copy(&file, crashed.join(file.file_name().unwrap())).unwrap();
    }
    soon(journal.close()).await;

    for dir in [dir.path(), &crashed] {
        let (journal, recovered) = open(dir, &unread());
        assert_eq!(ids(&read_all(&journal).await), ["before", "lost-2"]);
        assert_eq!(recovered.damage, []);
        soon(journal.close()).await;
    }
}

#[tokio::test]
async fn groups_of_a_failed_batch_stay_void_although_they_are_whole_in_the_old_file() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let (journal, _) = disk.open(dir.path(), &unread());
    append(&journal, group(&["before"])).await;
    disk.0.sync.store(true, Ordering::SeqCst);
    disk.0.keep.store(true, Ordering::SeqCst);
    disk.0.slow.store(true, Ordering::SeqCst);
    let syncs = disk.0.syncs.load(Ordering::SeqCst);
    let mut alone = journal.append(group(&["alone"]));
    assert!(futures_util::poll!(&mut alone).is_pending());
    until("the first sync has begun", || {
        disk.0.syncs.load(Ordering::SeqCst) > syncs
    })
    .await;
    // These gather behind it and share a batch: three frames, all written, none synced.
    let mut batch: Vec<_> = ["a", "b", "c"].map(|id| journal.append(group(&[id]))).into();
    for waiting in &mut batch {
        assert!(futures_util::poll!(waiting).is_pending());
    }
    assert!(unavailable(&soon(alone).await));
    for waiting in batch {
        assert!(unavailable(&soon(waiting).await));
    }

    disk.0.sync.store(false, Ordering::SeqCst);
    disk.0.slow.store(false, Ordering::SeqCst);
    append(&journal, group(&["d"])).await;
    let crashed = dir.path().join("crashed");
    std::fs::create_dir(&crashed).unwrap();
    for file in segments(dir.path()) {
        std::fs::copy(&file, crashed.join(file.file_name().unwrap())).unwrap();
    }
    let kept = ["before", "d"];
    assert_eq!(ids(&read_all(&journal).await), kept);
    soon(journal.close()).await;

    let report = verify(&crashed).unwrap();
    assert_eq!((report.events, report.damage), (2, Vec::new()));
    let (journal, recovered) = open(&crashed, &unread());
    assert_eq!(ids(&read_all(&journal).await), kept);
    assert_eq!(recovered.damage, []);
    soon(journal.close()).await;
}

#[tokio::test]
async fn everybody_in_the_batch_of_a_failed_sync_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let (journal, _) = disk.open(dir.path(), &unread());
    disk.0.sync.store(true, Ordering::SeqCst);

    let producers: Vec<_> = (0..32)
        .map(|n| {
            let journal = journal.clone();
            tokio::spawn(async move { try_append(&journal, group(&[&n.to_string()])).await })
        })
        .collect();

    for producer in producers {
        assert!(unavailable(&soon(producer).await.unwrap()));
    }
    assert_eq!(journal.head(), 0);
    soon(journal.close()).await;
}

#[tokio::test]
async fn a_write_that_stops_in_the_middle_is_refused_and_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let (journal, _) = disk.open(dir.path(), &unread());
    append(&journal, group(&["before"])).await;

    disk.0.short.store(true, Ordering::SeqCst);
    assert!(unavailable(&try_append(&journal, group(&["a", "b"])).await));
    disk.0.short.store(false, Ordering::SeqCst);
    append(&journal, group(&["after"])).await;

    assert_eq!(ids(&read_all(&journal).await), ["before", "after"]);
    soon(journal.close()).await;
    let (journal, recovered) = open(dir.path(), &unread());
    assert_eq!(ids(&read_all(&journal).await), ["before", "after"]);
    assert!(recovered.damage.is_empty() && recovered.torn.is_none());
    soon(journal.close()).await;
}

#[tokio::test]
async fn a_full_disk_refuses_keeps_what_is_there_readable_and_is_taken_up_again() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let (journal, _) = disk.open(dir.path(), &unread());
    append(&journal, sized("first", 500)).await;

    disk.0.full.store(true, Ordering::SeqCst);
    let mut accepted = 1;
    let refused = loop {
        match try_append(&journal, sized(&accepted.to_string(), 500)).await {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
        assert!(accepted < 1000, "the disk is never full");
    };
    let AppendError::Unavailable { reason, retry_after } = &refused else {
        panic!("a full disk is no fault of the sender: {refused}");
    };
    assert_eq!(reason, "the disk is full");
    assert!(!retry_after.is_zero());
    assert_eq!(read_all(&journal).await.len(), accepted);

    disk.0.full.store(false, Ordering::SeqCst);
    append(&journal, sized("space again", 500)).await;
    assert_eq!(read_all(&journal).await.len(), accepted + 1);
    soon(journal.close()).await;
}

#[tokio::test]
async fn a_journal_opens_and_is_read_on_a_full_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path(), &unread());
    append(&journal, group(&["a"])).await;
    soon(journal.close()).await;
    let disk = FaultyDisk::default();
    disk.0.full.store(true, Ordering::SeqCst);

    let (journal, _) = disk.open(dir.path(), &unread());

    assert_eq!(ids(&read_all(&journal).await), ["a"]);
    assert!(unavailable(&try_append(&journal, group(&["b"])).await));
    disk.0.full.store(false, Ordering::SeqCst);
    append(&journal, group(&["b"])).await;
    soon(journal.close()).await;
}

#[tokio::test]
async fn noted_settlements_outlast_a_failing_disk_in_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let (journal, _) = disk.open(dir.path(), &unread());
    let id = SubscriptionId(Uuid::from_u128(1));
    disk.0.sync.store(true, Ordering::SeqCst);

    for n in 1..=3 {
        soon(journal.note(settled(id, n))).await.unwrap();
        assert!(unavailable(&try_append(&journal, group(&["a"])).await));
    }
    disk.0.sync.store(false, Ordering::SeqCst);
    until("the notes are durable", || journal.head() == 3).await;

    soon(journal.close()).await;
    let (journal, recovered) = open(dir.path(), &unread());
    assert_eq!(
        recovered.progress[&id].beyond.iter().copied().collect::<Vec<_>>(),
        [1, 2, 3]
    );
    soon(journal.close()).await;
}

#[tokio::test]
async fn what_the_last_batch_left_is_synced_again_before_it_is_believed() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir.path().join("a"), &unread());
    append(&journal, group(&["a"])).await;
    let crashed = dir.path().join("b");
    copy(&dir.path().join("a"), &crashed);
    soon(journal.close()).await;
    let mut place = 0;
    let damage = dump(&crashed, 1, |located| {
        place = located.offset;
        std::ops::ControlFlow::Break(())
    });
    assert_eq!(damage.unwrap(), []);
    let disk = FaultyDisk::default();

    let (journal, _) = disk.open(&crashed, &unread());
    let covered = disk.0.synced.lock().unwrap().clone();
    assert!(
        covered
            .iter()
            .any(|(at, length)| (*at..at + *length as u64).contains(&place)),
        "the group at {place} is not among {covered:?}"
    );
    let duplicate = append(&journal, group(&["a"])).await;
    assert_eq!(duplicate.placed, [Placed::Duplicate(1)]);
    soon(journal.close()).await;

    disk.0.sync.store(true, Ordering::SeqCst);
    let refused = dispatch_journal::Journal::open_on(std::sync::Arc::new(disk.clone()), &crashed, unread());
    assert!(
        refused.is_err(),
        "a journal whose end cannot be synced is not opened"
    );
}

#[tokio::test]
async fn a_head_that_cannot_be_read_at_once_is_read_again_and_not_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path(), &unread());
    append(&journal, group(&["a"])).await;
    soon(journal.close()).await;
    let disk = FaultyDisk::default();
    disk.0.reads.store(2, Ordering::SeqCst);

    let (journal, recovered) = disk.open(dir.path(), &unread());

    assert_eq!(recovered.damage, []);
    assert_eq!(ids(&read_all(&journal).await), ["a"]);
    soon(journal.close()).await;
}

#[tokio::test]
async fn an_opening_that_cannot_read_something_at_once_takes_nothing_for_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path(), &unread());
    for n in 0..40 {
        append(&journal, sized(&n.to_string(), 3000)).await;
    }
    soon(journal.close()).await;

    for spared in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        copy(dir.path(), folder.path());
        let disk = FaultyDisk::idle();
        disk.0.spared_reads.store(spared, Ordering::SeqCst);
        disk.0.reads.store(2, Ordering::SeqCst);

        let (journal, recovered) = disk.open(folder.path(), &unread());

        assert_eq!(recovered.damage, [], "after {spared} reads");
        assert_eq!(read_all(&journal).await.len(), 40);
        soon(journal.close()).await;
    }
}

#[tokio::test]
async fn what_cannot_be_read_for_a_moment_is_not_left_out_for_who_reads() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::idle();
    let (journal, _) = disk.open(dir.path(), &unread());
    for n in 0..40 {
        append(&journal, sized(&n.to_string(), 3000)).await;
    }

    // More often than one look at a sector is repeated, less often than a read is.
    disk.0.reads.store(6, Ordering::SeqCst);

    assert_eq!(read_all(&journal).await.len(), 40);
    soon(journal.close()).await;
}

#[tokio::test]
async fn a_new_segment_without_a_durable_name_ends_the_old_one_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let (journal, _) = disk.open(dir.path(), &unread());
    append(&journal, sized("fills most of the segment", 50_000)).await;

    disk.0.names.store(true, Ordering::SeqCst);
    assert!(unavailable(
        &try_append(&journal, sized("begins the next", 20_000)).await
    ));
    disk.0.names.store(false, Ordering::SeqCst);
    append(&journal, sized("would fit into the old one", 100)).await;

    let crashed = dir.path().join("crashed");
    copy(dir.path(), &crashed);
    soon(journal.close()).await;
    for folder in [dir.path(), &crashed] {
        let (journal, recovered) = open(folder, &unread());
        let expected = ["fills most of the segment", "would fit into the old one"];
        assert_eq!(ids(&read_all(&journal).await), expected);
        assert_eq!(recovered.damage, []);
        soon(journal.close()).await;
    }
}

#[tokio::test]
async fn a_journal_whose_names_cannot_be_made_durable_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let (journal, _) = disk.open(dir.path(), &unread());
    append(&journal, group(&["a"])).await;
    soon(journal.close()).await;

    disk.0.names.store(true, Ordering::SeqCst);
    let refused = dispatch_journal::Journal::open_on(std::sync::Arc::new(disk.clone()), dir.path(), unread());
    assert!(refused.is_err(), "nobody knows whether its segment has its name");

    disk.0.names.store(false, Ordering::SeqCst);
    let (journal, _) = disk.open(dir.path(), &unread());
    assert_eq!(ids(&read_all(&journal).await), ["a"]);
    soon(journal.close()).await;
}

#[tokio::test]
async fn settlements_go_on_after_a_full_disk_refuses_events() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let options = Options {
        reserve_bytes: 64 * 1024,
        ..unread()
    };
    let (journal, _) = disk.open(dir.path(), &options);
    let id = SubscriptionId(Uuid::from_u128(1));
    append(&journal, sized("0", 500)).await;
    disk.0.full.store(true, Ordering::SeqCst);
    let mut events = 1;
    while try_append(&journal, sized(&events.to_string(), 500))
        .await
        .is_ok()
    {
        events += 1;
    }

    // Each small event still fits somewhere, but what is left is for settlements.
    let mut noted = 0;
    while noted < 400 {
        noted += 1;
        soon(journal.note(settled(id, noted))).await.unwrap();
        if noted % 20 == 0 {
            assert!(unavailable(&try_append(&journal, sized("more", 500)).await));
            let expected = events + noted;
            until("the settlements are durable", || journal.head() == expected).await;
        }
    }
    disk.0.full.store(false, Ordering::SeqCst);
    append(&journal, sized("space again", 500)).await;
    let (head, again) = (journal.head(), dir.path().join("crashed"));
    copy(dir.path(), &again);
    soon(journal.close()).await;

    let (journal, recovered) = open(&again, &options);
    assert_eq!((recovered.head, recovered.damage), (head, Vec::new()));
    assert_eq!(recovered.progress[&id].beyond.len() as u64, noted);
    soon(journal.close()).await;
}
