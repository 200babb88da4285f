//! Pull delivery, in rounds.

use dispatch_driver_sdk::{Context, Failure, Outage, Rounds};

use crate::config::Pull;
use crate::namespace::MOST_EVENTS;
use crate::round::Lane;

const ROUNDS: Rounds = Rounds {
    most: 4,
    full: MOST_EVENTS,
};

/// Pulls until told to stop.
pub(crate) async fn run(pull: Pull, source: Option<String>, context: Context) -> Result<(), Failure> {
    let lane = Lane {
        from: pull.from,
        lock: pull.lock,
        source,
        context: context.clone(),
    };
    let outage = Outage::of("the namespace");
    let pulled = ROUNDS.run(|| lane.clone().round(), outage, &context).await;
    pulled.map(|never| match never {})
}
