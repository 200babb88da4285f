//! Base images and images: a runtime found on this machine plus its installed dependencies.

use crate::hub::{App, Foundation};

/// All images of the hub.
pub(crate) struct Images {}

impl Images {
    /// Made before the router starts.
    pub(crate) fn new(_: &Foundation) -> Self {
        Self {}
    }
    /// Called once when everything is wired, before the first request is taken.
    pub(crate) async fn start(_: &App) {}
    /// Called once when the hub stops.
    pub(crate) async fn stop(&self) {}
}
