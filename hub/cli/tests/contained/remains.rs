//! What is still running.

use std::time::Duration;

use anyhow::Result;
use dispatch_fixtures::process::until;

/// Waits until no process has the text in its command line or its environment.
pub(crate) async fn gone(what: &str, within: Duration, mark: &str) -> Result<()> {
    let condition = format!("{what} is gone ({mark})");
    until(&condition, within, async || Ok(count(mark) == 0)).await
}

/// Processes that have the text in their command line or their environment; those that ended are none.
pub(crate) fn count(mark: &str) -> usize {
    let has = |bytes: &[u8]| bytes.windows(mark.len()).any(|w| w == mark.as_bytes());
    let own = std::process::id().to_string();
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy() != own)
        .filter(|entry| {
            ["cmdline", "environ"]
                .iter()
                .any(|file| std::fs::read(entry.path().join(file)).is_ok_and(|bytes| has(&bytes)))
        })
        .count()
}
