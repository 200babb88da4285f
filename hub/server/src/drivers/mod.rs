//! Driver processes: found by name, started, restarted with backoff, stopped.

use std::sync::Arc;

use uuid::Uuid;

use crate::hub::{App, Foundation};

/// All drivers of the hub.
pub(crate) struct Drivers {}

/// Whose token a driver presented.
#[derive(Debug, Clone)]
pub(crate) struct DriverIdentity {
    /// Organization of the driver: what it emits belongs there.
    pub(crate) organization: Arc<str>,
    /// Id of the driver.
    pub(crate) id: Uuid,
    /// Name of the driver.
    pub(crate) name: Arc<str>,
}

impl Drivers {
    /// Made before the router starts.
    pub(crate) fn new(_: &Foundation) -> Self {
        Self {}
    }
    /// Called once when requests are taken: starts every driver of the store.
    pub(crate) async fn start(_: &App) {}
    /// Stops every process and waits for it, not much longer than a second.
    pub(crate) async fn stop(&self) {}
    /// The driver this token belongs to.
    pub(crate) fn by_token(&self, _: &str) -> Option<DriverIdentity> {
        None
    }
}
