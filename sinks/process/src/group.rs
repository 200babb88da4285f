//! A worker's process group: killed as a whole, whatever ends the worker, and without this hub if that never got to it
//! (`notes`).

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use dispatch_sink_sandbox::Cage;
use rustix::process::{Pid, Signal, getpgid, kill_process_group, test_kill_process_group};

use crate::notes::Notes;

/// A process group that is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Group {
    leader: Pid,
    notes: Arc<Notes>,
    alive: bool,
    /// Ends those that left the group.
    cage: Option<Cage>,
    /// The process that answers calls, where it is known: its threads are no processes.
    worker: Option<Pid>,
    /// Processes of a worker that is called for the first time.
    at_rest: Option<usize>,
}

impl Group {
    /// Takes over the group that the process `leader` leads.
    pub(crate) fn adopt(leader: Pid, notes: &Arc<Notes>) -> Self {
        notes.add(leader);
        Self {
            leader,
            notes: Arc::clone(notes),
            alive: true,
            cage: None,
            worker: None,
            at_rest: None,
        }
    }

    /// The same with what contains it.
    pub(crate) fn within(mut self, cage: Option<Cage>) -> Self {
        self.cage = cage;
        self
    }

    /// The worker is ready: what runs now may go on running. `worker` is the process that answers calls, where it is known.
    pub(crate) fn settle(&mut self, worker: Option<Pid>) {
        self.worker = worker;
        self.at_rest = self.cage.as_ref().and_then(Cage::processes);
    }

    /// Whether a call left processes behind, where they can be counted. Asked after every call, so they are listed only
    /// when there are more tasks than the worker's threads and the processes it began with.
    pub(crate) fn has_strays(&self) -> bool {
        let (Some(cage), Some(at_rest)) = (&self.cage, self.at_rest) else {
            return false;
        };
        // Looked at twice: a thread may come or go beside it.
        let before = self.more_threads();
        let tasks = cage.tasks().unwrap_or(usize::MAX);
        let threads = before.min(self.more_threads());
        tasks.saturating_sub(threads) > at_rest && cage.processes().is_some_and(|now| now > at_rest)
    }

    /// The worker's threads but for the first.
    fn more_threads(&self) -> usize {
        let folder = self
            .worker
            .map(|worker| format!("/proc/{}/task", worker.as_raw_nonzero()));
        let links = folder.and_then(|folder| Some(fs::metadata(folder).ok()?.nlink()));
        // Each thread is a folder in it; two links are its own.
        let threads = links.map_or(0, |links| links.saturating_sub(2));
        usize::try_from(threads).unwrap_or_default().saturating_sub(1)
    }

    /// Why the machine ended a process of it, if it did.
    pub(crate) fn verdict(&self) -> Option<String> {
        self.cage.as_ref().and_then(Cage::verdict)
    }

    /// The process that leads the group.
    pub(crate) fn leader(&self) -> Pid {
        self.leader
    }

    /// Whether nobody is left of it: who was killed may be about to end.
    pub(crate) fn is_gone(&self) -> bool {
        test_kill_process_group(self.leader).is_err()
    }

    /// Kills every process of the group, once.
    pub(crate) fn kill(&mut self) {
        if std::mem::take(&mut self.alive) {
            // The only error left is that nobody of the group lives any more.
            kill_process_group(self.leader, Signal::KILL).unwrap_or_default();
            if let Some(cage) = &self.cage {
                cage.kill();
            }
            self.notes.remove(self.leader);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether a process is of the group that `leader` leads.
pub(crate) fn has(leader: Pid, process: Pid) -> bool {
    getpgid(Some(process)).is_ok_and(|group| group == leader)
}
