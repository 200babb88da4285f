//! What a driver would do, asked of its program before it is created: the next ticks of a schedule.

use std::process::Stdio;
use std::time::Duration;

use dispatch_schemas::Driver;
use tokio::process::Command;

use super::launch::arguments;
use super::supervise::Kind;

/// How long the program may think.
const TIME: Duration = Duration::from_secs(5);

/// The driver whose program knows `--next`.
const CRON: &str = "cron";
/// Exit code for wrong settings.
const WRONG_SETTINGS: i32 = 1;

/// The next three ticks of a cron driver, RFC 3339 in its time zone; none for any other. An error is the
/// program's own word about the settings.
pub(crate) async fn next_ticks(kind: &Kind, driver: &Driver) -> Result<Option<Vec<String>>, String> {
    if kind.program.driver.as_deref() != Some(CRON) {
        return Ok(None);
    }
    let mut command = Command::new(&kind.program.path);
    command
        .args(arguments(&kind.program, driver, &kind.defaults))
        .arg("--next=3")
        .env_clear()
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = match tokio::time::timeout(TIME, command.output()).await {
        Ok(Ok(output)) => output,
        // Not being able to tell is no reason to refuse the driver.
        Ok(Err(_)) | Err(_) => return Ok(None),
    };
    let lines = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes)
            .lines()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    match output.status.code() {
        Some(0) => Ok(Some(lines(&output.stdout)).filter(|ticks| !ticks.is_empty())),
        Some(WRONG_SETTINGS) => Err(lines(&output.stderr)
            .pop()
            .unwrap_or_else(|| "the settings are wrong".to_owned())),
        _ => Ok(None),
    }
}
