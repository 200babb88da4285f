//! Time and chance, as the journal sees them: arrival stamps, ages, deadlines and the salts of its files.
//!
//! Behind a trait so that a simulation can repeat a run exactly. What waits asynchronously (a full queue's patience, a
//! read that is tried again) uses tokio's clock, which a test can pause.

use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

/// Where the journal gets its time and its random numbers from.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Unix milliseconds. May jump, in both directions.
    fn wall(&self) -> i64;
    /// Time since some fixed moment. Never goes back.
    fn elapsed(&self) -> Duration;
    /// 64 bits nobody can guess; a simulation hands out its own.
    fn salt(&self) -> u64;
}

/// The machine's own.
#[derive(Debug, Clone, Copy)]
pub struct RealClock {
    started: Instant,
}

impl Default for RealClock {
    fn default() -> Self {
        Self {
            started: Instant::now(),
        }
    }
}

impl Clock for RealClock {
    fn wall(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |m| -m),
        }
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn salt(&self) -> u64 {
        let (high, low) = Uuid::new_v4().as_u64_pair();
        high ^ low
    }
}
