//! The life of a server process: start, serve until told to stop, drain, and say how it ended.

use crate::config::ServerConfig;
use crate::start::{StartError, start};

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything under way was finished and is settled.
    Drained,
    /// Time ran out: what was under way is tried again by the next start.
    OutOfTime,
}

/// Runs a hub until SIGTERM or SIGINT; a second signal ends the drain at once.
pub async fn run(config: ServerConfig) -> Result<Exit, StartError> {
    let server = start(config).await?;
    Ok(server.stop().await)
}
