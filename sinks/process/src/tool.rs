//! Tools of this machine (package installers, compilers): run to their end in a process group of their own, within a
//! time, with only the last of their output kept.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::FusedFuture as _;
use rustix::process::Pid;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::build_log::BuildLog;
use crate::group::Group;
use crate::notes::Notes;
use crate::tail::OutputTail;

const LAST_WORDS: Duration = Duration::from_millis(500);
const ERROR_LINES: usize = 10;
/// Variables a tool may see of ours: none of them is the hub's own.
const INHERITED: [&str; 9] = [
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
];
const INHERITED_PREFIXES: [&str; 3] = ["pip_", "npm_config_", "maven_"];

/// Why a tool did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ToolError {
    /// What it was given is wrong; the text is the tool's.
    #[error("{0}")]
    Failed(String),
    /// It cannot be started.
    #[error("{0}")]
    Unavailable(String),
}

/// Gives a tool the part of our environment it may see.
pub(crate) fn with_environment(command: &mut Command) -> &mut Command {
    let inherited = std::env::vars_os().filter(|(name, _)| {
        let name = name.to_string_lossy();
        let lower = name.to_ascii_lowercase();
        INHERITED.contains(&name.as_ref())
            || lower.ends_with("_proxy")
            || INHERITED_PREFIXES.iter().any(|p| lower.starts_with(p))
    });
    command.env_clear().envs(inherited)
}

/// Runs a tool to its end and kills whatever it started; dropping the future kills it too.
pub(crate) async fn run(command: Command, notes: &Arc<Notes>, patience: Duration) -> Result<(), ToolError> {
    run_logged(command, notes, patience, &BuildLog::nowhere()).await
}

/// The same, with all it says kept in a file too.
pub(crate) async fn run_logged(
    mut command: Command,
    notes: &Arc<Notes>,
    patience: Duration,
    log: &BuildLog,
) -> Result<(), ToolError> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| ToolError::Unavailable(format!("`{program}`: {e}")))?;
    let leader = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    let mut group = leader.map(|leader| Group::adopt(leader, notes));
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (mut said, mut complained) = (OutputTail::default(), OutputTail::default());
    let read = async {
        let stdout = async {
            if let Some(pipe) = stdout {
                said.read_all(pipe, |part| log.write(part)).await;
            }
        };
        let stderr = async {
            if let Some(pipe) = stderr {
                complained.read_all(pipe, |part| log.write(part)).await;
            }
        };
        tokio::join!(stdout, stderr);
    };
    let ended = {
        let mut read = std::pin::pin!(read.fuse());
        let reading_on = async {
            read.as_mut().await;
            std::future::pending::<()>().await;
        };
        let ended = tokio::select! {
            status = child.wait() => Some(status),
            () = reading_on => None,
            () = sleep(patience) => None,
        };
        if let Some(group) = &mut group {
            group.kill();
        }
        // What it said last; a process that left the group may hold the pipes for ever.
        if !read.is_terminated() {
            timeout(LAST_WORDS, read).await.unwrap_or_default();
        }
        ended
    };
    let status = match ended {
        Some(Ok(status)) if status.success() => return Ok(()),
        Some(Ok(status)) => status.to_string(),
        Some(Err(error)) => error.to_string(),
        None => format!("not done within {} s", patience.as_secs()),
    };
    let text = match complained.lines(ERROR_LINES) {
        text if text.is_empty() => said.lines(ERROR_LINES),
        text => text,
    };
    Err(ToolError::Failed(format!(
        "`{program}` failed ({status}): {text}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failing_tool_is_told_with_its_last_lines() {
        let folder = tempfile::tempdir().unwrap();
        let notes = Arc::new(Notes::open(folder.path().join("groups")).unwrap());
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "echo fine; echo first >&2; echo no such package >&2; exit 3",
        ]);

        let error = run(command, &notes, Duration::from_secs(20))
            .await
            .unwrap_err()
            .to_string();

        assert!(
            error.contains("no such package") && error.contains("exit status: 3"),
            "{error}"
        );
    }
}
