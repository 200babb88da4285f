//! What an operator can say about a hub: a YAML file, then flags and `DISPATCH_SERVER_*` over it.
//!
//! The keys of the file are the names of the flags. Everything has a default; nothing here touches the disk
//! or the network but reading the file. [`Settings`] is what was said, so that it can be read again while the
//! hub runs; [`ServerConfig`] is what it came to; `change.rs` says what of it can change without a restart.

mod change;
mod containment;
mod limits;
mod live;
mod quotas;
mod secret_key;
mod settings;
mod values;
mod workers;

use std::path::PathBuf;
use std::time::Duration;

use dispatch_store::KeySource;
use serde::{Deserialize, Serialize};

pub(crate) use change::Change;
pub use containment::{FunctionSettings, SandboxMode, WorkerLimits};
pub use limits::Limits;
pub(crate) use live::LiveLimits;
pub use quotas::{Most, OrganizationName, Quota, Quotas};
pub use secret_key::SecretKey;
pub use settings::{ConfigError, Overrides, Settings};
use values::{directives, duration, public_url, seconds};
pub use values::{parse_network, parse_public_url};
pub use workers::Workers;

/// A hub's configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct ServerConfig {
    /// Folder of journal, store, images and functions.
    pub data: PathBuf,
    /// Address to listen on.
    pub host: String,
    /// Port of the API; 0 takes a free one.
    pub port: u16,
    /// Port of the gateway: APIs, and drivers that listen under `/driver/<org>/<name>`; 0 takes a free one.
    pub gateway_port: u16,
    /// Port of the gateway for TLS; 0 takes a free one. Unless said 8443, or a free one where that is taken.
    pub gateway_tls_port: Option<u16>,
    /// The gateway's certificate with those above it, as PEM; made by the hub itself unless given.
    pub gateway_tls_cert: Option<PathBuf>,
    /// Its key, as PEM.
    pub gateway_tls_key: Option<PathBuf>,
    /// Folder of further certificates and their keys, for the hosts they name.
    pub gateway_tls_folder: Option<PathBuf>,
    /// Where others reach the gateway, such as `https://hub.example.org`; else it is made of host and port.
    #[serde(deserialize_with = "public_url")]
    pub gateway_url: Option<String>,
    /// Listen on an address that others can reach although nobody has to say who they are.
    pub insecure_no_auth: bool,
    /// Folder of driver executables that do not lie beside the hub's own.
    pub plugins: Option<PathBuf>,
    /// File of the key that secrets are encrypted with; `secret.key` in the data folder unless given.
    pub secret_key_file: Option<PathBuf>,
    /// That key itself, from the environment only.
    #[serde(skip)]
    pub secret_key: Option<SecretKey>,
    /// Chain the journal: every group carries the hash of the one before.
    pub journal_chain: bool,
    /// Seed a first example, and print every run.
    pub quickstart: bool,
    /// What the log tells, as in `dispatch_router=debug,info`. `DISPATCH_LOG` wins over it.
    #[serde(deserialize_with = "directives")]
    pub log: Option<String>,
    /// What the journal keeps.
    pub retention: Retention,
    /// Bounds.
    pub limits: Limits,
    /// What organizations may take of it.
    pub quotas: Quotas,
    /// Processes that run functions.
    pub workers: Workers,
    /// Whether functions are contained.
    pub sandbox: SandboxMode,
    /// What functions may use.
    pub functions: FunctionSettings,
}

/// What the journal keeps; whichever comes first ends it. An event that is still owed is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Retention {
    /// How long.
    #[serde(deserialize_with = "duration", serialize_with = "seconds")]
    pub max_age: Duration,
    /// How many bytes.
    pub max_bytes: u64,
    /// Of the runs that people list.
    pub runs: RunRetention,
}

/// How long runs are listed; whichever comes first ends it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct RunRetention {
    /// How long after they were taken.
    #[serde(deserialize_with = "duration", serialize_with = "seconds")]
    pub max_age: Duration,
    /// How many of an organization.
    pub max_count: u32,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            data: PathBuf::from(".dispatch"),
            host: "127.0.0.1".to_owned(),
            port: 8080,
            gateway_port: 8081,
            gateway_tls_port: None,
            gateway_tls_cert: None,
            gateway_tls_key: None,
            gateway_tls_folder: None,
            gateway_url: None,
            insecure_no_auth: false,
            plugins: None,
            secret_key_file: None,
            secret_key: None,
            journal_chain: false,
            quickstart: false,
            log: None,
            retention: Retention::default(),
            limits: Limits::default(),
            quotas: Quotas::default(),
            workers: Workers::default(),
            sandbox: SandboxMode::default(),
            functions: FunctionSettings::default(),
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(7 * 24 * 3600),
            max_bytes: 8 << 30,
            runs: RunRetention::default(),
        }
    }
}

impl Default for RunRetention {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(30 * 24 * 3600),
            max_count: 10_000,
        }
    }
}

impl ServerConfig {
    /// Folder of the journal.
    pub fn journal_dir(&self) -> PathBuf {
        self.data.join("journal")
    }

    /// Where the key of the secrets comes from, unless it is where it always is.
    pub(crate) fn key_source(&self) -> Option<KeySource> {
        match (&self.secret_key, &self.secret_key_file) {
            (Some(key), _) => Some(KeySource::Given(key.0.clone())),
            (None, Some(file)) => Some(KeySource::File(file.clone())),
            (None, None) => None,
        }
    }
}
