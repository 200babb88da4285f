//! The running hub: REST, doors, functions, driver supervision and the wiring of all rooms.
//!
//! [`run`] is the whole life of a server process: check the configuration, open store and journal, bind,
//! recover, serve, drain. [`start`](start::start) is the same without signals, for tests. Read `hub.rs` first
//! (what every part can reach), then `start.rs` (in which order it comes to life and stops again).

mod backup;
mod bodies;
mod config;
mod descriptors;
mod door;
mod drivers;
mod event01;
mod front;
mod functions;
mod gateway;
mod hub;
mod images;
mod logs;
mod metrics;
mod notify;
mod places;
mod probes;
mod project;
mod quickstart;
mod quotas;
mod redrive;
mod reload;
mod replay;
mod rest;
mod serve;
mod shutdown;
mod socket;
mod stage;
mod start;
mod stream;
mod subscriptions;
mod watch;

pub use backup::{BackupError, Manifest, backup, restore};
pub use config::{
    ConfigError, FunctionSettings, Limits, Most, OrganizationName, Overrides, Quota, Quotas, Retention,
    RunRetention, SandboxMode, SecretKey, ServerConfig, Settings, WorkerLimits, Workers, parse_network,
    parse_public_url,
};
pub use dispatch_journal::Copied;
pub use logs::{LogFormat, log_to_stderr};
pub use rest::openapi;
pub use shutdown::{Exit, run};
pub use socket::{Inherited, inherited_listeners};
pub use start::{Server, StartError, start};
