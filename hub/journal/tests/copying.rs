//! A folder copied while it is written: by hand it opens and holds what was acknowledged before; by `copy` it is whole.
// A helper's unwrap is a test's failure.
#![allow(clippy::unwrap_used)]

mod kit;

use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dispatch_contract::{Group, Log, Record, Sequence};
use dispatch_journal::{Journal, Options, verify};
use kit::*;

/// Producers that write until they are told to stop; says the last sequence each was answered.
struct Producers {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Producers {
    fn start(journal: &Journal, prefix: &str) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let produce = |producer: usize| {
            let (journal, stop, answered) = (journal.clone(), stop.clone(), answered.clone());
            let prefix = format!("{prefix}-{producer}");
            tokio::spawn(async move {
                let mut n = 0;
                while !stop.load(Ordering::SeqCst) {
                    n += 1;
                    let event = sized(&format!("{prefix}-{n}"), 100 + n % 900);
                    let group = Group {
                        checkpoint: Some(checkpoint(&prefix, &n.to_string())),
                        ..event
                    };
                    append(&journal, group).await;
                    answered.fetch_max(journal.head(), Ordering::SeqCst);
                    journal.set_floor(journal.head().saturating_sub(600));
                }
            })
        };
        let tasks = (0..8).map(produce).collect();
        Self {
            stop,
            answered,
            tasks,
        }
    }
    fn answered(&self) -> Sequence {
        self.answered.load(Ordering::SeqCst)
    }
    async fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            soon(task).await.unwrap();
        }
    }
}

/// As `cp -r` does it, slowly.
fn copied_by_hand(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap().path();
        let Ok(mut source) = std::fs::File::open(&file) else {
            continue;
        };
        let mut target = std::fs::File::create(to.join(file.file_name().unwrap())).unwrap();
        let mut part = vec![0; 5000];
        loop {
            let n = source.read(&mut part).unwrap();
            if n == 0 {
                break;
            }
            target.write_all(&part[..n]).unwrap();
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_copied_by_hand_opens_and_holds_what_was_acknowledged_before() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    let (journal, _) = open(&source, &small());
    for round in 0..6 {
        let producers = Producers::start(&journal, &round.to_string());
        until("some are written", || producers.answered() > 100 * (round + 1)).await;

        let answered = producers.answered();
        let target = dir.path().join(format!("copy-{round}"));
        let (from, to) = (source.clone(), target.clone());
        tokio::task::spawn_blocking(move || copied_by_hand(&from, &to))
            .await
            .unwrap();
        producers.stop().await;

        let originals = read_all(&journal).await;
        let (copy, _) = open(&target, &small());
        let read = read_all(&copy).await;
        let whole: Vec<_> = read.iter().filter(|e| e.sequence <= answered).map(said).collect();
        let expected: Vec<_> = originals.iter().take(answered as usize).map(said).collect();
        assert!(whole == expected, "round {round}: {} of {answered}", whole.len());
        for entry in &read {
            assert_eq!(said(entry), said(&originals[entry.sequence as usize - 1]));
        }
        append(&copy, group(&["goes on"])).await;
        soon(copy.close()).await;
    }
    soon(journal.close()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_made_at_full_speed_is_whole_and_holds_what_was_acknowledged_before() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    let options = Options {
        retain_bytes: Some(256 * 1024),
        ..small()
    };
    let (journal, _) = open(&source, &options);
    let producers = Producers::start(&journal, "p");
    let mut linked = 0;
    for round in 0..12 {
        until("more are written", || producers.answered() > 200 * (round + 1)).await;

        let answered = producers.answered();
        let target = dir.path().join(format!("copy-{round}"));
        let (from, to) = (source.clone(), target.clone());
        let copied = tokio::task::spawn_blocking(move || dispatch_journal::copy(&from, &to))
            .await
            .unwrap()
            .unwrap();

        let report = verify(&target).unwrap();
        assert!(copied.head >= answered, "{copied:?}, {answered} answered");
        assert_eq!((report.first, report.head), (copied.first, copied.head));
        assert!(report.damage.is_empty() && report.torn.is_none(), "{report:?}");
        assert!(copied.bytes >= report.segments.iter().map(|s| s.bytes).sum());
        linked += copied.linked;
        let (copy, recovered) = open(&target, &options);
        assert!(recovered.damage.is_empty() && recovered.torn.is_none());
        let entries = read_all(&copy).await;
        assert_eq!(
            sequences(&entries),
            (copied.first..=copied.head).collect::<Vec<_>>()
        );
        // A checkpoint is in the same group as its event.
        let last = entries.iter().rev().find_map(|e| match &e.record {
            Record::Checkpoint(c) => Some(c.clone()),
            _ => None,
        });
        let last = last.unwrap();
        assert_eq!(copy.checkpoint("dispatch", &last.driver), Some(last.value));
        append(&copy, group(&["goes on"])).await;
        soon(copy.close()).await;
    }
    assert!(linked > 12, "{linked} were linked");
    producers.stop().await;
    assert!(journal.stats().dropped > 0);
    assert_eq!(verify(&source).unwrap().damage, []);
    soon(journal.close()).await;
}

#[tokio::test]
async fn a_copy_of_a_copy_is_the_same_and_leaves_the_first_alone() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (journal, _) = open(&at("a"), &small());
    for n in 0..400 {
        append(&journal, sized(&n.to_string(), 500)).await;
    }
    soon(journal.close()).await;
    dispatch_journal::copy(&at("a"), &at("b")).unwrap();
    let before: Vec<_> = segments(&at("b"))
        .iter()
        .map(|f| std::fs::read(f).unwrap())
        .collect();

    let copied = dispatch_journal::copy(&at("b"), &at("c")).unwrap();
    assert_eq!(copied.linked + 1, copied.segments, "only the newest takes space");
    let links = |f: &std::path::PathBuf| f.metadata().unwrap().nlink();
    assert!(segments(&at("c"))[..copied.linked].iter().all(|f| links(f) == 3));
    let (journal, _) = open(&at("c"), &small());
    assert_eq!(read_all(&journal).await.len(), 400);
    for n in 0..400 {
        append(&journal, sized(&format!("more-{n}"), 500)).await;
    }
    soon(journal.close()).await;

    let after = segments(&at("b"));
    assert!(after.iter().map(|f| std::fs::read(f).unwrap()).eq(before));
    assert!(
        dispatch_journal::copy(&at("b"), &at("c")).is_err(),
        "nothing is written over"
    );
}
