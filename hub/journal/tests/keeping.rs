//! What is appended is there, once, in order, after any restart.
// A helper's unwrap is a test's failure.
#![allow(clippy::unwrap_used)]

mod kit;

use std::collections::BTreeSet;
use std::time::Duration;

use dispatch_contract::{AppendError, Group, Log, Placed, Record, SubscriptionId};
use dispatch_journal::{Journal, OpenError, Options};
use kit::*;
use uuid::Uuid;

#[tokio::test]
async fn what_64_producers_were_told_is_durable_is_read_back_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let options = small();
    let (journal, _) = open(dir.path(), &options);

    let producers: Vec<_> = (0..64)
        .map(|p| {
            let journal = journal.clone();
            tokio::spawn(async move {
                for n in 0..20 {
                    let id = format!("{p}-{n}");
                    let appended = append(&journal, sized(&id, 300)).await;
                    assert_eq!(appended.accepted(), 1);
                }
            })
        })
        .collect();
    for producer in producers {
        soon(producer).await.unwrap();
    }
    let before = read_all(&journal).await;
    soon(journal.close()).await;

    let (journal, recovered) = open(dir.path(), &options);
    let after = read_all(&journal).await;
    assert!(segments(dir.path()).len() > 3, "several segments");
    assert_eq!(recovered.head, 64 * 20);
    assert!(recovered.damage.is_empty() && recovered.torn.is_none());
    assert_eq!(sequences(&after), (1..=64 * 20).collect::<Vec<_>>());
    assert_eq!(ids(&after).into_iter().collect::<BTreeSet<_>>().len(), 64 * 20);
    assert!(before.iter().map(said).eq(after.iter().map(said)));
}

#[tokio::test]
async fn an_event_posted_again_is_a_duplicate_also_after_restarts_and_in_sealed_segments() {
    let dir = tempfile::tempdir().unwrap();
    let options = small();
    let (journal, _) = open(dir.path(), &options);
    for n in 0..400 {
        append(&journal, sized(&n.to_string(), 500)).await;
    }
    assert!(segments(dir.path()).len() > 2);
    soon(journal.close()).await;

    for round in 0..2 {
        let (journal, _) = open(dir.path(), &options);
        for n in [0u64, 57, 399] {
            let again = append(&journal, sized(&n.to_string(), 500)).await;
            assert_eq!(again.placed, [Placed::Duplicate(n + 1)], "round {round}");
        }
        soon(journal.close()).await;
        // An index is only a help: without it the segments are read.
        for file in std::fs::read_dir(dir.path()).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|e| e == "idx") {
                std::fs::remove_file(path).unwrap();
            }
        }
    }
}

#[tokio::test]
async fn duplicates_are_seen_inside_a_group_across_organizations_apart_and_not_for_targeted_events() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path(), &small());
    let subscription = SubscriptionId(Uuid::from_u128(7));

    let twice = append(&journal, group(&["a", "b", "a"])).await;
    let mut other = group(&["a"]);
    other.events[0].organization = "other".into();
    let elsewhere = append(&journal, other).await;
    let mut targeted = group(&["a", "a"]);
    for new in &mut targeted.events {
        new.target = Some(subscription);
    }
    let aimed = append(&journal, targeted).await;

    assert_eq!(
        twice.placed,
        [Placed::New(1), Placed::New(2), Placed::Duplicate(1)]
    );
    assert_eq!((twice.accepted(), twice.duplicates()), (2, 1));
    assert_eq!(elsewhere.placed, [Placed::New(3)]);
    assert_eq!(aimed.placed, [Placed::New(4), Placed::New(5)]);
    let entries = read_all(&journal).await;
    let Record::Event(last) = &entries[4].record else {
        panic!("the last record is an event");
    };
    assert_eq!(last.target, Some(subscription));
    soon(journal.close()).await;
}

#[tokio::test]
async fn the_window_forgets_the_oldest_events_first() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        dedup_window: 3,
        ..small()
    };
    let (journal, _) = open(dir.path(), &options);
    append(&journal, group(&["a", "b", "c", "d"])).await;

    let again = append(&journal, group(&["b", "a"])).await;

    assert_eq!(again.placed, [Placed::Duplicate(2), Placed::New(5)]);
    soon(journal.close()).await;
}

#[tokio::test]
async fn a_checkpoint_is_stored_with_its_events_and_also_when_all_of_them_are_duplicates() {
    let dir = tempfile::tempdir().unwrap();
    let options = small();
    let (journal, _) = open(dir.path(), &options);
    let with = |ids: &[&str], value: &str| Group {
        checkpoint: Some(checkpoint("vc1", value)),
        ..group(ids)
    };

    append(&journal, with(&["a", "b"], "two")).await;
    assert_eq!(journal.checkpoint("dispatch", "vc1").unwrap(), "two");
    let again = append(&journal, with(&["a", "b"], "again")).await;
    assert_eq!(again.duplicates(), 2);
    soon(journal.close()).await;

    let (journal, _) = open(dir.path(), &options);
    assert_eq!(journal.checkpoint("dispatch", "vc1").unwrap(), "again");
    assert_eq!(journal.checkpoint("other", "vc1"), None);
    assert_eq!(journal.checkpoint("dispatch", "vc2"), None);
    soon(journal.close()).await;
}

#[tokio::test]
async fn progress_and_checkpoints_survive_in_snapshots_when_their_segments_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        retain_bytes: Some(0),
        ..small()
    };
    let (live, gone) = (
        SubscriptionId(Uuid::from_u128(1)),
        SubscriptionId(Uuid::from_u128(2)),
    );
    let (journal, _) = open(dir.path(), &options);
    append(&journal, group(&["a", "b", "c"])).await;
    append(&journal, settled(live, 3)).await;
    append(&journal, through(live, 1)).await;
    append(&journal, settled(gone, 1)).await;
    append(
        &journal,
        Group {
            checkpoint: Some(checkpoint("d", "here")),
            ..Group::default()
        },
    )
    .await;
    journal.forget(gone);
    let written = journal.head();
    for n in 0..300 {
        append(&journal, sized(&n.to_string(), 500)).await;
    }
    assert_eq!(
        journal.stats().first,
        1,
        "nothing is removed before the floor is known"
    );

    journal.set_floor(journal.head());
    until("retention removed the first segments", || {
        journal.stats().first > written
    })
    .await;
    soon(journal.close()).await;

    let (journal, recovered) = open(dir.path(), &options);
    assert_eq!(
        recovered.progress.keys().collect::<Vec<_>>(),
        [&live],
        "the forgotten one left the snapshot"
    );
    assert_eq!(recovered.progress[&live].through, 1);
    assert!(recovered.progress[&live].covers(3) && !recovered.progress[&live].covers(2));
    assert_eq!(journal.checkpoint("dispatch", "d").unwrap(), "here");
    assert!(recovered.first > written);
    soon(journal.close()).await;
}

#[tokio::test]
async fn what_a_mark_leaves_owed_is_known_in_every_later_segment_until_it_is_settled() {
    let dir = tempfile::tempdir().unwrap();
    let id = SubscriptionId(Uuid::from_u128(7));
    let (journal, _) = open(dir.path(), &small());
    append(&journal, group(&["a", "b", "c", "d"])).await;
    let mut mark = through(id, 4);
    mark.through[0].but_for = vec![2, 3];
    append(&journal, mark).await;

    for n in 0..300 {
        append(&journal, sized(&n.to_string(), 500)).await;
    }
    append(&journal, settled(id, 3)).await;
    soon(journal.close()).await;
    let (journal, recovered) = open(dir.path(), &small());
    soon(journal.close()).await;

    assert!(journal.stats().segments > 1);
    let progress = &recovered.progress[&id];
    assert_eq!(
        (progress.through, progress.owed.iter().collect::<Vec<_>>()),
        (4, vec![&2])
    );
    assert!(progress.covers(1) && !progress.covers(2) && progress.covers(3));
}

#[tokio::test]
async fn retention_keeps_what_is_owed_and_forgets_identities_with_what_it_removes() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        retain_age: Some(Duration::ZERO),
        retain_bytes: Some(0),
        tail_bytes: 0,
        ..small()
    };
    let (journal, _) = open(dir.path(), &options);
    for n in 0..500 {
        append(&journal, sized(&n.to_string(), 500)).await;
    }

    let owed = 250;
    journal.set_floor(owed - 1);
    until("the oldest segment that is left holds what is owed", || {
        let begins = |n: usize| -> u64 {
            let segment = segments(dir.path()).remove(n);
            segment.file_stem().unwrap().to_str().unwrap().parse().unwrap()
        };
        let stats = journal.stats();
        begins(0) == stats.first && begins(1) > owed && stats.dropped == stats.first - 1
    })
    .await;

    let first = journal.stats().first;
    assert!((2..=owed).contains(&first));
    let entries = read_all(&journal).await;
    assert_eq!(
        sequences(&entries),
        (first..=500).collect::<Vec<_>>(),
        "a read goes on at what is kept"
    );
    let removed = append(&journal, sized("0", 500)).await;
    assert_eq!(removed.accepted(), 1, "its first copy is gone");
    let kept = append(&journal, sized("499", 500)).await;
    assert_eq!(kept.placed, [Placed::Duplicate(500)]);
    soon(journal.close()).await;
}

#[tokio::test]
async fn noted_groups_become_durable_by_themselves_and_before_a_later_append() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path(), &small());
    let id = SubscriptionId(Uuid::from_u128(1));

    soon(journal.note(settled(id, 1))).await.unwrap();
    until("the note is durable", || journal.head() == 1).await;
    soon(journal.note(settled(id, 2))).await.unwrap();
    let appended = append(&journal, group(&["a"])).await;

    assert_eq!(appended.placed, [Placed::New(3)]);
    soon(journal.close()).await;
}

#[tokio::test]
async fn closing_writes_what_waits_and_ends_tails_and_appends() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        note_delay: Duration::from_secs(3600),
        ..small()
    };
    let (journal, _) = open(dir.path(), &options);
    let mut tail = journal.tail(1);
    soon(journal.note(settled(SubscriptionId(Uuid::nil()), 1)))
        .await
        .unwrap();

    soon(journal.close()).await;
    soon(journal.close()).await;

    assert_eq!(
        sequences(&soon(tail.next()).await.unwrap().entries),
        [1],
        "what was noted is followed to the end"
    );
    assert!(soon(tail.next()).await.is_none());
    assert!(matches!(
        try_append(&journal, group(&["a"])).await,
        Err(AppendError::Closed)
    ));
    let (_, recovered) = open(dir.path(), &options);
    assert_eq!(recovered.head, 1);
}

#[tokio::test]
async fn a_second_opening_is_refused_until_the_first_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (first, _) = open(dir.path(), &small());

    let refused = Journal::open(dir.path(), small()).unwrap_err();
    assert!(matches!(refused, OpenError::InUse { .. }));
    assert!(refused.to_string().contains(&dir.path().display().to_string()));

    drop(first);
    let (again, _) = open(dir.path(), &small());
    soon(again.close()).await;
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_or_a_newer_format_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let refused = Journal::open(&dir.path().join("file"), small()).unwrap_err();
    assert!(matches!(refused, OpenError::Unwritable { .. }), "{refused:?}");

    let newer = dir.path().join("newer");
    let (journal, _) = open(&newer, &small());
    append(&journal, group(&["a"])).await;
    soon(journal.close()).await;
    let segment = &segments(&newer)[0];
    let mut bytes = std::fs::read(segment).unwrap();
    for at in [0, 2048] {
        bytes[at + 8] = 3;
        let checksum = crc32c::crc32c(&bytes[at..at + 60]).to_le_bytes();
        bytes[at + 60..at + 64].copy_from_slice(&checksum);
    }
    std::fs::write(segment, &bytes).unwrap();

    let refused = Journal::open(&newer, small()).unwrap_err();
    assert!(
        matches!(
            refused,
            OpenError::NewerFormat {
                found: 3,
                supported: 2,
                ..
            }
        ),
        "{refused:?}"
    );
    assert_eq!(
        std::fs::read(segment).unwrap(),
        bytes,
        "a newer journal is left alone"
    );
}

#[tokio::test]
async fn a_group_that_is_too_large_is_refused_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        max_group_bytes: 1000,
        ..small()
    };
    let (journal, _) = open(dir.path(), &options);

    let refused = try_append(&journal, sized("a", 2000)).await;
    let mut checkpointed = group(&["a"]);
    checkpointed.checkpoint = Some(checkpoint("d", &"x".repeat(70_000)));
    let refused_too = try_append(&journal, checkpointed).await;

    assert!(matches!(refused, Err(AppendError::TooLarge(_))), "{refused:?}");
    assert!(matches!(refused_too, Err(AppendError::TooLarge(_))));
    soon(journal.close()).await;
}

#[tokio::test]
async fn a_group_larger_than_a_segment_gets_one_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let options = small();
    let (journal, _) = open(dir.path(), &options);
    append(&journal, group(&["a"])).await;

    append(&journal, sized("large", 300_000)).await;
    append(&journal, group(&["b"])).await;
    soon(journal.close()).await;

    let (journal, _) = open(dir.path(), &options);
    assert_eq!(ids(&read_all(&journal).await), ["a", "large", "b"]);
    soon(journal.close()).await;
}

/// How much the log keeps of the two.
fn kept(journal: &Journal) -> [u64; 2] {
    ["dispatch", "other"].map(|organization| journal.kept_bytes(organization).unwrap())
}

#[tokio::test]
async fn what_is_kept_of_an_organization_is_counted_over_restarts_and_until_retention_removes_it() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path(), &small());
    let mut expected = [0, 0];
    for n in 0..400 {
        let mut group = sized(&n.to_string(), 500);
        let own = n % 4 == 0;
        if own {
            group.events[0].organization = "other".into();
        }
        expected[usize::from(own)] += group.events[0].event.encoded().len() as u64;
        append(&journal, group.clone()).await;
        // A duplicate takes no space.
        append(&journal, group).await;
    }
    assert!(segments(dir.path()).len() > 2);
    assert_eq!(kept(&journal), expected);
    soon(journal.close()).await;

    // By the indexes with a window of any size, and without them where the window asks for the events anyway
    for (window, indexes) in [(1_000_000, true), (1, true), (1_000_000, false)] {
        let options = Options {
            dedup_window: window,
            ..small()
        };
        if !indexes {
            for index in files(dir.path(), "idx") {
                std::fs::remove_file(index).unwrap();
            }
        }
        let (journal, _) = open(dir.path(), &options);
        assert_eq!(kept(&journal), expected, "{window} {indexes}");
        soon(journal.close()).await;
    }

    // When retention leaves the segment that is written
    let options = Options {
        retain_bytes: Some(0),
        ..small()
    };
    let (journal, recovered) = open(dir.path(), &options);
    journal.set_floor(recovered.head);
    until("one segment is left", || segments(dir.path()).len() == 1).await;

    // Then what that holds is what is kept
    let left = read_all(&journal).await;
    let mut expected = [0, 0];
    for entry in left {
        if let Record::Event(committed) = entry.record {
            expected[usize::from(&*committed.organization == "other")] +=
                committed.event.encoded().len() as u64;
        }
    }
    until("what is left is counted", || kept(&journal) == expected).await;
    assert!(expected[0] > 0 && expected[1] > 0, "{expected:?}");
    soon(journal.close()).await;
}
