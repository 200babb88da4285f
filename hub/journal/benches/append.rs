//! How fast the journal acknowledges: one producer alone, and 64 that share each sync. Every append is durable when it
//! is counted.
// A bench that cannot set up its folder has nothing to say.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dispatch_contract::{Event, Group, Log, NewEvent};
use dispatch_journal::{Journal, Options};

const DATA: usize = 1024;

fn group(id: u64, data: &str) -> Group {
    let event = Event::builder(id.to_string(), "/bench", "bench.event")
        .json(data.to_owned())
        .build()
        .unwrap();
    Group {
        events: vec![NewEvent {
            organization: "bench".into(),
            event,
            target: None,
        }],
        ..Group::default()
    }
}

/// `count` appends by `producers` tasks, each waiting for its acknowledgement before the next.
async fn run(journal: &Journal, producers: u64, count: u64, ids: &mut u64) -> Duration {
    let data = format!("\"{}\"", "x".repeat(DATA - 2));
    let started = Instant::now();
    let tasks: Vec<_> = (0..producers)
        .map(|p| {
            let share = count / producers + u64::from(p < count % producers);
            let (journal, data, first) = (journal.clone(), data.clone(), *ids + p * count);
            tokio::spawn(async move {
                for id in first..first + share {
                    journal.append(group(id, &data)).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    *ids += producers * count;
    started.elapsed()
}

fn append(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let mut benches = c.benchmark_group("append");
    benches
        .throughput(Throughput::ElementsAndBytes {
            elements: 1,
            bytes: DATA as u64,
        })
        .measurement_time(Duration::from_secs(5))
        .sample_size(20);
    for producers in [1, 64] {
        // Beside the build, on the same disk as a hub started from it, not in memory.
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let options = Options {
            retain_bytes: Some(512 << 20),
            ..Options::default()
        };
        let (journal, _) = Journal::open(dir.path(), options).unwrap();
        journal.set_floor(u64::MAX);
        let mut ids = 0;
        benches.bench_function(BenchmarkId::new("producers", producers), |b| {
            b.iter_custom(|count| runtime.block_on(run(&journal, producers, count, &mut ids)));
        });
        runtime.block_on(journal.close());
    }
    benches.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);
