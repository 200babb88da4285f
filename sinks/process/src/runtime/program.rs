//! Looking for programs of this machine by asking them.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

const PROBE: Duration = Duration::from_secs(20);

/// What a program prints; `Err` in one line when it is missing or fails.
pub(super) async fn ask(program: &str, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(PROBE, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(format!("no `{program}` on PATH"));
        }
        Ok(Err(error)) => return Err(format!("`{program}` cannot be started: {error}")),
        Err(_) => return Err(format!("`{program}` did not answer within {} s", PROBE.as_secs())),
    };
    // `java -version` writes to standard error.
    let text = match output.stdout.is_empty() {
        true => output.stderr,
        false => output.stdout,
    };
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&text).into_owned()),
        false => Err(format!("`{program}` does not run: {}", output.status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_program_is_named() {
        assert_eq!(
            ask("dispatch-no-such-program", &[]).await.unwrap_err(),
            "no `dispatch-no-such-program` on PATH"
        );
    }
}
