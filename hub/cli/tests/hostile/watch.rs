//! What the hub's process uses, read from `/proc` while something is done to it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const EVERY: Duration = Duration::from_millis(50);

/// Memory and descriptors.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Resident memory, KiB.
    pub(crate) rss: u64,
    /// Open file descriptors.
    pub(crate) descriptors: usize,
}

impl Usage {
    /// What it is now.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.context("no VmRSS")?.trim().trim_end_matches(" kB");
        Ok(Self {
            rss: kib.parse()?,
            descriptors: std::fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
        })
    }

    fn most(self, other: Self) -> Self {
        Self {
            rss: self.rss.max(other.rss),
            descriptors: self.descriptors.max(other.descriptors),
        }
    }
}

/// Watches a process.
pub(crate) struct Watch {
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<Usage>>,
}

impl Watch {
    /// Begins now.
    pub(crate) fn start(pid: u32) -> Self {
        let (stop, mut stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut most = Usage::of(pid)?;
            while !*stopped.borrow_and_update() {
                let waited = tokio::time::timeout(EVERY, stopped.changed()).await;
                most = most.most(Usage::of(pid)?);
                if matches!(waited, Ok(Err(_))) {
                    break;
                }
            }
            Ok(most)
        });
        Self { stop, task }
    }

    /// The most it used.
    pub(crate) async fn most(self) -> Result<Usage> {
        self.stop.send_replace(true);
        self.task.await?
    }
}
