//! Functions as sinks that answer: deploy, invoke, and the run of every delivery.

use crate::hub::{App, Foundation};

/// All functions of the hub.
pub(crate) struct Functions {}

impl Functions {
    /// Made before the router starts.
    pub(crate) fn new(_: &Foundation) -> Self {
        Self {}
    }
    /// Called once when everything is wired, before the first request is taken.
    pub(crate) async fn start(_: &App) {}
    /// Called once after the router has drained.
    pub(crate) async fn stop(&self) {}
}
