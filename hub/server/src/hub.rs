//! What every part of the server can reach.
//!
//! [`Foundation`] is there before anything moves: configuration, store, log. The parts are made from it; then
//! the router starts; then all of it together is the [`Hub`], which the REST routes get as their state.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use dispatch_contract::{Log, Progress, SubscriptionId};
use dispatch_journal::Journal;
use dispatch_router::Router;
use dispatch_store::Store;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bodies::Bodies;
use crate::config::{LiveLimits, ServerConfig};
use crate::drivers::Drivers;
use crate::functions::Functions;
use crate::gateway::api::Apis;
use crate::images::Images;
use crate::quotas::Quotas;
use crate::reload::Reload;
use crate::stage::Life;
use crate::stream::Live;
use crate::subscriptions::Subscriptions;

/// State of the REST routes.
pub(crate) type App = Arc<Hub>;

/// What is there before the router starts. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Foundation {
    /// What the operator said when the hub started.
    pub(crate) config: Arc<ServerConfig>,
    /// Bounds as they are now.
    pub(crate) limits: LiveLimits,
    /// How many events organizations may bring.
    pub(crate) quotas: Arc<Quotas>,
    /// How far the hub is in its life.
    pub(crate) life: Arc<Life>,
    /// Where the API listens; the port is the real one even if 0 was asked for.
    pub(crate) address: SocketAddr,
    /// Where the gateway listens.
    pub(crate) gateway: SocketAddr,
    /// Where it speaks TLS.
    pub(crate) gateway_tls: SocketAddr,
    /// Resources and read models.
    pub(crate) store: Store,
    /// The journal, as everybody but its owner sees it.
    pub(crate) log: Arc<dyn Log>,
    /// The journal with what only this engine can: checkpoints, retention.
    pub(crate) journal: Journal,
    /// What each subscription had behind it when the journal was opened.
    pub(crate) progress: Arc<HashMap<SubscriptionId, Progress>>,
    /// Runs as they happen.
    pub(crate) live: Live,
    /// Cancelled when the hub begins to stop. Every task listens to it or ends with its part.
    pub(crate) shutdown: CancellationToken,
    /// Every task that is not awaited by whoever started it.
    pub(crate) tasks: TaskTracker,
}

/// A hub that runs. Everything of the [`Foundation`] can be named directly: `app.store`.
pub(crate) struct Hub {
    /// What it stands on.
    pub(crate) foundation: Foundation,
    /// Lanes, retries, deliveries.
    pub(crate) router: Router,
    /// Functions and their runs.
    pub(crate) functions: Functions,
    /// Images and what they need.
    pub(crate) images: Images,
    /// Driver processes.
    pub(crate) drivers: Drivers,
    /// Routes in front of functions.
    pub(crate) apis: Apis,
    /// Subscriptions and their lanes.
    pub(crate) subscriptions: Subscriptions,
    /// What is being sent to the hub.
    pub(crate) bodies: Arc<Bodies>,
    /// How the configuration is read again.
    pub(crate) reload: Reload,
    /// Held while dead letters are redriven or events replayed.
    pub(crate) redrive: tokio::sync::Mutex<()>,
}

impl Hub {
    /// `https` or `http`: how others reach the gateway.
    pub(crate) fn gateway_scheme(&self) -> &'static str {
        match &self.config.gateway_url {
            Some(url) if url.starts_with("https:") => "https",
            Some(_) | None => "http",
        }
    }

    /// Where people reach the API.
    pub(crate) fn url(&self) -> String {
        match self.address.ip().is_unspecified() {
            true => format!("http://127.0.0.1:{}", self.address.port()),
            false => format!("http://{}", self.address),
        }
    }
}

impl Deref for Hub {
    type Target = Foundation;

    fn deref(&self) -> &Foundation {
        &self.foundation
    }
}
