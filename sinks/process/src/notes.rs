//! Notes of the process groups that live, for when the hub cannot end them itself.
//!
//! Each has a file named by its leader's number, with the leader's start time in it. A shell waits beside the hub until that
//! is gone, however it went, and ends the groups that are noted then: its standard input is a pipe that only the hub holds,
//! so the kernel tells it. It stands in the folder of the notes, and the next hub makes that folder anew, so it never
//! meets the groups of another hub. That one ends first what is noted still.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use rustix::process::{Pid, Signal, kill_process_group};

/// The fields of `stat` after the name are counted from the third; the 22nd is the start time (proc(5)). Where there is no
/// leader any more the number is still that of its group.
const WATCH: &str = r#"
trap '' HUP INT TERM
read -r end
for leader in *; do
    started=
    read -r started < "$leader"
    [ -n "$started" ] || continue
    if read -r stat < "/proc/$leader/stat"; then
        set -- ${stat##*) }
        [ "${20}" = "$started" ] || continue
    fi
    kill -s KILL -- "-$leader"
done
"#;

/// A folder of notes, and who waits for the end of the hub.
#[derive(Debug)]
pub(crate) struct Notes {
    folder: PathBuf,
    /// Started with the first note.
    watch: OnceLock<Option<Watch>>,
}

impl Notes {
    /// Kills the groups that an earlier engine noted, and makes the folder anew.
    pub(crate) fn open(folder: PathBuf) -> io::Result<Self> {
        kill_left_over(&folder);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(&folder)?,
        }
        Ok(Self {
            folder,
            watch: OnceLock::new(),
        })
    }

    /// Notes the group that a process leads.
    pub(crate) fn add(&self, leader: Pid) {
        let note = self.note(leader);
        if let Err(error) = fs::write(&note, started(leader).unwrap_or_default()) {
            tracing::warn!(path = %note.display(), %error, "cannot note a worker: a crash of the hub may leave it running");
        }
        self.watch.get_or_init(|| match Watch::start(&self.folder) {
            Ok(watch) => Some(watch),
            Err(error) => {
                tracing::warn!(%error, "cannot start /bin/sh: workers of a hub that is killed run until the next one starts");
                None
            }
        });
    }

    /// The group is ended.
    pub(crate) fn remove(&self, leader: Pid) {
        // The note may never have been written.
        fs::remove_file(self.note(leader)).unwrap_or_default();
    }

    fn note(&self, leader: Pid) -> PathBuf {
        self.folder.join(leader.as_raw_nonzero().to_string())
    }
}

/// The shell that waits. Ended when it is dropped: whoever has a group has the notes, so then none is left.
#[derive(Debug)]
struct Watch(Child);

impl Watch {
    fn start(folder: &Path) -> io::Result<Self> {
        Command::new("/bin/sh")
            .args(["-c", WATCH])
            .env_clear()
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What a terminal or an operator sends to the hub's group is not meant for it.
            .process_group(0)
            .spawn()
            .map(Self)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let ended = self.0.kill().and_then(|()| self.0.wait());
        if let Err(error) = ended {
            tracing::debug!(%error, "who waits for the end of the hub is not gone");
        }
    }
}

/// Kills the groups of whose leader a note says when it started.
fn kill_left_over(notes: &Path) {
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
            // The only error left is that nobody of the group lives any more.
            kill_process_group(leader, Signal::KILL).unwrap_or_default();
        }
    }
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
    use rustix::process::kill_process;
    use std::os::unix::process::ExitStatusExt as _;
    use std::time::{Duration, Instant};

    fn sleeper() -> (Child, Pid) {
        let child = Command::new("sleep").arg("60").process_group(0).spawn().unwrap();
        let pid = Pid::from_child(&child);
        (child, pid)
    }

    /// Whether a process runs; one that only waits to be reaped does not.
    fn lives(pid: &str) -> bool {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
        !matches!(fields.split_whitespace().next(), None | Some("Z" | "X"))
    }

    /// Ends one that nobody killed before: then it ends of this signal and of no other.
    fn end_of_alive(mut child: Child) {
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        let ended = child.wait().unwrap();
        assert_eq!(ended.signal(), Some(Signal::TERM.as_raw()), "{ended}");
    }

    /// Does to the one who waits what the kernel does when the hub is gone, and waits until it has done its work.
    fn hub_is_gone(notes: &mut Notes) {
        let Watch(shell) = notes.watch.get_mut().unwrap().as_mut().unwrap();
        drop(shell.stdin.take());
        let deadline = Instant::now() + Duration::from_secs(20);
        while shell.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the shell waits still");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_group_left_behind_is_killed_by_the_next_engine() {
        let folder = tempfile::tempdir().unwrap();
        let (mut child, pid) = sleeper();
        let first = Notes::open(folder.path().join("groups")).unwrap();
        first.add(pid);

        let second = Notes::open(folder.path().join("groups")).unwrap();

        assert!(!child.wait().unwrap().success());
        assert!(!second.note(pid).exists());
    }

    #[test]
    fn a_process_that_only_took_over_the_number_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (child, pid) = sleeper();
        fs::write(folder.path().join(pid.as_raw_nonzero().to_string()), "1").unwrap();

        kill_left_over(folder.path());

        end_of_alive(child);
    }

    #[test]
    fn groups_that_are_noted_end_with_the_hub_and_no_others() {
        // Given a group, one that ended, one without its leader, and the note of a number somebody else has now
        let folder = tempfile::tempdir().unwrap();
        let mut notes = Notes::open(folder.path().join("groups")).unwrap();
        let [(mut noted, first), (ended, second), (other, third)] = [sleeper(), sleeper(), sleeper()];
        for leader in [first, second] {
            notes.add(leader);
        }
        notes.remove(second);
        fs::write(notes.note(third), "1").unwrap();
        let mut leader = Command::new("sh")
            .args(["-c", "read -r end; sleep 60 & echo $!"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        notes.add(Pid::from_child(&leader));
        drop(leader.stdin.take());
        let said = leader.stdout.take().unwrap();
        let follower = io::BufRead::lines(io::BufReader::new(said))
            .next()
            .unwrap()
            .unwrap();
        leader.wait().unwrap();

        // When the hub is gone
        hub_is_gone(&mut notes);

        // Then what was noted and not ended is gone too
        assert!(!noted.wait().unwrap().success());
        end_of_alive(ended);
        end_of_alive(other);
        let deadline = Instant::now() + Duration::from_secs(20);
        while lives(&follower) {
            assert!(Instant::now() < deadline, "what a leader left behind lives");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn who_waited_for_one_hub_does_nothing_to_the_groups_of_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let ((mut of_first, first), (of_second, second)) = (sleeper(), sleeper());
        let mut before = Notes::open(folder.path().join("groups")).unwrap();
        before.add(first);
        let next = Notes::open(folder.path().join("groups")).unwrap();
        next.add(second);

        hub_is_gone(&mut before);

        end_of_alive(of_second);
        assert!(!of_first.wait().unwrap().success());
    }
}
