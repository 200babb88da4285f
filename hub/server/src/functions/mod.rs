//! Functions as sinks that answer: deploy, invoke, and the run of every delivery.
//!
//! A function is code behind the FaaS border ([`dispatch_contract::Faas`]; here the engine of local processes) and a
//! subscription of its own that matches nothing: `exec` is an event that targets it. So a call by event and a call
//! by `exec` are both deliveries, and each is a run: shown from memory while it lasts ([`ongoing`]), told by an
//! event when it has ended ([`run`]). Read [`lifecycle`] for how a function becomes READY and [`sink`] for a call.

mod again;
mod api;
mod cancelled;
mod containment;
mod exec;
mod fetch;
mod lifecycle;
mod list;
mod message;
mod ongoing;
mod reach;
mod registry;
mod returned;
mod run;
mod schema;
mod secrets;
mod sink;
mod taken;
mod verdict;
mod watch;

#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dispatch_contract::{BackoffPolicy, DeliverySpec, Faas, Log, Order, Sink};
use dispatch_router::{Observer, Router};
use dispatch_sink_process::{Process, Settings};
use dispatch_store::Store;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::api::{ApiCall, Ended};
use self::cancelled::Cancelled;
pub(crate) use self::containment::Containment;
pub(crate) use self::exec::Exec;
pub(crate) use self::list::Listed;
use self::ongoing::Ongoing;
use self::reach::Reach;
use self::registry::Registry;
pub(crate) use self::secrets::{SecretsError, collect as secret_values};
use self::sink::FunctionSink;
use self::watch::RunWatch;
use crate::config::LiveLimits;
use crate::hub::{App, Foundation};
use crate::images::Images;
use crate::images::builds::Builds;
use crate::stream::Live;

/// Deploys at once.
const DEPLOYS: usize = 2;
/// One attempt: who calls by `exec` decides whether to call again. The time is a function's longest and some more.
const EXEC_DELIVERY: DeliverySpec = DeliverySpec {
    retry: 0,
    backoff_policy: BackoffPolicy::Exponential,
    backoff_delay: Duration::from_millis(200),
    timeout: Duration::from_secs(3600 + 120),
    max_in_flight: 64,
    order: Order::None,
    rate: None,
};

/// All functions of the hub. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Functions(Arc<Inner>);

struct Inner {
    store: Store,
    log: Arc<dyn Log>,
    live: Live,
    engine: Arc<Process>,
    containment: Containment,
    reach: Reach,
    registry: Registry,
    ongoing: Ongoing,
    /// Cancelled as soon as the read model knows every run that ended before the hub started.
    caught_up: CancellationToken,
    cancelled: Cancelled,
    builds: Builds,
    permits: Semaphore,
    wired: OnceLock<Wired>,
    limits: LiveLimits,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

/// What is there only once the router runs.
struct Wired {
    router: Router,
    images: Images,
}

/// What functions stand on.
pub(crate) struct Ground {
    pub(crate) store: Store,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) live: Live,
    /// The engine's folder and bounds.
    pub(crate) engine: Settings,
    pub(crate) containment: Containment,
    /// Where sources may be fetched from.
    pub(crate) reach: Reach,
    pub(crate) limits: LiveLimits,
    pub(crate) shutdown: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Functions {
    /// Made before the router starts. Fails when the engine's folder cannot be used.
    pub(crate) fn new(foundation: &Foundation) -> std::io::Result<Self> {
        let folder = foundation.config.data.join("functions");
        std::fs::create_dir_all(&folder)?;
        let folder = std::path::absolute(folder)?;
        Self::open(Ground {
            containment: Containment::open(&foundation.config, &folder),
            reach: Reach::new(&foundation.config.functions.fetch_from),
            store: foundation.store.clone(),
            log: Arc::clone(&foundation.log),
            live: foundation.live.clone(),
            engine: Settings {
                plugins: foundation.config.plugins.clone(),
                ..foundation.config.workers.settings(folder)
            },
            limits: foundation.limits.clone(),
            shutdown: foundation.shutdown.clone(),
            tasks: foundation.tasks.clone(),
        })
    }

    pub(crate) fn open(ground: Ground) -> std::io::Result<Self> {
        let settings = Settings {
            confinement: ground.containment.confinement(),
            ..ground.engine
        };
        let engine = Arc::new(Process::open(settings)?);
        Ok(Self(Arc::new(Inner {
            store: ground.store,
            log: ground.log,
            live: ground.live,
            engine,
            containment: ground.containment,
            reach: ground.reach,
            registry: Registry::default(),
            ongoing: Ongoing::default(),
            caught_up: CancellationToken::new(),
            cancelled: Cancelled::default(),
            builds: Builds::new(ground.shutdown.clone(), ground.tasks.clone()),
            permits: Semaphore::new(DEPLOYS),
            wired: OnceLock::new(),
            limits: ground.limits,
            shutdown: ground.shutdown,
            tasks: ground.tasks,
        })))
    }

    /// Called once when everything is wired, before the first request is taken.
    pub(crate) async fn start(app: &App) {
        app.functions.wire(app.router.clone(), app.images.clone()).await;
    }

    /// Deploys what was deployed and goes on with what was unfinished, in the background.
    pub(crate) async fn wire(&self, router: Router, images: Images) {
        if self.0.wired.set(Wired { router, images }).is_err() {
            return;
        }
        if let Err(error) = self.recover().await {
            tracing::error!(%error, "functions cannot be read: none is deployed");
        }
    }

    /// Called once after the router has drained: ends every worker, within two seconds.
    pub(crate) async fn stop(&self) {
        self.0.engine.stop().await;
    }

    /// Delivers to the function that has this name when an event comes. `secrets` are the subscription's, beside
    /// the function's own.
    pub(crate) fn sink(&self, organization: &str, function: &str, secrets: Vec<String>) -> Arc<dyn Sink> {
        Arc::new(FunctionSink {
            functions: self.clone(),
            organization: organization.into(),
            function: function.into(),
            secrets,
        })
    }

    /// An observer that tells `next` everything, and keeps the runs that will be tried again up to date.
    pub(crate) fn watch(&self, next: Arc<dyn Observer>) -> Arc<dyn Observer> {
        Arc::new(RunWatch {
            functions: self.clone(),
            next,
        })
    }

    /// The engine, for those who ask which languages run here.
    pub(crate) fn engine(&self) -> Arc<dyn Faas> {
        self.0.engine.clone()
    }
}
