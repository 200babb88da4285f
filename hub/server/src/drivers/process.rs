//! One process of a driver, in a group of its own: started, listened to, stopped with everything it started.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use dispatch_contract::ExposeSecret as _;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process_group, prlimit};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinSet;

use super::launch::Launch;
use super::lines::Lines;

/// How long the last lines of a dead process may take to arrive.
const LAST_LINES: Duration = Duration::from_millis(500);

/// What one process may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caps {
    /// Bytes of data.
    pub(crate) memory: usize,
    /// Open files.
    pub(crate) files: usize,
}

/// A running process. Dropping it kills the group.
pub(crate) struct Process {
    child: Child,
    group: Option<Pid>,
    /// Held open for as long as the hub lives: when it closes, the hub is gone.
    _alive: Option<ChildStdin>,
    readers: JoinSet<()>,
}

impl Process {
    /// Starts the program; `log` gets its lines.
    pub(crate) fn start(
        launch: &Launch,
        caps: Caps,
        lines: &Lines,
        log: impl Fn(&str) + Clone + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let mut command = Command::new(&launch.program);
        command.args(&launch.args).env_clear();
        for (name, value) in &launch.env {
            command.env(name, value.expose_secret());
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if group.is_some() {
            cap(group, caps);
        }
        let mut readers = JoinSet::new();
        if let Some(out) = child.stdout.take() {
            readers.spawn(lines.clone().read(out, log.clone()));
        }
        if let Some(err) = child.stderr.take() {
            readers.spawn(lines.clone().read(err, log));
        }
        Ok(Self {
            group,
            _alive: child.stdin.take(),
            child,
            readers,
        })
    }

    /// Resolves when it ended by itself; what it left behind in its group is killed. Safe to drop and ask again.
    pub(crate) async fn ended(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.signal(Signal::KILL);
        self.group = None;
        let last = async { while self.readers.join_next().await.is_some() {} };
        // Somebody outside the group may hold the pipes: then the lines end here.
        tokio::time::timeout(LAST_LINES, last).await.ok();
        status
    }

    /// Asks the group to end, and kills it when it has not after `grace`.
    pub(crate) async fn stop(mut self, grace: Duration) {
        self.signal(Signal::TERM);
        if tokio::time::timeout(grace, self.ended()).await.is_err() {
            self.signal(Signal::KILL);
            if let Err(error) = self.ended().await {
                tracing::warn!(%error, "cannot wait for a driver's end");
            }
        }
    }

    fn signal(&self, signal: Signal) {
        // A group that is gone already needs no signal.
        self.group.map(|group| kill_process_group(group, signal).ok());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Bounds a process that was just started, as far as the hub's own bounds go; what it starts inherits them.
fn cap(process: Option<Pid>, caps: Caps) {
    for (resource, most) in [(Resource::Data, caps.memory), (Resource::Nofile, caps.files)] {
        let most = getrlimit(resource)
            .maximum
            .map_or(most as u64, |hard| hard.min(most as u64));
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        // One that has ended already needs no bound.
        if let Err(error) = prlimit(process, resource, limit) {
            tracing::debug!(%error, "a driver's process cannot be bounded");
        }
    }
}

/// How it ended, for people.
pub(crate) fn describe(status: &io::Result<ExitStatus>) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("exited with code {code}"),
            (None, Some(signal)) => format!("was killed by signal {signal}"),
            (None, None) => "ended".to_owned(),
        },
        Err(error) => format!("cannot be waited for: {error}"),
    }
}
