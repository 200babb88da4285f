//! A worker's process group: killed as a whole, whatever ends the worker, and by the next engine if this one
//! never got to it.
//!
//! Each living group has a file named by its number below the engine's folder, with the leader's start time in it. An
//! engine that opens the folder after a crash kills the groups whose leader is still that very process.

use std::fs;
use std::path::{Path, PathBuf};

use dispatch_sink_sandbox::Cage;
use rustix::process::{Pid, Signal, getpgid, kill_process_group};

/// A process group that is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Group {
    leader: Pid,
    note: PathBuf,
    alive: bool,
    /// Ends those that left the group.
    cage: Option<Cage>,
    /// Processes of a worker that is called for the first time.
    at_rest: Option<usize>,
}

impl Group {
    /// Takes over the group that the process `leader` leads.
    pub(crate) fn adopt(leader: Pid, notes: &Path) -> Self {
        let note = notes.join(leader.as_raw_nonzero().to_string());
        if let Err(error) = fs::write(&note, started(leader).unwrap_or_default()) {
            tracing::warn!(path = %note.display(), %error, "cannot note a worker: a crash of the hub may leave it running");
        }
        Self {
            leader,
            note,
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
            kill(self.leader);
            if let Some(cage) = &self.cage {
                cage.kill();
            }
            // The note may never have been written.
            fs::remove_file(&self.note).unwrap_or_default();
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

/// Kills the groups an earlier engine left behind, and forgets them.
pub(crate) fn kill_left_over(notes: &Path) {
    let Ok(entries) = fs::read_dir(notes) else { return };
    for entry in entries.flatten() {
        let leader = entry
            .file_name()
            .to_str()
            .and_then(|n| n.parse().ok())
            .and_then(Pid::from_raw);
        let noted = fs::read_to_string(entry.path()).unwrap_or_default();
        if let Some(leader) = leader
            && !noted.is_empty()
            && started(leader).is_some_and(|s| s == noted)
        {
            tracing::info!(group = %leader.as_raw_nonzero(), "killing workers an earlier hub left behind");
            kill(leader);
        }
    }
}

fn kill(leader: Pid) {
    // The only error left is that nobody of the group lives any more.
    kill_process_group(leader, Signal::KILL).unwrap_or_default();
}

/// When a process started, in the kernel's words; `None` when it is gone.
fn started(pid: Pid) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name, in parentheses, may itself contain spaces; 20 fields after it comes the start time (proc(5)).
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    fn sleeper() -> (std::process::Child, Pid) {
        let child = Command::new("sleep").arg("60").process_group(0).spawn().unwrap();
        let pid = Pid::from_child(&child);
        (child, pid)
    }

    #[test]
    fn a_group_left_behind_is_killed_by_the_next_engine() {
        let notes = tempfile::tempdir().unwrap();
        let (mut child, pid) = sleeper();
        std::mem::forget(Group::adopt(pid, notes.path()));

        kill_left_over(notes.path());

        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn a_process_that_only_took_over_the_number_is_left_alone() {
        let notes = tempfile::tempdir().unwrap();
        let (mut child, pid) = sleeper();
        fs::write(notes.path().join(pid.as_raw_nonzero().to_string()), "1").unwrap();

        kill_left_over(notes.path());

        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
