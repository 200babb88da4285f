//! Runs as they happen, for those who look on: bounded, and nobody waits for a slow one.
//!
//! Events need no such thing: whoever follows them reads the journal's tail.

use std::sync::Arc;

use dispatch_schemas::Run;
use tokio::sync::broadcast;

/// Runs a slow follower may fall behind before it loses the oldest.
const KEPT: usize = 1024;

/// The live stream of runs. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    runs: broadcast::Sender<LiveRun>,
}

/// A run after one of its attempts.
#[derive(Debug, Clone)]
pub(crate) struct LiveRun {
    /// Organization it belongs to.
    pub(crate) organization: Arc<str>,
    /// The run as REST shows it.
    pub(crate) run: Arc<Run>,
}

impl Live {
    /// A stream nobody follows yet.
    pub(crate) fn new() -> Self {
        Self {
            runs: broadcast::channel(KEPT).0,
        }
    }

    /// Tells followers of a run after one of its attempts. Never waits; nobody listening is no error.
    pub(crate) fn run(&self, organization: Arc<str>, run: Arc<Run>) {
        drop(self.runs.send(LiveRun { organization, run }));
    }

    /// Follows the runs from now on.
    pub(crate) fn follow_runs(&self) -> broadcast::Receiver<LiveRun> {
        self.runs.subscribe()
    }
}
