//! What the engine may use: folders, numbers of workers, times, limits of a worker process.

use std::path::PathBuf;
use std::time::Duration;

/// The largest result of a call, in bytes of JSON.
pub(crate) const MAX_RESULT: usize = 1024 * 1024;
/// The longest time any call gets.
pub(crate) const MAX_TIMEOUT: Duration = Duration::from_secs(3600);
/// The largest function message sent to a worker, in bytes of JSON.
pub(crate) const MAX_CALL: usize = 16 * 1024 * 1024;

/// Settings of the engine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Folder of the engine's own: revisions and sockets live below it. Emptied when the engine opens.
    pub folder: PathBuf,
    /// Workers a revision has at most.
    pub max_workers: usize,
    /// Calls of a revision that may wait for a worker; one more is throttled.
    pub max_waiting: usize,
    /// A worker beyond the first stops after being idle for this long.
    pub idle: Duration,
    /// Time of a call that brings no bound of its own.
    pub timeout: Duration,
    /// Time a worker has to start and to load its function.
    pub load: Duration,
    /// Limits of each worker process.
    pub limits: Limits,
}

/// Limits of a worker process, set before it loads the function.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of address space; not applied to Node.js, which reserves far more than it uses.
    pub address_space: Option<u64>,
    /// Megabytes of Node.js' heap.
    pub node_heap: u32,
    /// Bytes of the largest file it may write.
    pub file_size: u64,
    /// Files and sockets it may have open.
    pub open_files: u64,
}

impl Settings {
    /// The usual settings, with everything below `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            folder: folder.into(),
            max_workers: (cores * 2).max(4),
            max_waiting: 256,
            idle: Duration::from_secs(60),
            timeout: Duration::from_secs(60),
            load: Duration::from_secs(30),
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            address_space: Some(4 << 30),
            node_heap: 1024,
            file_size: 256 << 20,
            open_files: 1024,
        }
    }
}
