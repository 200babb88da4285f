//! Every format there ever was is still read: a folder of each is kept in `tests/format-N`.
// A helper's unwrap is a test's failure.
#![allow(clippy::unwrap_used)]

mod kit;

use std::path::Path;

use dispatch_contract::{Attempt, Placed, Record, Settled, SubscriptionId};
use dispatch_journal::{Journal, Options, verify};
use kit::*;
use uuid::Uuid;

const ID: SubscriptionId = SubscriptionId(Uuid::from_u128(0x0123_4567_89ab_cdef));

async fn fill(journal: &Journal) {
    let mut first = group(&["a", "b"]);
    first.checkpoint = Some(checkpoint("vc1", "key 7"));
    append(journal, first).await;
    let mut second = group(&["c"]);
    second.events[0].target = Some(ID);
    second.settlements = settled(ID, 1).settlements;
    second.settlements[0].settled = Settled::DeadLettered;
    second.settlements[0].failures = vec![Attempt {
        at: 1_767_225_600_000,
        took: 30,
        code: Some(503),
        reason: "Überlast".to_owned(),
    }];
    second.settlements.extend(settled(ID, 9).settlements);
    second.through = through(ID, 2).through;
    append(journal, second).await;
}

#[tokio::test]
async fn format_1_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/format-1");
    copy(&kept, dir.path());
    let fresh = tempfile::tempdir().unwrap();
    let (journal, _) = open(fresh.path(), &small());
    fill(&journal).await;
    let expected = read_all(&journal).await;
    soon(journal.close()).await;

    let report = verify(dir.path()).unwrap();
    let (journal, recovered) = open(dir.path(), &Options::default());
    let entries = read_all(&journal).await;

    assert!(report.damage.is_empty() && report.torn.is_none());
    assert_eq!(
        (
            report.events,
            report.settlements,
            report.throughs,
            report.checkpoints
        ),
        (3, 2, 1, 1)
    );
    assert!(entries.iter().map(said).eq(expected.iter().map(said)));
    let Record::Event(a) = &entries[0].record else {
        panic!("the first record is an event");
    };
    assert!(a.arrival > 1_700_000_000_000);
    assert_eq!(recovered.progress[&ID].through, 2);
    assert!(recovered.progress[&ID].covers(9) && !recovered.progress[&ID].covers(3));
    assert_eq!(journal.checkpoint("dispatch", "vc1").unwrap(), "key 7");
    let again = append(&journal, group(&["b"])).await;
    assert_eq!(again.placed, [Placed::Duplicate(2)]);
    soon(journal.close()).await;
}

/// Run once for each new format, then commit what it wrote.
#[tokio::test]
#[ignore = "writes the folder that the other test reads"]
async fn keep_a_folder_of_the_present_format() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/format-1");
    let (journal, _) = open(&kept, &small());
    fill(&journal).await;
    soon(journal.close()).await;
    std::fs::remove_file(kept.join("lock")).unwrap();
}
