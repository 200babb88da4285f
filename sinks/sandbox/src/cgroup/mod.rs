//! Control groups: how much memory, how many processes and how much processor the processes of one worker have
//! together, and an end for all of them at once.
//!
//! Below the hub's own cgroup there is a folder for each engine, named by the engine's own folder, and in it one for
//! each worker. Version 1 keeps a tree per controller, version 2 one for all; a machine may have both, and each
//! controller is used where it is. An engine locks its folder, so that the next one to come can tell the folders of
//! the dead, empty them, and remove them.

mod found;
mod group;

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dispatch_contract::Bounds;

use self::found::Tree;
pub(crate) use self::group::Cgroup;

/// Begins the names of engines' folders.
const PREFIX: &str = "dispatch-functions-";
/// How long what was killed may take to leave its cgroup.
const PATIENCE: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(5);

/// The trees of one engine.
#[derive(Debug)]
pub(crate) struct Cgroups {
    trees: Vec<Tree>,
    /// Held as long as the engine lives.
    _locks: Vec<File>,
    /// Folders whose processes were still ending.
    ending: Mutex<Vec<PathBuf>>,
}

impl Cgroups {
    /// Makes the engine's folders, and ends what an engine that crashed left in any. `Err` says what the machine
    /// lacks.
    pub(crate) fn open(engine: &Path) -> Result<Self, String> {
        let mut hasher = DefaultHasher::new();
        engine.hash(&mut hasher);
        let name = format!("{PREFIX}{:016x}", hasher.finish());
        let found = found::trees()?;
        let mut locks = Vec::new();
        let mut trees = Vec::new();
        for tree in found {
            sweep(&tree);
            let below = tree.folder.join(&name);
            let failed = |error: std::io::Error| format!("{}: {error}", below.display());
            locks.push(own(&below).map_err(failed)?);
            let tree = tree.below(&name);
            tree.hand_down().map_err(failed)?;
            trees.push(tree);
        }
        Ok(Self {
            trees,
            _locks: locks,
            ending: Mutex::default(),
        })
    }

    /// A cgroup for one worker.
    pub(crate) fn make(&self, name: &str, bounds: &Bounds, extra_processes: u32) -> std::io::Result<Cgroup> {
        self.remove_ended();
        Cgroup::make(&self.trees, name, bounds, extra_processes)
    }

    /// Removes a cgroup whose processes were killed, now or as soon as they are gone.
    pub(crate) fn remove(&self, group: &Cgroup) {
        self.ending().extend(group.folders().map(Path::to_owned));
        self.remove_ended();
    }

    /// Removes what can be removed; whether nothing is left.
    fn remove_ended(&self) -> bool {
        let mut ending = self.ending();
        ending.retain(|folder| !removed(folder));
        ending.is_empty()
    }

    fn ending(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.remove_ended() && Instant::now() < deadline {
            std::thread::sleep(POLL);
        }
        for tree in &self.trees {
            removed(&tree.folder);
        }
    }
}

/// Makes the folder and locks it. Somebody who looks for the dead may hold it for a moment, or remove it before it is
/// locked.
fn own(folder: &Path) -> std::io::Result<File> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match fs::create_dir(folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let locked = File::open(folder).and_then(|lock| {
            lock.try_lock()?;
            match lock.metadata()?.ino() == fs::metadata(folder)?.ino() {
                true => Ok(lock),
                false => Err(ErrorKind::NotFound.into()),
            }
        });
        match locked {
            Ok(lock) => return Ok(lock),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

/// Ends and removes what dead engines left.
fn sweep(tree: &Tree) {
    let Ok(entries) = fs::read_dir(&tree.folder) else {
        return;
    };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let engine = entry.path();
        let dead = File::open(&engine).is_ok_and(|folder| folder.try_lock().is_ok());
        if !dead {
            continue;
        }
        for worker in fs::read_dir(&engine).into_iter().flatten().flatten() {
            if !worker.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let worker = worker.path();
            group::kill(&worker);
            let deadline = Instant::now() + PATIENCE;
            while !removed(&worker) && Instant::now() < deadline {
                std::thread::sleep(POLL);
            }
        }
        removed(&engine);
    }
}

/// Whether the folder is gone now.
fn removed(folder: &Path) -> bool {
    match fs::remove_dir(folder) {
        Ok(()) => true,
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}
