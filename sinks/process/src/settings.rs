//! What the engine may use: folders, numbers of workers, times, limits of a worker process.

use std::path::PathBuf;
use std::time::Duration;

use dispatch_contract::{Bounds, Scale};

use crate::confinement::Confinement;

/// The largest result of a call, in bytes of JSON.
pub(crate) const MAX_RESULT: usize = 1024 * 1024;
/// The longest time any call gets.
pub(crate) const MAX_TIMEOUT: Duration = Duration::from_secs(3600);
/// The longest time a worker rests that nobody calls.
const MAX_IDLE: Duration = Duration::from_secs(24 * 3600);
/// The largest function message sent to a worker, in bytes of JSON.
pub(crate) const MAX_CALL: usize = 16 * 1024 * 1024;

/// Settings of the engine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Folder of the engine's own: revisions and sockets live below it. Emptied when the engine opens.
    pub folder: PathBuf,
    /// Where executables of ours are looked for, after the folder of the running one and before `PATH`.
    pub plugins: Option<PathBuf>,
    /// Workers of a revision that stay although nobody calls, where its function does not say.
    pub min_workers: usize,
    /// Workers a revision has at most; no function gets more.
    pub max_workers: usize,
    /// Calls of a revision that may wait for a worker; one more is throttled.
    pub max_waiting: usize,
    /// A worker beyond the minimum stops after being idle for this long, where its function does not say.
    pub idle: Duration,
    /// Time of a call that brings no bound of its own.
    pub timeout: Duration,
    /// Time a worker has to start and to load its function.
    pub load: Duration,
    /// Limits of each worker process that is not contained.
    pub limits: Limits,
    /// What workers are contained by.
    pub confinement: Confinement,
}

/// Limits of a worker process, set before it loads the function.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of address space of Python; other runtimes reserve far more than they use.
    pub address_space: Option<u64>,
    /// Megabytes of the heap of Node.js and of the JVM.
    pub heap: u32,
    /// Units of fuel of one call in WebAssembly, and the most a function may ask for; not counted when absent.
    pub fuel: Option<u64>,
    /// Bytes of the largest file it may write.
    pub file_size: u64,
    /// Files and sockets it may have open.
    pub open_files: u64,
}

/// How many workers one revision has, and when they go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workers {
    pub(crate) min: usize,
    pub(crate) max: usize,
    pub(crate) idle: Duration,
    /// Calls at a time in one worker whose wire can.
    pub(crate) concurrency: usize,
}

impl Settings {
    /// What a function asks for, within what the engine allows.
    pub(crate) fn workers(&self, scale: &Scale) -> Workers {
        let max = scale
            .max
            .unwrap_or(self.max_workers)
            .clamp(1, self.max_workers.max(1));
        Workers {
            min: scale.min.unwrap_or(self.min_workers).min(max),
            max,
            idle: scale.idle.unwrap_or(self.idle).min(MAX_IDLE),
            concurrency: scale.concurrency.unwrap_or(1).max(1),
        }
    }

    /// The limits of a function's processes: a heap leaves room for the rest of what a contained worker may have.
    pub(crate) fn limits(&self, bounds: &Bounds) -> Limits {
        let room = u32::try_from((bounds.memory / 4 * 3) >> 20).unwrap_or(u32::MAX);
        match self.confinement {
            Confinement::In(_) => Limits {
                heap: self.limits.heap.min(room.max(1)),
                ..self.limits
            },
            _ => self.limits,
        }
    }

    /// The usual settings, with everything below `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            folder: folder.into(),
            plugins: None,
            min_workers: 0,
            max_workers: (cores * 2).max(4),
            max_waiting: 256,
            idle: Duration::from_secs(600),
            timeout: Duration::from_secs(60),
            load: Duration::from_secs(30),
            limits: Limits::default(),
            confinement: Confinement::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            address_space: Some(4 << 30),
            heap: 1024,
            fuel: None,
            file_size: 256 << 20,
            open_files: 1024,
        }
    }
}
