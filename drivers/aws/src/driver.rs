//! Opens or makes the queue, waiting while AWS does not answer, then reads it in rounds.

use dispatch_driver_sdk::{Context, Failure, Outage, Rounds};

use crate::client::{AwsError, Clients};
use crate::config::{Config, Queue as Place, Wanted};
use crate::lane::Lane;
use crate::queue::{MOST_MESSAGES, Queue};
use crate::rules;

const ROUNDS: Rounds = Rounds {
    most: 8,
    full: MOST_MESSAGES,
};

/// Opens or makes the queue, then reads it until told to stop.
pub(crate) async fn run(
    config: &Config,
    place: &Place,
    clients: Clients,
    context: Context,
) -> Result<(), Failure> {
    let mut outage = Outage::of("AWS");
    let queue = loop {
        match context.stop.unless(open(config, place, &clients)).await? {
            Ok(queue) => break queue,
            Err(error) => outage.wait(&error, None, &context).await?,
        }
    };
    outage.over(&context).await;
    let lane = Lane {
        origin: config.origin(queue.arn()),
        queue,
        context: context.clone(),
    };
    let read = ROUNDS.run(|| lane.clone().round(), outage, &context).await;
    read.map(|never| match never {})
}

async fn open(config: &Config, place: &Place, clients: &Clients) -> Result<Queue, AwsError> {
    match place {
        Place::Given(url) => Queue::open(clients.sqs.clone(), url.clone(), config.visibility).await,
        Place::Made(wanted) => rules::make(clients, &own(wanted), config.visibility).await,
    }
}

/// The queue of this driver and no other: a second one with the same settings would take its messages.
fn own(wanted: &Wanted) -> Wanted {
    let mut own = wanted.clone();
    if let Ok(id) = std::env::var("DISPATCH_DRIVER_ID") {
        let id = id.chars().filter(char::is_ascii_alphanumeric).take(8);
        own.name = format!("{}-{}", wanted.name, id.collect::<String>());
    }
    own
}
