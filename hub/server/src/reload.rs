//! Reading the configuration again while the hub runs, for SIGHUP and `POST /v1/reload`.
//!
//! What can change changes at once; what cannot is named and stays as it was. A file that cannot be read, or
//! says something wrong, changes nothing.

use std::sync::Arc;

use dispatch_router::Router;
use serde::Serialize;
use tokio::sync::Mutex;
use utoipa::ToSchema;

use crate::config::{Change, ConfigError, Limits, LiveLimits, ServerConfig, Settings};
use crate::descriptors::Share;
use crate::gateway::tls::{CertificateError, Certificates};
use crate::quotas::Quotas;
use crate::{logs, notify};

/// What reading the configuration again came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reloaded {
    /// Settings that have changed.
    pub(crate) changed: Vec<String>,
    /// Settings that were changed in the file but wait for a restart.
    pub(crate) needs_restart: Vec<String>,
}

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReloadError {
    /// The hub was started without a file.
    #[error("there is no file to read again: the hub was started without --config")]
    NoFile,
    /// The file cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A certificate of the gateway cannot be used; those before stay.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// Where the configuration came from, and what it is now.
pub(crate) struct Reload {
    settings: Option<Settings>,
    current: Mutex<ServerConfig>,
    told: Told,
    most: Share,
}

/// Whom a change concerns.
pub(crate) struct Told {
    /// The bounds as everybody reads them.
    pub(crate) limits: LiveLimits,
    /// The doors' part of the quotas.
    pub(crate) quotas: Arc<Quotas>,
    /// The deliveries' part of them.
    pub(crate) router: Router,
    /// The gateway's certificates.
    pub(crate) certificates: Arc<Certificates>,
}

impl Reload {
    /// For a hub that runs with `current`; without settings there is nothing to read again.
    pub(crate) fn new(settings: Option<Settings>, current: ServerConfig, told: Told, most: Share) -> Self {
        told.limits.store(bounded(&current.limits, most));
        Self {
            settings,
            current: Mutex::new(current),
            told,
            most,
        }
    }

    /// Reads the file again and changes what can change.
    pub(crate) async fn run(&self) -> Result<Reloaded, ReloadError> {
        let mut current = self.current.lock().await;
        let renewed = self.told.certificates.reread().await?;
        let renewed = renewed.into_iter().map(str::to_owned);
        let settings = self.settings.clone().filter(|settings| settings.file.is_some());
        let Some(settings) = settings else {
            let changed: Vec<String> = renewed.collect();
            return match changed.is_empty() {
                true => Err(ReloadError::NoFile),
                false => Ok(Reloaded {
                    changed,
                    needs_restart: Vec::new(),
                }),
            };
        };
        let new = settings.read()?;
        notify::reloading();
        let mut change = Change::between(&current, &new);
        change.live.extend(renewed);
        logs::filter(new.log.as_deref());
        // Settings that need a restart stay as they are in `current`, to be named again the next time.
        current.log = new.log;
        current.limits = Limits {
            lane_events: current.limits.lane_events,
            driver_memory: current.limits.driver_memory,
            driver_files: current.limits.driver_files,
            gateway_body_bytes: current.limits.gateway_body_bytes,
            api_calls: current.limits.api_calls,
            ..new.limits
        };
        self.told.limits.store(bounded(&current.limits, self.most));
        self.told.quotas.set(&new.quotas);
        self.told.router.set_quotas(new.quotas.in_flight()).await;
        current.quotas = new.quotas;
        notify::ready();
        Ok(Reloaded {
            changed: change.live,
            needs_restart: change.restart,
        })
    }

    /// The same, for a signal: says in the log what came of it.
    pub(crate) async fn run_and_tell(&self) {
        match self.run().await {
            Ok(Reloaded {
                changed,
                needs_restart,
            }) => {
                let (changed, needs_restart) = (changed.join(", "), needs_restart.join(", "));
                tracing::info!(changed, needs_restart, "read the configuration again");
            }
            Err(error) => {
                let error = describe(&error);
                tracing::error!(error, "the configuration stays as it was");
            }
        }
    }
}

/// No more connections than the process' file descriptors allow.
fn bounded(limits: &Limits, most: Share) -> Limits {
    Limits {
        connections: limits.connections.min(most.connections),
        ..limits.clone()
    }
}

/// The error with what caused it.
pub(crate) fn describe(error: &ReloadError) -> String {
    use std::error::Error as _;
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
