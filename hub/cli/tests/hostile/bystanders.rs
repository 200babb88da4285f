//! Producers that do nothing wrong: each posts an event every 20 ms over one connection and notes how long the
//! acknowledgement took. A connection that ends is opened again, and the wait for that counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use dispatch_fixtures::wire::{Connection, event};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const PRODUCERS: usize = 4;
const EVERY: Duration = Duration::from_millis(20);
/// How long one acknowledgement may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What they saw.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Sorted.
    took: Vec<Duration>,
    /// Answers that were not 202.
    pub(crate) refused: usize,
}

impl Report {
    /// Acknowledged events.
    pub(crate) fn acknowledged(&self) -> usize {
        self.took.len()
    }

    /// So many of a hundred were not slower.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.took.len() * percent).div_ceil(100).max(1);
        self.took.get(rank - 1).copied().unwrap_or(Duration::MAX)
    }
}

/// Producers at work.
pub(crate) struct Bystanders {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Result<Report>>>,
}

impl Bystanders {
    /// Begins to post; `name` makes their ids their own.
    pub(crate) fn start(port: u16, name: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = (0..PRODUCERS)
            .map(|n| tokio::spawn(produce(port, format!("{name}-{n}"), stop.clone())))
            .collect();
        Self { stop, tasks }
    }

    /// Ends them and says what they saw.
    pub(crate) async fn finish(mut self) -> Result<Report> {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Report::default();
        for task in std::mem::take(&mut self.tasks) {
            let one = timeout(PATIENCE, task).await???;
            all.took.extend(one.took);
            all.refused += one.refused;
        }
        all.took.sort_unstable();
        Ok(all)
    }
}

async fn produce(port: u16, name: String, stop: Arc<AtomicBool>) -> Result<Report> {
    let mut report = Report::default();
    let mut connection = None;
    for number in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let request = event(&format!("{name}-{number}"), "test.happened", "");
        let began = Instant::now();
        let acknowledged = timeout(PATIENCE, async {
            loop {
                match connection.as_mut() {
                    None => connection = Connection::open(port).await.ok(),
                    Some(open) => match Connection::ask(open, &request).await {
                        Some(202) => return,
                        Some(_) => report.refused += 1,
                        None => connection = None,
                    },
                }
                if connection.is_none() {
                    sleep(Duration::from_millis(5)).await;
                }
            }
        });
        acknowledged.await.context("no acknowledgement")?;
        report.took.push(began.elapsed());
        sleep(EVERY.saturating_sub(began.elapsed())).await;
    }
    Ok(report)
}
