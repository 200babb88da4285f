//! The process of a worker and its pipes.
//!
//! Whoever waits for a worker empties its pipes meanwhile, so a worker never blocks on output. Nothing here
//! waits for the pipes to close: a child the function left behind may hold them for ever.

use std::io::ErrorKind;
use std::process::ExitStatus;
use std::time::Duration;

use dispatch_contract::{FunctionError, Logs};
use dispatch_sink_sandbox::Cage;
use rustix::process::Pid;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, sleep, timeout};

use super::StartError;
use crate::group::Group;
use crate::launch::Launch;
use crate::logs::{Capture, Tap};
use crate::message;

/// How long a process may take to be gone after its group was killed, or after it hung up by itself.
const GONE: Duration = Duration::from_millis(500);
/// How often the others of its group are looked for then, for as long once more.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// A program that was just written may be open still in a process that was forked meanwhile, until that is another program
/// itself.
const BUSY_FOR: Duration = Duration::from_millis(500);
const TRY_AGAIN: Duration = Duration::from_millis(5);
/// How long what a process said last may be on its way.
const LAST_WORD: Duration = Duration::from_millis(50);
const BUFFER: usize = 64 * 1024;

/// A running process that leads its group.
#[derive(Debug)]
pub(super) struct Process {
    group: Group,
    child: Child,
    /// Absent where standard output is the answer.
    stdout: Option<Tap>,
    stderr: Tap,
    buffer: Vec<u8>,
}

/// What a process printed.
#[derive(Debug, Default)]
pub(crate) struct Output {
    stdout: Capture,
    stderr: Capture,
}

impl Output {
    pub(super) fn logs(self) -> Logs {
        Capture::logs(self.stdout, self.stderr)
    }
}

/// The lines an answer brought, then those that were printed.
pub(super) fn joined(mut brought: Logs, printed: Logs) -> Logs {
    brought.stdout.extend(printed.stdout);
    brought.stderr.extend(printed.stderr);
    brought.dropped += printed.dropped;
    brought
}

/// How waiting beside a process ended.
pub(crate) enum Driven<T> {
    Done(T),
    Ended(ExitStatus),
}

/// The pipes of a process that is asked on standard input and answers on standard output.
pub(super) type Pipes = (ChildStdin, ChildStdout);

impl Process {
    /// Starts a process whose output is log.
    pub(super) async fn start(
        launch: &Launch,
        command: Command,
        cage: Option<Cage>,
    ) -> Result<Self, StartError> {
        let mut process = Self::spawn(launch, command, cage).await?;
        let fail = |why: &dyn std::fmt::Display| unavailable(launch, "cannot read the output of", why);
        let pipe = process
            .child
            .stdout
            .take()
            .ok_or_else(|| fail(&"it has no pipe"))?;
        let tap = pipe.into_owned_fd().and_then(Tap::new).map_err(|e| fail(&e))?;
        process.stdout = Some(tap);
        Ok(process)
    }

    /// Starts a process that is asked and answers on its standard streams.
    pub(super) async fn start_asking(
        launch: &Launch,
        command: Command,
        cage: Option<Cage>,
    ) -> Result<(Self, Pipes), StartError> {
        let mut process = Self::spawn(launch, command, cage).await?;
        match (process.child.stdin.take(), process.child.stdout.take()) {
            (Some(stdin), Some(stdout)) => Ok((process, (stdin, stdout))),
            _ => Err(unavailable(launch, "cannot speak with", &"it has no pipes")),
        }
    }

    async fn spawn(launch: &Launch, mut command: Command, cage: Option<Cage>) -> Result<Self, StartError> {
        let fail = |what: &str, why: &dyn std::fmt::Display| unavailable(launch, what, why);
        let mut child = spawn(&mut command).await.map_err(|e| fail("cannot start", &e))?;
        let Some(leader) = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw)
        else {
            return Err(fail("cannot watch", &"it has no process id"));
        };
        let group = Group::adopt(leader, &launch.notes).within(cage);
        launch
            .limit(leader)
            .map_err(|e| fail("cannot set the limits of", &e))?;
        let unread = |why: &dyn std::fmt::Display| fail("cannot read the output of", why);
        let pipe = child.stderr.take().ok_or_else(|| unread(&"it has no pipe"))?;
        let stderr = pipe.into_owned_fd().and_then(Tap::new).map_err(|e| unread(&e))?;
        Ok(Self {
            group,
            child,
            stdout: None,
            stderr,
            buffer: vec![0; BUFFER],
        })
    }

    /// The process id.
    pub(super) fn leader(&self) -> Pid {
        self.group.leader()
    }

    /// It has loaded its function: what runs now may go on running. `worker` is who answers calls, where that is known.
    pub(super) fn settle(&mut self, worker: Option<Pid>) {
        self.group.settle(worker);
    }

    /// Whether a call left processes behind, where they can be counted.
    pub(super) fn has_strays(&self) -> bool {
        self.group.has_strays()
    }

    /// That the worker ended in the middle of a call, and why as far as that is known.
    pub(super) fn died(&self, status: Option<ExitStatus>) -> FunctionError {
        message::system(match (self.group.verdict(), status) {
            (Some(verdict), _) => format!("the worker was ended during the call: {verdict}"),
            (None, Some(status)) => format!("the worker ended during the call ({status})"),
            (None, None) => "the worker closed its connection during the call".to_owned(),
        })
    }

    /// Runs `work` to its end while emptying the pipes, unless the process ends first.
    pub(super) async fn drive<T>(&mut self, output: &mut Output, work: impl Future<Output = T>) -> Driven<T> {
        let mut work = std::pin::pin!(work);
        let status = loop {
            tokio::select! {
                biased;
                done = &mut work => return Driven::Done(done),
                status = self.child.wait() => break status.unwrap_or_default(),
                () = readable(self.stdout.as_ref()) => if let Some(stdout) = &mut self.stdout {
                    stdout.pump(&mut self.buffer, Some(&mut output.stdout));
                },
                () = self.stderr.readable() => self.stderr.pump(&mut self.buffer, Some(&mut output.stderr)),
            }
        };
        // Its last answer may still be on the way.
        match timeout(LAST_WORD, work).await {
            Ok(done) => Driven::Done(done),
            Err(_) => Driven::Ended(status),
        }
    }

    /// Takes what is in the pipes now.
    pub(super) fn drain(&mut self, output: &mut Output) {
        if let Some(stdout) = &mut self.stdout {
            stdout.drain(&mut self.buffer, Some(&mut output.stdout));
        }
        self.stderr.drain(&mut self.buffer, Some(&mut output.stderr));
    }

    /// Throws away what was printed outside of any call.
    pub(super) fn discard(&mut self) {
        if let Some(stdout) = &mut self.stdout {
            stdout.drain(&mut self.buffer, None);
        }
        self.stderr.drain(&mut self.buffer, None);
    }

    /// How the process ended, if it does so soon: it hung up.
    pub(super) async fn hung_up(&mut self) -> Option<ExitStatus> {
        timeout(GONE, self.child.wait()).await.ok()?.ok()
    }

    /// What a process that never got to answer said on standard error.
    pub(super) fn last_words(&mut self, mut output: Output, ended: &str) -> String {
        self.drain(&mut output);
        let stderr = output.logs().stderr;
        let last = stderr[stderr.len().saturating_sub(5)..].join("\n");
        match last.is_empty() {
            true => format!("the worker ended while loading it ({ended})"),
            false => format!("the worker ended while loading it ({ended}): {last}"),
        }
    }

    /// Kills the group.
    pub(super) fn kill(&mut self) {
        self.group.kill();
    }

    /// Kills the group and waits until it is gone.
    pub(super) async fn end(&mut self) {
        self.group.kill();
        let others = async {
            while !self.group.is_gone() {
                sleep(LOOK_AGAIN).await;
            }
        };
        if timeout(GONE, self.child.wait()).await.is_err() || timeout(GONE, others).await.is_err() {
            tracing::warn!(pid = %self.group.leader().as_raw_nonzero(), "a killed worker is not gone yet");
        }
    }
}

/// Starts a program, also one that was written a moment ago.
async fn spawn(command: &mut Command) -> std::io::Result<Child> {
    let until = Instant::now() + BUSY_FOR;
    loop {
        match command.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && Instant::now() < until => {
                sleep(TRY_AGAIN).await;
            }
            started => return started,
        }
    }
}

async fn readable(tap: Option<&Tap>) {
    match tap {
        Some(tap) => tap.readable().await,
        None => std::future::pending().await,
    }
}

fn unavailable(launch: &Launch, what: &str, why: &dyn std::fmt::Display) -> StartError {
    StartError::Unavailable(format!("{what} {}: {why}", launch.plan.program.display()))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn a_program_that_is_still_open_for_writing_starts_a_little_later() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        std::fs::copy("/bin/true", &program).unwrap();
        std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        let open = std::fs::File::options().write(true).open(&program).unwrap();
        let busy = Command::new(&program).spawn().unwrap_err();
        assert_eq!(busy.kind(), ErrorKind::ExecutableFileBusy);

        tokio::spawn(async move {
            sleep(Duration::from_millis(50)).await;
            drop(open);
        });

        let ended = spawn(&mut Command::new(&program)).await.unwrap().wait().await;
        assert!(ended.unwrap().success());
    }
}
