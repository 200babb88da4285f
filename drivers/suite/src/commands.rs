//! A world made of shell commands, for `dispatch driver check`.

use std::ffi::OsString;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::process::Command;

use crate::hub::DriverHub;
use crate::program::Program;
use crate::senders::{Answer, Senders};
use crate::world::{Upstream, World};

/// The longest a command may take.
const COMMAND: Duration = Duration::from_secs(60);
/// What tells a trigger for a driver that listens.
const LISTEN: &str = "LISTEN";

/// A driver and the commands that make things happen to it.
///
/// A trigger that names `LISTEN` is a sender: it is run once for each event, which it finds numbered in `NUMBER`, and
/// again every second until it succeeds; where to send is in `LISTEN` (`127.0.0.1:PORT`). Any other is run once and makes
/// `COUNT` events.
pub struct Commands {
    program: Program,
    trigger: Option<String>,
    malformed: Option<String>,
    senders: Senders,
    sent: usize,
}

impl Commands {
    /// No trigger: events come by themselves.
    pub fn new(program: Program, trigger: Option<String>, malformed: Option<String>) -> Self {
        Self {
            program,
            trigger,
            malformed,
            senders: Senders::default(),
            sent: 0,
        }
    }

    fn is_sent_to(&self) -> bool {
        self.trigger.as_deref().is_some_and(|text| text.contains(LISTEN))
    }
}

impl World for Commands {
    fn program(&self) -> Program {
        self.program.clone()
    }

    async fn started(&mut self, hub: &DriverHub) -> Result<()> {
        match self.is_sent_to() {
            true => self.senders.find(hub).await,
            false => Ok(()),
        }
    }

    async fn happen(&mut self, count: usize, _hub: &DriverHub) -> Result<bool> {
        let Some(text) = self.trigger.clone() else {
            return Ok(false);
        };
        if !self.is_sent_to() {
            succeed("--trigger", &text, &[("COUNT", count.to_string().into())]).await?;
            return Ok(true);
        }
        for _ in 0..count {
            self.sent += 1;
            let (text, number) = (text.clone(), self.sent.to_string());
            self.senders.send(move |place| {
                let (text, number) = (text.clone(), number.clone());
                async move { sent(&text, &[("NUMBER", number.into()), (LISTEN, place.into())]).await }
            });
        }
        Ok(true)
    }

    async fn malformed(&mut self, hub: &DriverHub) -> Result<bool> {
        let Some(text) = &self.malformed else {
            return Ok(false);
        };
        let place = hub.listens().unwrap_or_default();
        succeed("--malformed", text, &[(LISTEN, place.into())]).await?;
        Ok(true)
    }

    async fn upstream(&mut self) -> Result<Option<Upstream>> {
        Ok(self.is_sent_to().then(|| self.senders.upstream()))
    }
}

async fn sent(text: &str, variables: &[(&str, OsString)]) -> Answer {
    match run("--trigger", text, variables).await {
        Ok(status) if status.success() => Answer::Taken,
        Ok(_) => Answer::Later,
        Err(error) => Answer::Wrong(format!("{error:#}")),
    }
}

async fn succeed(flag: &str, text: &str, variables: &[(&str, OsString)]) -> Result<()> {
    let status = run(flag, text, variables).await?;
    ensure!(status.success(), "{flag} failed: {status}");
    Ok(())
}

async fn run(flag: &str, text: &str, variables: &[(&str, OsString)]) -> Result<ExitStatus> {
    let mut command = Command::new("sh");
    command
        .args(["-c", text])
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    match tokio::time::timeout(COMMAND, command.status()).await {
        Ok(ended) => ended.with_context(|| format!("cannot run {flag}")),
        Err(_) => bail!("{flag} did not end within {} s", COMMAND.as_secs()),
    }
}
