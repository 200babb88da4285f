//! Those who follow the log get every record once, in order, however far behind they are.
// A helper's unwrap is a test's failure.
#![allow(clippy::unwrap_used)]

mod kit;

use std::sync::atomic::Ordering;

use dispatch_contract::{Group, Log, Tail};
use dispatch_journal::{Journal, Options};
use kit::*;

async fn follow(mut tail: Box<dyn Tail>, first: u64, last: u64) {
    let mut expected = first;
    while expected <= last {
        let page = soon(tail.next()).await.unwrap();
        for entry in &page.entries {
            assert_eq!(entry.sequence, expected, "skipped or repeated");
            expected += 1;
        }
        assert_eq!(page.next, expected);
    }
}

async fn write(journal: Journal, producer: usize, count: usize) {
    for n in 0..count {
        let ids: Vec<_> = (0..n % 4 + 1).map(|i| format!("{producer}-{n}-{i}")).collect();
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        append(&journal, group(&ids)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_never_skips_or_repeats_with_a_tiny_ring() {
    for tail_bytes in [0, 700, 5_000, 8 << 20] {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            tail_bytes,
            ..small()
        };
        let (journal, _) = open(dir.path(), &options);
        // Each producer writes 1 + 2 + 3 + 4 records in four groups.
        let (producers, count) = (8, 40);
        let last = (producers * count / 4 * 10) as u64;

        let mut followers: Vec<_> = [1, 2, last / 2]
            .map(|from| tokio::spawn(follow(journal.tail(from), from, last)))
            .into();
        let writers: Vec<_> = (0..producers)
            .map(|p| tokio::spawn(write(journal.clone(), p, count)))
            .collect();
        for writer in writers {
            soon(writer).await.unwrap();
        }
        followers.push(tokio::spawn(follow(journal.tail(1), 1, last)));

        for follower in followers {
            soon(follower).await.unwrap();
        }
        assert_eq!(journal.head(), last, "ring of {tail_bytes}");
        soon(journal.close()).await;
    }
}

#[tokio::test]
async fn a_tail_that_is_dropped_in_the_middle_of_waiting_keeps_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path(), &small());
    let mut tail = journal.tail(1);

    for n in 0..20u64 {
        {
            let mut waiting = tail.next();
            assert!(futures_util::poll!(&mut waiting).is_pending());
        }
        append(&journal, group(&[&n.to_string()])).await;
        assert_eq!(sequences(&soon(tail.next()).await.unwrap().entries), [n + 1]);
    }
    soon(journal.close()).await;
}

#[tokio::test]
async fn a_read_that_fails_for_a_while_skips_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        tail_bytes: 0,
        ..small()
    };
    let disk = FaultyDisk::default();
    let (journal, _) = disk.open(dir.path(), &options);
    append(&journal, group(&["a", "b", "c"])).await;

    disk.0.reads.store(2, Ordering::SeqCst);
    let page = soon(journal.read(1, 10_000)).await.unwrap();

    assert_eq!(ids(&page.entries), ["a", "b", "c"]);
    assert_eq!(journal.stats().damaged, 0);
    soon(journal.close()).await;
}

#[tokio::test]
async fn a_reader_without_descriptors_waits_for_one_and_takes_nothing_for_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        tail_bytes: 0,
        ..small()
    };
    let disk = FaultyDisk::default();
    let (journal, _) = disk.open(dir.path(), &options);
    for n in 0..300 {
        append(&journal, sized(&n.to_string(), 500)).await;
    }
    let mut tail = journal.tail(1);

    disk.0.opens.store(usize::MAX, Ordering::SeqCst);
    let refused = soon(journal.read(1, 10_000)).await.unwrap_err();
    assert!(refused.reason.contains("os error 24"), "{refused}");
    disk.0.opens.store(9, Ordering::SeqCst);
    let page = soon(tail.next()).await.unwrap();

    assert_eq!(page.entries[0].sequence, 1);
    assert_eq!(read_all(&journal).await.len(), 300);
    assert_eq!(journal.stats().damaged, 0);
    soon(journal.close()).await;
}

#[tokio::test]
async fn pages_are_as_small_as_asked_but_never_empty() {
    let dir = tempfile::tempdir().unwrap();
    for tail_bytes in [0, 1 << 20] {
        let options = Options {
            tail_bytes,
            ..small()
        };
        let (journal, _) = open(&dir.path().join(tail_bytes.to_string()), &options);
        append(&journal, group(&["a", "b", "c"])).await;

        let mut at = 1;
        for id in ["a", "b", "c"] {
            let page = soon(journal.read(at, 1)).await.unwrap();
            assert_eq!(ids(&page.entries), [id]);
            at = page.next;
        }
        let end = soon(journal.read(at, 1)).await.unwrap();
        assert!(end.entries.is_empty());
        assert_eq!(end.next, 4);
        soon(journal.close()).await;
    }
}

#[tokio::test]
async fn an_empty_journal_can_be_read_followed_and_closed() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, recovered) = open(dir.path(), &small());
    let mut tail = journal.tail(0);

    let page = soon(journal.read(0, 100)).await.unwrap();
    let empty = append(&journal, Group::default()).await;
    soon(journal.close()).await;

    assert!(page.entries.is_empty());
    assert!(empty.placed.is_empty());
    assert_eq!((recovered.head, recovered.first), (0, 1));
    assert!(soon(tail.next()).await.is_none());
}
