//! Bounds of the processes that run functions.

use std::num::NonZeroU64;
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
    /// Units of fuel of one call in WebAssembly, and the most a function may ask for; not counted unless said.
    pub fuel: Option<NonZeroU64>,
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
            fuel: None,
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
        settings.limits.fuel = self.fuel.map(NonZeroU64::get);
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuel_is_counted_only_where_it_is_said() {
        let read =
            |text: &str| serde_norway::from_str::<Workers>(text).map(|workers| workers.settings("".into()));

        assert_eq!(read("max: 3").unwrap().limits.fuel, None);
        assert_eq!(read("fuel: 1000000000").unwrap().limits.fuel, Some(1_000_000_000));
        assert!(read("fuel: 0").unwrap_err().to_string().contains("fuel"));
    }
}
