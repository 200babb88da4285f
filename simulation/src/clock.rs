//! The world's time: tokio's paused clock, laid end to end over all lives of the hub.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dispatch_journal::clock::Clock;
use tokio::time::Instant;

use crate::dice::Dice;

/// When the world began, Unix milliseconds.
const EPOCH: i64 = 1_700_000_000_000;

/// Time that passes only when nobody has anything to do. Clones are the same clock.
#[derive(Debug, Clone)]
pub(crate) struct SimClock(Arc<Mutex<State>>);

#[derive(Debug, Clone)]
struct State {
    /// Of the lives before this one.
    before: Duration,
    /// `None` between two lives.
    life: Option<Instant>,
    /// How far the wall clock was set off.
    jumped: i64,
    salts: Dice,
}

impl SimClock {
    /// A clock that stands at zero.
    pub(crate) fn new(salts: Dice) -> Self {
        Self(Arc::new(Mutex::new(State {
            before: Duration::ZERO,
            life: None,
            jumped: 0,
            salts,
        })))
    }

    /// Another clock that shows the same now, and whose salts move nobody else's.
    pub(crate) fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.state(|state| state.clone()))))
    }

    fn state<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A life begins. To be called on its runtime.
    pub(crate) fn begin_life(&self) {
        self.state(|state| state.life = Some(Instant::now()));
    }

    /// A life ends. To be called on its runtime.
    pub(crate) fn end_life(&self) {
        self.state(|state| state.before += state.life.take().map_or(Duration::ZERO, |life| life.elapsed()));
    }

    /// Sets the wall clock off by so many milliseconds.
    pub(crate) fn jump(&self, milliseconds: i64) {
        self.state(|state| state.jumped += milliseconds);
    }

    /// Since the world began.
    pub(crate) fn now(&self) -> Duration {
        self.state(|state| state.before + state.life.map_or(Duration::ZERO, |life| life.elapsed()))
    }
}

impl Clock for SimClock {
    fn wall(&self) -> i64 {
        EPOCH + self.now().as_millis() as i64 + self.state(|state| state.jumped)
    }

    fn elapsed(&self) -> Duration {
        self.now()
    }

    fn salt(&self) -> u64 {
        self.state(|state| state.salts.bits())
    }
}
