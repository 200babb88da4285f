//! A question to a driver's program: run for its answer, without a hub, and no longer than it may think.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// How long the program may think, waiting for its turn included.
const TIME: Duration = Duration::from_secs(5);
/// Programs that are asked at once.
const MOST_AT_ONCE: usize = 4;
/// What is read of either of its streams.
const MOST_BYTES: u64 = 1 << 20;
/// Exit code for what it cannot do as it is told.
const REFUSED: i32 = 1;

static TURNS: Semaphore = Semaphore::const_new(MOST_AT_ONCE);

/// What the program answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// What it printed.
    Said(String),
    /// The last line of why it will not.
    Refused(Option<String>),
}

/// Runs the program. `None`: it did not answer in time, or fell.
pub(crate) async fn ask<S: AsRef<OsStr>>(
    program: &Path,
    args: impl IntoIterator<Item = S>,
) -> Option<Answer> {
    let mut command = Command::new(program);
    command
        .args(args)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    timeout(TIME, answer(command)).await.ok().flatten()
}

async fn answer(mut command: Command) -> Option<Answer> {
    let _turn = TURNS.acquire().await.ok()?;
    let mut child = command.spawn().ok()?;
    let (stdout, stderr) = tokio::join!(text(child.stdout.take()), text(child.stderr.take()));
    match child.wait().await.ok()?.code()? {
        0 => Some(Answer::Said(stdout)),
        REFUSED => Some(Answer::Refused(stderr.lines().last().map(str::to_owned))),
        _ => None,
    }
}

async fn text(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        // What was read before it broke off counts.
        stream
            .take(MOST_BYTES)
            .read_to_end(&mut bytes)
            .await
            .unwrap_or_default();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
