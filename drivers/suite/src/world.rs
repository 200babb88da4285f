//! The other side of a driver: how it is started, and how to make things happen upstream.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::process::Command;

use crate::hub::DriverHub;
use crate::program::Program;

/// The longest a command of [`Commands`] may take.
const COMMAND: Duration = Duration::from_secs(60);

/// What a driver is checked in. One is made per run of the suite.
///
/// Senders that push to a driver repeat until the driver says yes, as real ones do: [`happen`](World::happen) then
/// leaves a task behind that goes on, and does not wait for it.
pub trait World: Send {
    /// The driver as it is started each time.
    fn program(&self) -> Program;

    /// Called after each start: waits until the driver sees what happens from now on, if there is a way to know.
    fn started(&mut self, _hub: &DriverHub) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }

    /// Makes `count` events happen upstream. `false`: they come by themselves, as from a clock.
    fn happen(&mut self, count: usize, hub: &DriverHub) -> impl Future<Output = Result<bool>> + Send;

    /// Makes something happen that the driver cannot turn into an event. `false`: there is no such thing.
    fn malformed(&mut self, _hub: &DriverHub) -> impl Future<Output = Result<bool>> + Send {
        async { Ok(false) }
    }

    /// How many events the driver acknowledged upstream so far. `None`: upstream knows no acknowledgement.
    fn acknowledged(&mut self) -> impl Future<Output = Result<Option<usize>>> + Send {
        async { Ok(None) }
    }
}

/// A world made of shell commands, for `dispatch driver check`. They find `COUNT` and, for a driver that listens,
/// `LISTEN` (`127.0.0.1:PORT`) in their environment.
pub struct Commands {
    /// The driver.
    pub program: Program,
    /// Makes `$COUNT` events happen; none when they come by themselves.
    pub trigger: Option<String>,
    /// Makes a malformed record.
    pub malformed: Option<String>,
}

impl World for Commands {
    fn program(&self) -> Program {
        self.program.clone()
    }
    async fn happen(&mut self, count: usize, hub: &DriverHub) -> Result<bool> {
        run("--trigger", self.trigger.as_deref(), count, hub).await
    }
    async fn malformed(&mut self, hub: &DriverHub) -> Result<bool> {
        run("--malformed", self.malformed.as_deref(), 1, hub).await
    }
}

async fn run(flag: &str, command: Option<&str>, count: usize, hub: &DriverHub) -> Result<bool> {
    let Some(text) = command else {
        return Ok(false);
    };
    let mut command = Command::new("sh");
    command
        .args(["-c", text])
        .env("COUNT", count.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    if let Some(listen) = hub.listens() {
        command.env("LISTEN", listen);
    }
    let Ok(ended) = tokio::time::timeout(COMMAND, command.status()).await else {
        bail!("{flag} did not end within {} s", COMMAND.as_secs());
    };
    let status = ended.with_context(|| format!("cannot run {flag}"))?;
    ensure!(status.success(), "{flag} failed: {status}");
    Ok(true)
}
