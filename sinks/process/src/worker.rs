//! The life of one worker process: started, connected, loaded, called again and again, ended with its group.
//!
//! Whoever waits for a worker empties its pipes meanwhile, so a worker never blocks on output. Nothing here
//! waits for the pipes to close: a child the function left behind may hold them for ever.

use std::process::ExitStatus;
use std::time::Duration;

use bytes::Bytes;
use dispatch_contract::{FunctionError, InvocationError, Logs};
use rustix::process::Pid;
use tokio::net::UnixListener;
use tokio::process::Child;
use tokio::time::{Instant, sleep_until, timeout};

use crate::frame::{FrameError, Link};
use crate::group::Group;
use crate::launch::Launch;
use crate::logs::{Capture, Tap};
use crate::message::{self, MAX_ANSWER};

/// How long a process may take to be gone after its group was killed, or after it hung up by itself.
const GONE: Duration = Duration::from_millis(500);
const BUFFER: usize = 64 * 1024;

/// Why a worker did not start.
#[derive(Debug, Clone)]
pub(crate) enum StartError {
    /// The function cannot be loaded, now or ever.
    Invalid(String),
    /// The machine could not start the process.
    Unavailable(String),
}

/// How a call ended.
pub(crate) struct Called {
    pub(crate) result: Result<Bytes, InvocationError>,
    pub(crate) logs: Logs,
    /// Whether the worker takes another call.
    pub(crate) usable: bool,
}

/// A worker that loaded its function.
#[derive(Debug)]
pub(crate) struct Worker {
    link: Link,
    process: Process,
}

/// The process behind a worker and its two pipes.
#[derive(Debug)]
struct Process {
    group: Group,
    child: Child,
    stdout: Tap,
    stderr: Tap,
    buffer: Vec<u8>,
}

impl Worker {
    /// Starts a process and has it load the function.
    pub(crate) async fn start(launch: &Launch, patience: Duration) -> Result<Self, StartError> {
        let unavailable = |what: &'static str| {
            move |error: std::io::Error| StartError::Unavailable(format!("{what}: {error}"))
        };
        let socket = Socket::bind(launch).map_err(unavailable("cannot listen for the worker"))?;
        let mut process = Process::spawn(launch, &socket)?;
        let order = message::load(&launch.source, &launch.handler);
        let pid = process.group.leader();
        let greet = async {
            let mut link = Link::new(socket.accept(pid).await?);
            let answer = link
                .exchange(&order, MAX_ANSWER)
                .await
                .map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>((link, answer))
        };
        let mut output = Output::default();
        let driven = timeout(patience, process.drive(&mut output, greet)).await;
        let why = match driven {
            Ok(Driven::Done(Ok((link, answer)))) => match message::loaded(&answer) {
                Ok(()) => return Ok(Self { link, process }),
                Err(why) => why,
            },
            Ok(Driven::Done(Err(error))) => {
                let status = process.hung_up().await;
                process.last_words(output, status.map_or(error.to_string(), |s| s.to_string()))
            }
            Ok(Driven::Ended(status)) => process.last_words(output, status.to_string()),
            Err(_) => format!("it did not load within {} s", patience.as_secs()),
        };
        process.end().await;
        Err(StartError::Invalid(format!(
            "Invalid function file or handler: {why}"
        )))
    }

    /// Calls the function once. The group is dead when this returns a worker that is not usable.
    pub(crate) async fn call(&mut self, frame: &[u8], deadline: Instant) -> Called {
        self.process.discard();
        let mut output = Output::default();
        let work = self.link.exchange(frame, MAX_ANSWER);
        let driven = tokio::select! {
            // First, because a flood of output would use up the task's budget before it is asked.
            biased;
            () = sleep_until(deadline) => None,
            driven = self.process.drive(&mut output, work) => Some(driven),
        };
        let (result, usable) = match driven {
            Some(Driven::Done(Ok(frame))) => {
                let answer = message::answer(&frame);
                (answer.result.map_err(InvocationError::Function), !answer.retire)
            }
            Some(Driven::Done(Err(FrameError::TooLong(length)))) => {
                (Err(InvocationError::Function(message::too_long(length))), false)
            }
            Some(Driven::Done(Err(FrameError::Closed))) => {
                let status = self.process.hung_up().await;
                (Err(InvocationError::Function(died(status))), false)
            }
            Some(Driven::Ended(status)) => (Err(InvocationError::Function(died(Some(status)))), false),
            None => (Err(InvocationError::Timeout), false),
        };
        if !usable {
            self.process.group.kill();
        }
        self.process.drain(&mut output);
        Called {
            result,
            logs: Capture::logs(output.stdout, output.stderr),
            usable,
        }
    }

    /// Resolves when the process ends by itself; throws away what it prints meanwhile. Cancel safe.
    pub(crate) async fn watch(&mut self) {
        let mut nowhere = Output::default();
        self.process
            .drive(&mut nowhere, std::future::pending::<()>())
            .await;
    }

    /// Kills the group and waits until the process is gone.
    pub(crate) async fn end(mut self) {
        self.process.end().await;
    }
}

fn died(status: Option<ExitStatus>) -> FunctionError {
    message::system(match status {
        Some(status) => format!("the worker ended during the call ({status})"),
        None => "the worker closed its connection during the call".to_owned(),
    })
}

/// What the process printed.
#[derive(Debug, Default)]
struct Output {
    stdout: Capture,
    stderr: Capture,
}

enum Driven<T> {
    Done(T),
    Ended(ExitStatus),
}

impl Process {
    fn spawn(launch: &Launch, socket: &Socket) -> Result<Self, StartError> {
        let fail = |what: &str, why: &dyn std::fmt::Display| {
            StartError::Unavailable(format!("{what} {}: {why}", launch.interpreter.path.display()))
        };
        let mut child = launch.spawn(&socket.path).map_err(|e| fail("cannot start", &e))?;
        let Some(leader) = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw)
        else {
            return Err(fail("cannot watch", &"it has no process id"));
        };
        let group = Group::adopt(leader, &launch.notes);
        launch
            .limit(leader)
            .map_err(|e| fail("cannot set the limits of", &e))?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(fail("cannot read the output of", &"it has no pipes"));
        };
        let tap = |fd: std::io::Result<_>| {
            fd.and_then(Tap::new)
                .map_err(|e| fail("cannot read the output of", &e))
        };
        Ok(Self {
            group,
            child,
            stdout: tap(stdout.into_owned_fd())?,
            stderr: tap(stderr.into_owned_fd())?,
            buffer: vec![0; BUFFER],
        })
    }

    /// Runs `work` to its end while emptying the pipes, unless the process ends first.
    async fn drive<T>(&mut self, output: &mut Output, work: impl Future<Output = T>) -> Driven<T> {
        let mut work = std::pin::pin!(work);
        let status = loop {
            tokio::select! {
                biased;
                done = &mut work => return Driven::Done(done),
                status = self.child.wait() => break status.unwrap_or_default(),
                () = self.stdout.readable() => self.stdout.pump(&mut self.buffer, Some(&mut output.stdout)),
                () = self.stderr.readable() => self.stderr.pump(&mut self.buffer, Some(&mut output.stderr)),
            }
        };
        // Its last answer may still be on the way.
        match timeout(Duration::from_millis(50), work).await {
            Ok(done) => Driven::Done(done),
            Err(_) => Driven::Ended(status),
        }
    }

    fn drain(&mut self, output: &mut Output) {
        self.stdout.drain(&mut self.buffer, Some(&mut output.stdout));
        self.stderr.drain(&mut self.buffer, Some(&mut output.stderr));
    }

    /// Throws away what was printed outside of any call.
    fn discard(&mut self) {
        self.stdout.drain(&mut self.buffer, None);
        self.stderr.drain(&mut self.buffer, None);
    }

    /// How the process ended, if it does so soon: it hung up.
    async fn hung_up(&mut self) -> Option<ExitStatus> {
        timeout(GONE, self.child.wait()).await.ok()?.ok()
    }

    /// What a process that never got to answer said on standard error.
    fn last_words(&mut self, mut output: Output, ended: String) -> String {
        self.drain(&mut output);
        let stderr = Capture::logs(output.stdout, output.stderr).stderr;
        let last = stderr[stderr.len().saturating_sub(5)..].join("\n");
        match last.is_empty() {
            true => format!("the worker ended while loading it ({ended})"),
            false => format!("the worker ended while loading it ({ended}): {last}"),
        }
    }

    async fn end(&mut self) {
        self.group.kill();
        if timeout(GONE, self.child.wait()).await.is_err() {
            tracing::warn!(pid = %self.group.leader().as_raw_nonzero(), "a killed worker is not gone yet");
        }
    }
}

/// The socket a worker is about to connect to; its file goes with this.
struct Socket {
    listener: UnixListener,
    path: std::path::PathBuf,
}

impl Socket {
    fn bind(launch: &Launch) -> std::io::Result<Self> {
        let path = launch.sockets.join(uuid::Uuid::new_v4().simple().to_string());
        let listener = UnixListener::bind(&path)?;
        Ok(Self { listener, path })
    }

    /// The connection of the process `pid`; others are hung up on.
    async fn accept(&self, pid: Pid) -> std::io::Result<tokio::net::UnixStream> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            if stream.peer_cred()?.pid() == Some(pid.as_raw_nonzero().get()) {
                return Ok(stream);
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "cannot remove a worker's socket");
        }
    }
}
