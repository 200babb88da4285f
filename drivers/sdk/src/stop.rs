//! The wish to stop: set by SIGTERM, SIGINT or a hub that went away, seen by every wait.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Tells when to stop. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Stop(CancellationToken);

/// Somebody wants the driver to stop. No failure: [`run`](crate::run) ends with exit code 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped")]
pub struct Stopped;

impl Stop {
    /// Not stopped yet.
    pub fn new() -> Self {
        Self::default()
    }
    /// Asks for the stop.
    pub fn stop(&self) {
        self.0.cancel();
    }
    /// Whether somebody asked.
    pub fn is_stopped(&self) -> bool {
        self.0.is_cancelled()
    }
    /// Resolves when somebody asks.
    pub async fn stopped(&self) {
        self.0.cancelled().await;
    }
    /// Waits that long, or less when it is time to stop.
    pub async fn sleep(&self, time: Duration) -> Result<(), Stopped> {
        self.unless(tokio::time::sleep(time)).await
    }
    /// The future's result, unless it is time to stop first. The future is dropped then.
    pub async fn unless<F: Future>(&self, future: F) -> Result<F::Output, Stopped> {
        tokio::select! {
            biased;
            () = self.stopped() => Err(Stopped),
            output = future => Ok(output),
        }
    }
}
