//! A worker's process group: killed as a whole, whatever ends the worker, and without this hub if that never got to it
//! (`notes`).

use std::sync::Arc;

use dispatch_sink_sandbox::Cage;
use rustix::process::{Pid, Signal, getpgid, kill_process_group};

use crate::notes::Notes;

/// A process group that is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Group {
    leader: Pid,
    notes: Arc<Notes>,
    alive: bool,
    /// Ends those that left the group.
    cage: Option<Cage>,
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
            at_rest: None,
        }
    }

    /// The same with what contains it.
    pub(crate) fn within(mut self, cage: Option<Cage>) -> Self {
        self.cage = cage;
        self
    }

    /// The worker is ready: what runs now may go on running.
    pub(crate) fn settle(&mut self) {
        self.at_rest = self.cage.as_ref().and_then(Cage::processes);
    }

    /// Whether a call left processes behind, where they can be counted.
    pub(crate) fn has_strays(&self) -> bool {
        let now = self.cage.as_ref().and_then(Cage::processes);
        now.zip(self.at_rest).is_some_and(|(now, at_rest)| now > at_rest)
    }

    /// Why the machine ended a process of it, if it did.
    pub(crate) fn verdict(&self) -> Option<String> {
        self.cage.as_ref().and_then(Cage::verdict)
    }

    /// The process that leads the group.
    pub(crate) fn leader(&self) -> Pid {
        self.leader
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
