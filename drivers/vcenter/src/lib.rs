//! Turns vCenter's event history into events: every one, in order, with the same id however often it is read.
//!
//! The way of an event: the server's history is read page by page (`feed`), each entry becomes a CloudEvent
//! (`event`), the page goes to the hub together with the place it reaches (`cursor`), and only then is the next one
//! read. Whatever happens in between, the place in the hub is behind what the hub has, never before it. A
//! failure ends the session or not (`session`), and reading begins again a little earlier.
//!
//! The loop (connect, read, wait, begin again) is in `driver`. vSphere's words: a *collector* is a cursor on the
//! server, `createdTime` is the server's clock, a *reference* (moref) names an object.

mod address;
mod backoff;
mod casing;
mod client;
mod config;
mod content;
mod cursor;
mod data;
mod driver;
mod earlier;
mod event;
mod feed;
mod gap;
mod inventory;
mod naming;
mod outage;
mod overlooked;
mod pace;
mod parts;
mod past;
mod payload;
mod record;
mod schema;
mod selection;
mod session;
mod severity;
mod soap;
mod strand;
mod subject;
mod surroundings;
mod tags;
mod test;
mod tls;
mod xml;

use dispatch_driver_sdk::{About, Context, Failure};

use crate::client::Client;
use crate::config::Roots;
use crate::cursor::Stored;
use crate::driver::Driver;

pub use crate::config::{Config, Scheme, Written};
pub use crate::past::print_since;
pub use crate::payload::{payload_schema, payload_types};
pub use crate::test::{TestError, test};

/// How servers list this program.
const AGENT: &str = concat!("dispatch-driver-vcenter/", env!("CARGO_PKG_VERSION"));

/// What this driver is.
pub const ABOUT: About = About {
    name: "vcenter",
    summary: "Turns vCenter's event history into events.",
    keys: config::KEYS,
};

/// Runs until told to stop. Fails only when the settings are wrong or the hub denies the driver.
pub async fn run(written: Written, context: Context) -> Result<(), Failure> {
    let config = Config::try_from(written)?;
    if config.trust.roots == Roots::Anybody {
        tracing::warn!(
            "insecure: the server's certificate is NOT checked; anybody in between can read the password"
        );
    }
    for entry in config.selection.unknown() {
        tracing::warn!("types: {entry:?} is no class or type this driver knows; taken as an eventTypeId");
    }
    let mark = std::env::var("DISPATCH_DRIVER_ID").ok();
    let agent = agent(mark.as_deref());
    let client = Client::new(&config.address, &config.trust, &agent).map_err(Failure::settings)?;
    let checkpoint = context.hub.checkpoint(&context.stop).await?;
    let (cursor, set_aside) = match Stored::read(checkpoint.as_deref(), &config.address.source()) {
        Stored::None => (None, None),
        Stored::Cursor(cursor) => (Some(cursor), None),
        Stored::Unusable { problem, text } => {
            tracing::error!(
                "the checkpoint cannot be used and is set aside ({problem}): beginning as --start says"
            );
            (None, Some(text))
        }
    };
    // Without a mark the agent is any such driver's, and its sessions are not ours to end.
    let own = mark.map(|_| agent);
    Driver::new(config, client, own, cursor, set_aside, context)
        .run()
        .await
}

/// How the server lists our sessions: with the mark, those of exactly this driver.
fn agent(mark: Option<&str>) -> String {
    let is_sayable = |m: &&str| m.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    match mark.filter(is_sayable) {
        Some(mark) => format!("{AGENT} ({mark})"),
        None => AGENT.to_owned(),
    }
}
