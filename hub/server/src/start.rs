//! In which order a hub comes to life, and how it stops again.
//!
//! Check the configuration, lock and open journal and store, bind, recover the subscriptions, start the
//! router, wire the parts, serve, start the drivers. Nothing is served before everything is wired, and a hub
//! that cannot start says in one line which setting to change.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dispatch_contract::Log;
use dispatch_journal::{Journal, Recovered};
use dispatch_store::{Store, StoreError};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bodies::Bodies;
use crate::config::{ConfigError, LiveLimits, ServerConfig, Settings};
use crate::descriptors::{self, Share};
use crate::drivers::Drivers;
use crate::front::Front;
use crate::functions::Functions;
use crate::gateway::api::Apis;
use crate::gateway::tls::Certificates;
use crate::hub::{App, Foundation, Hub};
use crate::images::Images;
use crate::quotas::Quotas;
use crate::reload::{Reload, Told};
use crate::serve::{Doors, Serving};
use crate::socket::{Door, Inherited};
use crate::stage::{Life, Stage};
use crate::stream::Live;
use crate::subscriptions::Subscriptions;
use crate::watch::Watch;
use crate::{gateway, logs, metrics, notify, project, quickstart, rest, socket};

/// How often the metrics' buffers are emptied and idle connections closed.
const UPKEEP: Duration = Duration::from_secs(5);

/// A hub that serves. Dropping it leaves its tasks running: call [`Server::stop`].
pub struct Server {
    pub(crate) app: App,
    pub(crate) serving: Serving,
    pub(crate) router: JoinHandle<()>,
    pub(crate) projection: JoinHandle<()>,
}

/// Why a hub does not start. One line each; it names the setting to change.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The socket that was handed over is of no use.
    #[error("the socket that was handed over (LISTEN_FDS) cannot be listened on: {reason}")]
    Inherited {
        /// What the system said.
        reason: String,
    },
    /// Others could reach the hub and do as they like.
    #[error(
        "--host {host} can be reached by others, and authentication is off: listen on 127.0.0.1, or say --insecure-no-auth"
    )]
    Exposed {
        /// What was asked for.
        host: String,
    },
    /// The gateway has no certificate.
    #[error("the gateway cannot speak TLS: {reason}")]
    Certificate {
        /// What is wrong with which setting.
        reason: String,
    },
    /// The address means nothing on this machine.
    #[error("--host {host} is no address to listen on: {reason}")]
    Host {
        /// What was asked for.
        host: String,
        /// What the system said.
        reason: String,
    },
    /// Somebody else listens there.
    #[error("port {port} of {host} is in use: choose another with {flag}")]
    PortInUse {
        /// `--port` or `--gateway-port`.
        flag: &'static str,
        /// The address.
        host: String,
        /// The port.
        port: u16,
    },
    /// The port is not for everybody.
    #[error("port {port} of {host} cannot be listened on ({reason}): choose another with {flag}")]
    Port {
        /// `--port` or `--gateway-port`.
        flag: &'static str,
        /// The address.
        host: String,
        /// The port.
        port: u16,
        /// What the system said.
        reason: String,
    },
    /// Another hub works there.
    #[error("the data folder {} is in use by another hub: stop that one, or choose another with --data", data.display())]
    DataInUse {
        /// The folder.
        data: PathBuf,
    },
    /// The folder cannot be made or written, or what is in it cannot be read.
    #[error("the data folder {} cannot be used (--data): {reason}", data.display())]
    Data {
        /// The folder.
        data: PathBuf,
        /// What is wrong, and what can be done.
        reason: String,
    },
    /// What the parts need from the store cannot be read.
    #[error("the data folder {} cannot be read (--data)", data.display())]
    Recover {
        /// The folder.
        data: PathBuf,
        /// Why.
        #[source]
        source: StoreError,
    },
}

/// Starts a hub. It serves when this returns.
pub async fn start(config: ServerConfig) -> Result<Server, StartError> {
    begin(config, None, Inherited::default()).await
}

/// The same with what the configuration was made of, so that it can be read again, and on sockets that were
/// handed over.
pub(crate) async fn begin(
    config: ServerConfig,
    settings: Option<Settings>,
    inherited: Inherited,
) -> Result<Server, StartError> {
    logs::filter(config.log.as_deref());
    metrics::install();
    let config = Arc::new(config);
    if inherited.api.is_none() {
        socket::address(&config, Door::Api).await?;
    }
    let (journal, recovered, store) = open(config.clone()).await?;
    let listener = socket::listen(&config, Door::Api, inherited.api).await?;
    let gateway = socket::listen(&config, Door::Gateway, inherited.gateway).await?;
    let gateway_tls = socket::listen(&config, Door::GatewayTls, inherited.gateway_tls).await?;
    let certificates = certificates(config.clone()).await?;
    let acceptor = certificates.acceptor().map_err(|error| StartError::Certificate {
        reason: error.to_string(),
    })?;
    let router_limits = dispatch_router::Limits::default();
    let share = descriptors::share(Share {
        connections: config.limits.connections,
        deliveries: router_limits.in_flight,
    });
    let limits = LiveLimits::new(config.limits.clone());
    let quotas = Arc::new(Quotas::new(&config.quotas));
    let local = |listener: &TcpListener| {
        listener.local_addr().map_err(|error| StartError::Host {
            host: config.host.clone(),
            reason: error.to_string(),
        })
    };
    let foundation = Foundation {
        address: local(&listener)?,
        gateway: local(&gateway)?,
        gateway_tls: local(&gateway_tls)?,
        config: config.clone(),
        limits: limits.clone(),
        quotas: quotas.clone(),
        life: Arc::new(Life::default()),
        store,
        log: Arc::new(journal.clone()) as Arc<dyn Log>,
        journal,
        progress: Arc::new(recovered.progress),
        live: Live::new(),
        shutdown: CancellationToken::new(),
        tasks: TaskTracker::new(),
    };
    let in_data = |source| StartError::Recover {
        data: config.data.clone(),
        source,
    };
    let unusable = |error: std::io::Error| StartError::Data {
        data: config.data.clone(),
        reason: error.to_string(),
    };
    let functions = Functions::new(&foundation).map_err(unusable)?;
    let images = Images::new(&foundation).map_err(unusable)?;
    let drivers = Drivers::new(&foundation);
    let apis = Apis::open(&foundation).await.map_err(in_data)?;
    let subscriptions = Subscriptions::new(&functions);
    let lanes = lanes(&foundation, &functions, &subscriptions)
        .await
        .map_err(in_data)?;
    let cursor = project::cursor(&foundation.store, recovered.head)
        .await
        .map_err(in_data)?;
    let lane_limits = dispatch_router::Limits {
        queue_events: config.limits.lane_events,
        in_flight: share.deliveries,
        quotas: config.quotas.in_flight(),
        ..router_limits
    };
    let watch = functions.watch(Arc::new(Watch::default()));
    let log = foundation.log.clone();
    let (router, router_task) = dispatch_router::start(log, recovered.head, lanes, lane_limits, watch);
    let told = Told {
        limits: limits.clone(),
        quotas,
        router: router.clone(),
        certificates: certificates.clone(),
    };
    let reload = Reload::new(settings, (*config).clone(), told, share);
    let app: App = Arc::new(Hub {
        foundation,
        router,
        functions,
        images,
        drivers,
        apis,
        subscriptions,
        bodies: Arc::new(Bodies::new(limits.clone())),
        reload,
        redrive: tokio::sync::Mutex::default(),
    });
    Functions::start(&app).await;
    Images::start(&app).await;
    let projection = tokio::spawn(project::run(app.clone(), cursor, recovered.head));
    app.tasks.spawn(upkeep(app.clone()));
    let serving = Serving::default();
    serving.listen(
        listener,
        Doors {
            front: Front::api(app.clone(), rest::router(app.clone())),
            limits: limits.clone(),
            bodies: app.bodies.clone(),
            tls: None,
            stop: app.shutdown.clone(),
        },
    );
    app.tasks.spawn(certificates.watch(app.shutdown.clone()));
    // What is sent there does not count against what is sent to the API.
    let bodies = Arc::new(Bodies::new(limits.clone()));
    for (listener, scheme, tls) in [
        (gateway, app.gateway_scheme(), None),
        (gateway_tls, "https", Some(acceptor)),
    ] {
        serving.listen(
            listener,
            Doors {
                front: Front::gateway(gateway::router(app.clone()), scheme),
                bodies: bodies.clone(),
                limits: limits.clone(),
                tls,
                stop: app.shutdown.clone(),
            },
        );
    }
    Drivers::start(&app).await;
    if config.quickstart {
        app.tasks.spawn(quickstart::run(app.clone()));
    }
    app.tasks.spawn(notify::watchdog(app.clone()));
    app.life.enter(Stage::Serving);
    notify::ready();
    let url = app.url();
    let gateway = app.gateway.to_string();
    let gateway_tls = app.gateway_tls.to_string();
    tracing::info!(url, gateway, gateway_tls, data = %config.data.display(), head = recovered.head, "events are taken");
    Ok(Server {
        app,
        serving,
        router: router_task,
        projection,
    })
}

impl Server {
    /// Where the API listens.
    pub fn address(&self) -> SocketAddr {
        self.app.address
    }

    /// Where the gateway listens.
    pub fn gateway(&self) -> SocketAddr {
        self.app.gateway
    }

    /// Where the gateway speaks TLS.
    pub fn gateway_tls(&self) -> SocketAddr {
        self.app.gateway_tls
    }
}

/// The gateway's certificates, read or made.
async fn certificates(config: Arc<ServerConfig>) -> Result<Arc<Certificates>, StartError> {
    let unusable = |reason: String| StartError::Certificate { reason };
    spawn_blocking(move || Certificates::open(&config))
        .await
        .map_err(|error| unusable(error.to_string()))?
        .map_err(|error| unusable(error.to_string()))
}

/// What the router starts with: a lane for each subscription, and for each function the one `exec` uses.
///
/// A lane the journal knows nothing of was made just before a crash: it looks at the whole log again.
async fn lanes(
    foundation: &Foundation,
    functions: &Functions,
    subscriptions: &Subscriptions,
) -> Result<Vec<dispatch_router::Subscription>, StoreError> {
    let known = |id| foundation.progress.get(&id).cloned().unwrap_or_default();
    let mut lanes = subscriptions.recover(foundation).await?;
    lanes.extend(functions.lanes(known).await?);
    Ok(lanes)
}

/// Locks and opens journal and store.
async fn open(config: Arc<ServerConfig>) -> Result<(Journal, Recovered, Store), StartError> {
    let data = config.data.clone();
    let opened = spawn_blocking(move || {
        make_folder(&config.data)?;
        let options = dispatch_journal::Options {
            chain: config.journal_chain,
            retain_age: Some(config.retention.max_age),
            retain_bytes: Some(config.retention.max_bytes),
            ..dispatch_journal::Options::default()
        };
        let (journal, recovered) = Journal::open(&config.journal_dir(), options)
            .map_err(|error| journal_error(&config.data, &error))?;
        let limits = dispatch_store::Limits {
            runs: config.retention.runs.max_count,
            ..dispatch_store::Limits::default()
        };
        let options = dispatch_store::Options {
            limits,
            key: config.key_source(),
        };
        let store = Store::open_with(&config.data, options).map_err(|error| StartError::Data {
            data: config.data.clone(),
            reason: error.to_string(),
        })?;
        Ok((journal, recovered, store))
    });
    let (journal, recovered, store) = opened.await.unwrap_or_else(|error| {
        Err(StartError::Data {
            data,
            reason: error.to_string(),
        })
    })?;
    for damage in &recovered.damage {
        tracing::error!(%damage, "the journal is damaged; what can be read is used");
    }
    if let Some(torn) = &recovered.torn {
        let bytes = recovered.truncated_bytes;
        tracing::info!(%torn, bytes, "the journal's unfinished end was cut: nothing in it was acknowledged");
    }
    Ok((journal, recovered, store))
}

fn make_folder(data: &Path) -> Result<(), StartError> {
    std::fs::create_dir_all(data).map_err(|error| StartError::Data {
        data: data.to_owned(),
        reason: error.to_string(),
    })
}

fn journal_error(data: &Path, error: &dispatch_journal::OpenError) -> StartError {
    use std::error::Error as _;
    let data = data.to_owned();
    if let dispatch_journal::OpenError::InUse { .. } = error {
        return StartError::DataInUse { data };
    }
    let reason = match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    StartError::Data { data, reason }
}

async fn upkeep(app: App) {
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            () = tokio::time::sleep(UPKEEP) => {
                metrics::upkeep();
                app.subscriptions.tidy();
                project::forget_old_runs(&app).await;
            }
        }
    }
}
