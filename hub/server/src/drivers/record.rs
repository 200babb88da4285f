//! What a driver has done since the hub started; outlives its processes.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dispatch_schemas::Supervision;

/// How one driver has fared.
#[derive(Debug, Default)]
pub(crate) struct Record(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    starts: u64,
    event: Option<Instant>,
    lag: Option<Duration>,
    checkpoint: Option<Instant>,
}

impl Record {
    /// A process was started.
    pub(crate) fn started(&self) {
        self.lock().starts += 1;
    }

    /// Events of it are durable; the last of them was so old by its own word.
    pub(crate) fn emitted(&self, lag: Option<Duration>) {
        let mut kept = self.lock();
        kept.event = Some(Instant::now());
        kept.lag = lag;
    }

    /// A checkpoint of it is durable.
    pub(crate) fn checkpointed(&self) {
        self.lock().checkpoint = Some(Instant::now());
    }

    /// For people, with these last lines.
    pub(crate) fn shown(&self, lines: Vec<String>) -> Supervision {
        let kept = self.lock();
        let age = |at: Option<Instant>| at.map(|at| at.elapsed().as_secs());
        Supervision {
            restarts: kept.starts.saturating_sub(1),
            last_event_age: age(kept.event),
            lag: kept.lag.map(|lag| lag.as_secs()),
            checkpoint_age: age(kept.checkpoint),
            lines,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
