//! What every driver executable needs: configuration, emit with back-pressure, checkpoint, health, shutdown.
//!
//! A driver is a program that the hub starts (or that runs alone against a remote hub). It gets `--key=value`
//! for each setting, one environment variable per key of its secrets, `K_SINK` (the URL to post CloudEvents
//! to) and `DISPATCH_TOKEN`. With this crate a driver is one call:
//!
//! ```no_run
//! use dispatch_driver_sdk::{About, Context, Failure, Key, run};
//!
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields, rename_all = "kebab-case")]
//! struct Config { host: String, password: dispatch_driver_sdk::SecretString }
//!
//! const ABOUT: About = About {
//!     name: "example",
//!     summary: "Turns what happens on a host into events.",
//!     keys: &[Key::plain("host", "the host"), Key::secret("password", "its password")],
//! };
//!
//! fn main() -> std::process::ExitCode {
//!     run(&ABOUT, async |config: Config, context: Context| {
//!         let Context { hub, stop } = context;
//!         let mut checkpoint = hub.checkpoint(&stop).await?;
//!         while !stop.is_stopped() {
//!             let events = Vec::new(); // read from config.host behind `checkpoint`, turn into events
//!             checkpoint = Some("how far this batch goes".into());
//!             hub.emit(events, checkpoint.clone(), &stop).await?;
//!         }
//!         Ok::<(), Failure>(())
//!     })
//! }
//! ```
//!
//! The invariant: events are progress only after the hub said so, and the checkpoint is stored with them or
//! not at all. What a driver prints on stdout means nothing; stderr is its log. Read [`Hub`] next, and
//! [`Door`] for a driver to which others send.

mod answer;
mod attempt;
mod batch;
mod causes;
mod door;
mod emitted;
mod hub;
mod outage;
mod outgoing;
mod overrides;
mod parse;
mod rounds;
mod run;
mod settings;
mod stop;
mod trial;

pub use causes::{chain, with_causes};
pub use dispatch_contract::{ExposeSecret, SecretString};
pub use door::{Acceptor, Arrival, Door, LATER, Limits, NotAccepted, Reply, Unread, later, reply};
pub use hub::{CheckpointError, EmitError, Emitted, Health, Hub, HubError, Refusal};
pub use outage::Outage;
pub use outgoing::{BodyError, body, outgoing};
pub use rounds::{Broken, Rounds};
pub use run::{About, Context, Failure, run};
pub use settings::{Key, SettingError, Settings, settings};
pub use stop::{Stop, Stopped};
pub use trial::{public_url, run_or_test};
