//! The cgroup of one worker, in every tree.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use dispatch_contract::Bounds;
use rustix::process::{Pid, Signal, kill_process};

use super::found::{Kind, Tree};

/// Microseconds over which processor time is counted.
const PERIOD: u64 = 100_000;

/// A worker's cgroup.
#[derive(Debug)]
pub(crate) struct Cgroup {
    trees: Vec<Tree>,
    /// Its list of processes, in one of them.
    members: Option<PathBuf>,
    /// Its count of tasks, where that is counted.
    count: Option<File>,
    memory: u64,
}

impl Cgroup {
    /// Makes it and sets its limits; removes it again when that fails.
    pub(super) fn make(
        trees: &[Tree],
        name: &str,
        bounds: &Bounds,
        extra_processes: u32,
    ) -> std::io::Result<Self> {
        let trees: Vec<Tree> = trees.iter().map(|tree| tree.below(name)).collect();
        let processes = u64::from(bounds.processes) + u64::from(extra_processes);
        for tree in &trees {
            let made = fs::create_dir(&tree.folder).and_then(|()| limit(tree, bounds, processes));
            if let Err(error) = made {
                for tree in &trees {
                    // Those that were not made are not there.
                    fs::remove_dir(&tree.folder).unwrap_or_default();
                }
                let text = format!("{}: {error}", tree.folder.display());
                return Err(std::io::Error::new(error.kind(), text));
            }
        }
        let mut counts = trees.iter().map(|tree| tree.folder.join("pids.current"));
        Ok(Self {
            count: counts.find_map(|count| File::open(count).ok()),
            members: trees.first().map(|tree| tree.folder.join("cgroup.procs")),
            trees,
            memory: bounds.memory,
        })
    }

    /// Its folder in every tree.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &Path> {
        self.trees.iter().map(|tree| tree.folder.as_path())
    }

    /// Ends every process in it.
    pub(crate) fn kill(&self) {
        self.folders().for_each(kill);
    }

    /// How many tasks are in it: processes and their threads. Asked at the end of every call, so as little as possible is
    /// done.
    pub(crate) fn tasks(&self) -> Option<usize> {
        let mut buffer = [0; 24];
        let read = self.count.as_ref()?.read_at(&mut buffer, 0).ok()?;
        str::from_utf8(&buffer[..read]).ok()?.trim_end().parse().ok()
    }

    /// How many processes are in it. The file is not kept open: version 1 answers an open one from what it found before.
    pub(crate) fn processes(&self) -> Option<usize> {
        let mut file = fs::File::open(self.members.as_ref()?).ok()?;
        let (mut lines, mut buffer) = (0, [0; 4096]);
        loop {
            let read = file.read(&mut buffer).ok()?;
            if read == 0 {
                return Some(lines);
            }
            lines += buffer[..read].iter().filter(|byte| **byte == b'\n').count();
        }
    }

    /// Why the kernel ended a process of it, if it did.
    pub(crate) fn verdict(&self) -> Option<String> {
        let ended = self.folders().any(|folder| {
            ["memory.events", "memory.oom_control"].iter().any(|file| {
                let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
                let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
                count.is_some_and(|count| count.trim() != "0")
            })
        });
        ended.then(|| {
            let mib = self.memory / (1024 * 1024);
            format!("it needs more memory than the {mib} MiB it may have")
        })
    }
}

fn limit(tree: &Tree, bounds: &Bounds, processes: u64) -> std::io::Result<()> {
    let set = |file: &str, value: String| fs::write(tree.folder.join(file), value);
    // Not every kernel counts swap; then there is nothing to set.
    let try_to_set = |file: &str, value: String| match set(file, value) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    let quota = (u64::from(bounds.cpu) * PERIOD / 1000).max(1000);
    match &tree.kind {
        Kind::One("memory") => {
            set("memory.limit_in_bytes", bounds.memory.to_string())?;
            match set("memory.memsw.limit_in_bytes", bounds.memory.to_string()) {
                // Neither without swap accounting, nor without the permission to have the file.
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                set => set,
            }
        }
        Kind::One("pids") => set("pids.max", processes.to_string()),
        Kind::One(_) => {
            set("cpu.cfs_period_us", PERIOD.to_string())?;
            set("cpu.cfs_quota_us", quota.to_string())
        }
        Kind::Two(controllers) => {
            for controller in controllers {
                match *controller {
                    "memory" => {
                        set("memory.max", bounds.memory.to_string())?;
                        try_to_set("memory.swap.max", "0".to_owned())?;
                        try_to_set("memory.oom.group", "1".to_owned())?;
                    }
                    "pids" => set("pids.max", processes.to_string())?,
                    _ => set("cpu.max", format!("{quota} {PERIOD}"))?,
                }
            }
            Ok(())
        }
    }
}

/// Ends every process in a cgroup's folder.
pub(super) fn kill(folder: &Path) {
    if fs::write(kill_file(folder), "1").is_ok() {
        return;
    }
    // Version 1, or an old kernel: forbid new ones, where that can be, then end all there are. The second time
    // finds who was on its way.
    fs::write(folder.join("pids.max"), "0").unwrap_or_default();
    for _ in 0..2 {
        let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        let pids = text
            .lines()
            .filter_map(|line| line.parse().ok())
            .filter_map(Pid::from_raw);
        for pid in pids {
            // Gone already is as good.
            kill_process(pid, Signal::KILL).unwrap_or_default();
        }
    }
}

fn kill_file(folder: &Path) -> PathBuf {
    folder.join("cgroup.kill")
}
