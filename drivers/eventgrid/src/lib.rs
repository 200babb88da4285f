//! Turns what Azure Event Grid delivers into events: to a web hook (both handshakes, the Event Grid schema and CloudEvents
//! 1.0, one event or a batch), or pulled from a subscription of a namespace.
//!
//! Nothing is said to be taken before the hub has it on disk. The web hook never answers with what makes Event Grid
//! drop an event (`web_hook`); of a subscription an event is acknowledged after that, and its lock renewed until then
//! (`round`). What can be no event is kept in one that holds it (`event`), so it takes nothing else along.
//!
//! Who may send is in `guard`, Entra's tokens are in `token` and `keys`, `--test` is in `trial`. Read `delivery` for what
//! a request is.

mod config;
mod credential;
mod delivery;
mod event;
mod guard;
mod keys;
mod namespace;
mod pull;
mod round;
mod rs256;
mod token;
mod trial;
mod web;
mod web_hook;

use dispatch_driver_sdk::{About, Context, Failure};

pub use config::{Config, Plan};
pub use trial::test;

/// What this driver is.
pub const ABOUT: About = About {
    name: "eventgrid",
    summary: "Turns what Azure Event Grid delivers into events.",
    keys: config::KEYS,
};

/// The driver: serves its web hook, pulls from its subscription, or both.
pub async fn drive(config: Config, context: Context) -> Result<(), Failure> {
    let plan = Plan::try_from(config)?;
    let source = plan.source;
    let door = plan
        .guard
        .map(|guard| web_hook::serve(guard, source.clone(), &context));
    let pull = plan
        .pull
        .map(|pull| pull::run(pull, source.clone(), context.clone()));
    match (door, pull) {
        (Some(door), None) => door.await,
        (None, Some(pull)) => pull.await,
        (Some(door), Some(pull)) => {
            // A door that cannot be opened ends the other too.
            let door = async {
                let listened = door.await;
                context.stop.stop();
                listened
            };
            let (listened, pulled) = tokio::join!(door, pull);
            listened.and(pulled)
        }
        // The settings are checked: there is something to do.
        (None, None) => Ok(()),
    }
}
