//! Every format there ever was is still read: a folder of each is kept in `tests/format-N`.
// A helper's unwrap is a test's failure.
#![allow(clippy::unwrap_used)]

mod kit;

use std::path::Path;

use dispatch_contract::{Attempt, Placed, Record, Settled, SubscriptionId};
use dispatch_journal::{Anchor, Journal, Options, verify, verify_against};
use kit::*;
use uuid::Uuid;

/// The end of the chain in the folder that is kept.
const LINK: &str = "a3a71f8f3f6e731f6c6e16bedb46a4f3240238cc0256dcc60a6bbd6d31570eb0";
const ID: SubscriptionId = SubscriptionId(Uuid::from_u128(0x0123_4567_89ab_cdef));

fn chained() -> Options {
    Options {
        chain: true,
        ..small()
    }
}

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
async fn format_1_is_read_and_goes_on_as_it_was_or_chained() {
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

    let (journal, _) = open(dir.path(), &chained());
    append(&journal, group(&["first in the chain"])).await;
    append(&journal, group(&["second"])).await;
    soon(journal.close()).await;
    let report = verify(dir.path()).unwrap();
    assert!(report.damage.is_empty() && report.torn.is_none());
    assert_eq!((report.events, report.segments.len()), (5, 2));
    assert_eq!(report.chain.unwrap().from, report.segments[1].first);
}

#[tokio::test]
async fn format_2_is_read_with_its_chain() {
    let dir = tempfile::tempdir().unwrap();
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/format-2");
    copy(&kept, dir.path());
    let fresh = tempfile::tempdir().unwrap();
    let (journal, _) = open(fresh.path(), &chained());
    fill(&journal).await;
    let expected = read_all(&journal).await;
    soon(journal.close()).await;

    let report = verify(dir.path()).unwrap();
    let (journal, recovered) = open(dir.path(), &chained());
    let entries = read_all(&journal).await;

    assert!(report.damage.is_empty() && report.torn.is_none());
    let chain = report.chain.unwrap();
    assert_eq!((chain.from, chain.end.sequence), (1, 7));
    assert_eq!(chain.end.link.to_string(), LINK);
    assert!(entries.iter().map(said).eq(expected.iter().map(said)));
    assert_eq!(recovered.progress[&ID].through, 2);
    append(&journal, group(&["d"])).await;
    soon(journal.close()).await;
    let anchor = Anchor {
        sequence: 7,
        link: LINK.parse().unwrap(),
    };
    let report = verify_against(dir.path(), anchor).unwrap();
    assert!(report.damage.is_empty() && report.met);
    assert_eq!(report.chain.unwrap().end.sequence, 8);
}

/// Run once for each new format, then commit what it wrote.
#[tokio::test]
#[ignore = "writes the folder that the other test reads"]
async fn keep_a_folder_of_the_present_format() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/format-2");
    let (journal, _) = open(&kept, &chained());
    fill(&journal).await;
    soon(journal.close()).await;
    std::fs::remove_file(kept.join("lock")).unwrap();
}
