//! Runs seeds, one or many, and says which failed and how to repeat it.

use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::world::{Held, World};

/// Lines of the story a failure prints.
const LINES: usize = 120;

/// A seed that did not hold.
pub struct Failure {
    /// Which.
    pub seed: u64,
    /// What must not have happened.
    pub what: String,
    /// What led to it.
    story: (usize, Vec<String>),
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (left_out, lines) = &self.story;
        let Self { seed, what, .. } = self;
        writeln!(f, "seed {seed}: {what}")?;
        writeln!(f, "... {left_out} lines before these")?;
        for line in lines {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "seed {seed}: {what}")?;
        write!(f, "again: make seed SEED={seed}")
    }
}

/// Runs one seed.
pub fn run(seed: u64) -> Result<Held, Failure> {
    run_with(seed, LINES)
}

/// Runs one seed; a failure tells so many of the last lines.
pub fn run_with(seed: u64, lines: usize) -> Result<Held, Failure> {
    let mut world = World::new(seed);
    let trace = world.trace().clone();
    let held = catch_unwind(AssertUnwindSafe(|| world.run()));
    let what = match held {
        Ok(Ok(held)) => return Ok(held),
        Ok(Err(what)) => what,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            format!("panicked: {}", text.unwrap_or("no message"))
        }
    };
    Err(Failure {
        seed,
        what,
        story: trace.tail(lines),
    })
}

/// Runs one seed and tells everything that happened, whether it held or not.
pub fn story(seed: u64) -> Vec<String> {
    let mut world = World::new(seed);
    let trace = world.trace().clone();
    let held = world.run();
    let (_, mut lines) = trace.tail(usize::MAX);
    lines.push(format!("{held:?}"));
    lines
}

/// Runs seeds on as many threads, each seed on one. Ends with the first that fails.
pub fn run_all(seeds: Range<u64>, threads: usize) -> Result<u64, Failure> {
    let next = AtomicU64::new(seeds.start);
    let failed: Mutex<Option<Failure>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while failed.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    if let Err(failure) = run(seed) {
                        failed
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .get_or_insert(failure);
                    }
                }
            });
        }
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(failure) => Err(failure),
        None => Ok(seeds.end - seeds.start),
    }
}
