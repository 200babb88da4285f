//! A driver's executable: started as the hub starts it, stopped, killed.

use std::fs::File;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use dispatch_contract::{ExposeSecret as _, SecretString};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, ChildStdin, Command};

use crate::hub::DriverHub;

/// What a program inherits, as from the hub.
const INHERITED: [&str; 8] = [
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];
const TOKEN: &str = "the-drivers-token";

/// What to start.
#[derive(Clone)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// Its settings, as `--key=value`.
    pub args: Vec<String>,
    /// Its secrets, by the names of their variables.
    pub secrets: Vec<(String, SecretString)>,
}

/// A driver that runs. Killed, with all it started, when dropped.
pub struct Running {
    child: Child,
    group: Pid,
    stdin: Option<ChildStdin>,
    folder: tempfile::TempDir,
}

impl Program {
    /// With its settings, and of the environment only what the hub passes on, its secrets and its name.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.args).env_clear();
        for name in INHERITED {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        for (name, value) in &self.secrets {
            command.env(name, value.expose_secret());
        }
        command.env("DISPATCH_DRIVER_NAME", "checked");
        command
    }

    /// Starts it at this hub.
    pub fn start(&self, hub: &DriverHub) -> Result<Running> {
        hub.expect(TOKEN);
        let folder = tempfile::tempdir()?;
        let log = File::create(folder.path().join("log"))?;
        let mut command = self.command();
        command
            .env("K_SINK", hub.sink())
            .env("DISPATCH_TOKEN", TOKEN)
            .env("AUTH_TOKEN", TOKEN)
            .env("DISPATCH_DRIVER_ID", "00000000-0000-4000-8000-000000000001")
            .env(
                "DISPATCH_PUBLIC_URL",
                "http://127.0.0.1:8081/driver/dispatch/checked",
            )
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {}", self.path.display()))?;
        let id = child.id().context("it ended at once")?;
        let group = Pid::from_raw(id.try_into()?).context("it has no process group")?;
        let stdin = child.stdin.take();
        Ok(Running {
            child,
            group,
            stdin,
            folder,
        })
    }
}

impl Running {
    /// Whether it ended, and how.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// `kill -9` of it and all it started.
    pub async fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL);
        self.child.wait().await?;
        Ok(())
    }

    /// SIGTERM to its group, as the hub stops it; fails when it does not end in time.
    pub async fn terminate(&mut self, within: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM);
        self.end(within).await
    }

    /// Closes its standard input, as happens when the hub dies; fails when it does not end in time.
    pub async fn close_stdin(&mut self, within: Duration) -> Result<ExitStatus> {
        drop(self.stdin.take());
        self.end(within).await
    }

    async fn end(&mut self, within: Duration) -> Result<ExitStatus> {
        match tokio::time::timeout(within, self.child.wait()).await {
            Ok(ended) => Ok(ended?),
            Err(_) => bail!("still runs {} s later", within.as_secs()),
        }
    }

    fn signal(&self, signal: Signal) {
        // Gone already is as good.
        kill_process_group(self.group, signal).unwrap_or_default();
    }

    /// The last line it printed.
    pub fn last_line(&self) -> String {
        let bytes = std::fs::read(self.folder.path().join("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        last.unwrap_or("it printed nothing").chars().take(300).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
