//! What every part of the server can reach.
//!
//! [`Foundation`] is there before anything moves: configuration, store, log. The parts are made from it; then
//! the router starts; then all of it together is the [`Hub`], which the REST routes get as their state.

use std::net::SocketAddr;
use std::sync::Arc;

use dispatch_contract::Log;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::ServerConfig;
use crate::drivers::Drivers;
use crate::functions::Functions;
use crate::images::Images;
use crate::stream::Live;

/// State of the REST routes.
pub(crate) type App = Arc<Hub>;

/// What is there before the router starts. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Foundation {
    /// What the operator said.
    pub(crate) config: Arc<ServerConfig>,
    /// Where the API listens; the port is the real one even if 0 was asked for.
    pub(crate) address: SocketAddr,
    /// The journal, as everybody but its owner sees it.
    pub(crate) log: Arc<dyn Log>,
    /// Runs and events as they happen.
    pub(crate) live: Live,
    /// Cancelled when the hub begins to stop. Every task listens to it or ends with its part.
    pub(crate) shutdown: CancellationToken,
    /// Every task that is not awaited by whoever started it.
    pub(crate) tasks: TaskTracker,
}

/// A hub that runs.
pub(crate) struct Hub {
    /// What the operator said.
    pub(crate) config: Arc<ServerConfig>,
    /// Where the API listens.
    pub(crate) address: SocketAddr,
    /// The journal, as everybody but its owner sees it.
    pub(crate) log: Arc<dyn Log>,
    /// Functions and their runs.
    pub(crate) functions: Functions,
    /// Images and what they need.
    pub(crate) images: Images,
    /// Driver processes.
    pub(crate) drivers: Drivers,
    /// Runs and events as they happen.
    pub(crate) live: Live,
    /// Cancelled when the hub begins to stop.
    pub(crate) shutdown: CancellationToken,
    /// Every task that is not awaited by whoever started it.
    pub(crate) tasks: TaskTracker,
}
