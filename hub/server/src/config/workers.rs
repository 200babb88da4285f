//! Bounds of the processes that run functions.

use std::path::PathBuf;
use std::time::Duration;

use dispatch_sink_process::Settings;
use serde::{Deserialize, Serialize};

use super::values::{at_least_one, duration, seconds};

/// Workers of a function: what one gets that says nothing of its own, and what none may exceed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Workers {
    /// Workers that stay although nobody calls.
    pub min: usize,
    /// Workers at most; no function gets more.
    #[serde(deserialize_with = "at_least_one")]
    pub max: usize,
    /// Calls that may wait for a worker.
    #[serde(deserialize_with = "at_least_one")]
    pub waiting: usize,
    /// How long a worker beyond the minimum stays when nobody calls.
    #[serde(deserialize_with = "duration", serialize_with = "seconds")]
    pub idle: Duration,
    /// How long a worker may take to start and to load its function.
    #[serde(deserialize_with = "duration", serialize_with = "seconds")]
    pub load: Duration,
    /// Megabytes of the heap of one worker in Node.js or on the JVM.
    #[serde(deserialize_with = "at_least_one")]
    pub heap: usize,
}

impl Default for Workers {
    fn default() -> Self {
        let settings = Settings::new("");
        Self {
            min: settings.min_workers,
            max: settings.max_workers,
            waiting: settings.max_waiting,
            idle: settings.idle,
            load: settings.load,
            heap: settings.limits.heap as usize,
        }
    }
}

impl Workers {
    /// As the engine is told, with everything it keeps below `folder`.
    pub(crate) fn settings(&self, folder: PathBuf) -> Settings {
        let mut settings = Settings::new(folder);
        (settings.min_workers, settings.max_workers) = (self.min, self.max);
        settings.max_waiting = self.waiting;
        (settings.idle, settings.load) = (self.idle, self.load);
        settings.limits.heap = u32::try_from(self.heap).unwrap_or(u32::MAX);
        settings
    }
}
