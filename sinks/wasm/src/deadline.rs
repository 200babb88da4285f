//! Ends a program at its deadline.
//!
//! By an epoch, not by fuel: a deadline is a moment, fuel counts instructions, which no clock can tell apart from time,
//! and costs more at every loop. A compiled program looks at the epoch when it loops or calls; a thread of this file moves the epoch
//! when the deadline of the call under way has come, and sleeps otherwise: calls that end in time do not wake it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use wasmtime::Engine;

/// Epochs a call may begin in: its own.
pub(crate) const EPOCHS: u64 = 1;

/// Watches the deadline of one call at a time.
pub(crate) struct Watchdog {
    watch: Arc<Watch>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Watch {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Of the call under way.
    deadline: Option<Instant>,
    /// When the thread looks again; `None` while it waits to be told.
    looks_again: Option<Instant>,
    over: bool,
}

/// A call under way; dropping it ends the watch.
pub(crate) struct Watched<'a>(&'a Watch);

impl Watchdog {
    pub(crate) fn start(engine: Engine) -> std::io::Result<Self> {
        let watch = Arc::new(Watch::default());
        let thread = std::thread::Builder::new().name("deadline".to_owned()).spawn({
            let watch = Arc::clone(&watch);
            move || watch.run(&engine)
        })?;
        Ok(Self {
            watch,
            thread: Some(thread),
        })
    }

    /// The epoch moves on at this moment, unless what is returned is dropped before.
    pub(crate) fn watch(&self, deadline: Instant) -> Watched<'_> {
        let mut state = self.watch.lock();
        state.deadline = Some(deadline);
        if state.looks_again.is_none_or(|at| at > deadline) {
            self.watch.changed.notify_one();
        }
        Watched(&self.watch)
    }
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, engine: &Engine) {
        let mut state = self.lock();
        while !state.over {
            let left = state
                .deadline
                .map(|at| at.saturating_duration_since(Instant::now()));
            state = match left {
                Some(left) if left.is_zero() => {
                    // Under the lock: it is still that call.
                    engine.increment_epoch();
                    state.deadline = None;
                    state
                }
                Some(left) => {
                    state.looks_again = state.deadline;
                    let woken = self.changed.wait_timeout(state, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    state.looks_again = None;
                    self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.0.lock().deadline = None;
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.watch.lock().over = true;
        self.watch.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // It panics nowhere, and there is nobody left to tell.
            thread.join().unwrap_or_default();
        }
    }
}
