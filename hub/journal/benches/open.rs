//! How long opening takes against what is retained: whole segments, owed and settled events, a full window of identities.
//!
//! `cargo bench -p dispatch-journal --bench open -- [SEGMENTS] [SEGMENT MIB] [SETTLED BEYOND]` (default 16 64 0) fills a
//! folder beside the build through the real writer, crashes (a copy of the open folder), and opens it again, five times
//! with the files in memory and five times without (where `/proc/sys/vm/drop_caches` may be written).
// A bench that cannot set up its folder has nothing to say; it speaks on standard output.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::path::Path;
use std::time::{Duration, Instant};

use dispatch_contract::{Event, Group, Log, NewEvent, Settled, Settlement, SubscriptionId, Through};
use dispatch_journal::{Journal, Options};
use uuid::Uuid;

const DATA: usize = 1024;
const ROUNDS: usize = 5;

fn event(id: u64, data: &str) -> NewEvent {
    let event = Event::builder(id.to_string(), "/bench", "bench.event")
        .json(data.to_owned())
        .build()
        .unwrap();
    NewEvent {
        organization: "bench".into(),
        event,
        target: None,
    }
}

fn options(segment_mib: u64) -> Options {
    Options {
        segment_bytes: segment_mib << 20,
        retain_age: None,
        retain_bytes: None,
        ..Options::default()
    }
}

/// Writes so many segments and a half; of the last events `beyond` are settled, every second one.
async fn fill(dir: &Path, crashed: &Path, segments: u64, segment_mib: u64, beyond: u64) -> u64 {
    let (journal, recovered) = Journal::open(dir, options(segment_mib)).unwrap();
    let data = format!("\"{}\"", "x".repeat(DATA - 2));
    let subscription = SubscriptionId(Uuid::from_u128(1));
    let bytes = ((2 * segments + 1) * segment_mib) << 19;
    let mut id = recovered.head;
    while journal.stats().bytes < bytes {
        let groups = (0..16).map(|_| {
            let events = (0..64).map(|_| {
                id += 1;
                event(id, &data)
            });
            let group = Group {
                events: events.collect(),
                ..Group::default()
            };
            journal.append(group)
        });
        for appended in futures_util::future::join_all(groups).await {
            appended.unwrap();
        }
    }
    let owed = id.min(1_000_000);
    journal
        .append(Group {
            through: vec![Through {
                subscription,
                sequence: id - owed,
                but_for: Vec::new(),
            }],
            ..Group::default()
        })
        .await
        .unwrap();
    let settled: Vec<_> = (0..beyond.min(owed / 2)).map(|n| id - owed + 2 * n + 1).collect();
    for part in settled.chunks(1000) {
        let settlements = part.iter().map(|at| Settlement {
            subscription,
            event: *at,
            settled: Settled::Delivered,
            attempts: 1,
            failures: Vec::new(),
        });
        let group = Group {
            settlements: settlements.collect(),
            ..Group::default()
        };
        journal.append(group).await.unwrap();
    }
    // The next one begins with a snapshot of all that.
    let last = journal.stats().segments;
    while journal.stats().segments == last && beyond > 0 {
        id += 1;
        journal
            .append(Group {
                events: vec![event(id, &data)],
                ..Group::default()
            })
            .await
            .unwrap();
    }
    crash(dir, crashed);
    journal.close().await;
    id
}

/// The folder as a kill leaves it: no mark at the end, space reserved behind it.
fn crash(dir: &Path, crashed: &Path) {
    std::fs::create_dir(crashed).unwrap();
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "log" || e == "idx") || p.ends_with("kept"));
    let newest = files
        .iter()
        .filter(|p| p.extension().is_some_and(|e| e == "log"))
        .max();
    for file in &files {
        let copy = crashed.join(file.file_name().unwrap());
        if Some(file) == newest {
            std::fs::copy(file, copy).unwrap();
        } else {
            std::fs::hard_link(file, copy).unwrap();
        }
    }
}

/// From nothing to the first acknowledgement.
async fn open_and_append(dir: &Path, segment_mib: u64, id: u64) -> (Duration, Duration, Duration) {
    let (started, before) = (Instant::now(), on_cpu());
    let (journal, recovered) = Journal::open(dir, options(segment_mib)).unwrap();
    let (opened, cpu) = (started.elapsed(), on_cpu() - before);
    assert!(recovered.damage.is_empty(), "{:?}", recovered.damage);
    let group = Group {
        events: vec![event(id, "1")],
        ..Group::default()
    };
    journal.append(group).await.unwrap();
    let acknowledged = started.elapsed();
    journal.close().await;
    (opened, acknowledged, cpu)
}

/// How long this thread was on a CPU: what a busy machine does not change.
fn on_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|n| n.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|a| a.parse::<u64>().ok());
    let mut number = |default| numbers.next().unwrap_or(default);
    let (segments, segment_mib, beyond) = (number(4), number(16), number(0));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (full, crashed) = (scratch.path().join("full"), scratch.path().join("crashed"));
    let mut id = runtime.block_on(fill(&full, &crashed, segments, segment_mib, beyond));
    std::fs::remove_dir_all(&full).unwrap();
    println!("{segments} segments of {segment_mib} MiB and a half, {id} events, {beyond} settled beyond");
    for (name, cold) in [("in memory", false), ("from disk", true)] {
        let mut times = Vec::new();
        for round in 0..ROUNDS {
            let again = scratch.path().join(format!("{name}-{round}"));
            crash(&crashed, &again);
            rustix::fs::sync();
            if cold && std::fs::write("/proc/sys/vm/drop_caches", "3").is_err() {
                println!("{name}: not allowed here");
                break;
            }
            id += 1;
            times.push(runtime.block_on(open_and_append(&again, segment_mib, id)));
            std::fs::remove_dir_all(&again).unwrap();
        }
        times.sort();
        if let Some((opened, acknowledged, cpu)) = times.get(times.len() / 2) {
            println!(
                "{name}: opened in {opened:?} ({cpu:?} of it computing), first acknowledgement after {acknowledged:?} (median of {ROUNDS})"
            );
        }
    }
}
