//! Runs as they happen, for those who look on: bounded, and nobody waits for a slow one.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::broadcast;

/// Runs a slow follower may fall behind before it loses the oldest.
const KEPT: usize = 1024;

/// The live stream of runs. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Live {
    runs: broadcast::Sender<LiveRun>,
}

/// A run after one of its attempts.
#[derive(Debug, Clone)]
pub(crate) struct LiveRun {
    /// Organization it belongs to.
    pub(crate) organization: Arc<str>,
    /// Name of the function.
    pub(crate) function: Arc<str>,
    /// The run as REST shows it, JSON.
    pub(crate) json: Bytes,
}

impl Live {
    /// A stream nobody follows yet.
    pub(crate) fn new() -> Self {
        Self {
            runs: broadcast::channel(KEPT).0,
        }
    }
    /// Tells followers of a run. Never waits.
    pub(crate) fn run(&self, run: LiveRun) {
        // Nobody listening is no error.
        drop(self.runs.send(run));
    }
    /// Follows the runs from now on.
    pub(crate) fn follow_runs(&self) -> broadcast::Receiver<LiveRun> {
        self.runs.subscribe()
    }
}
