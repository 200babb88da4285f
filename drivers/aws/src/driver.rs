//! The loop: as many rounds at once as the queue has work for, and a wait when AWS does not answer.
//!
//! A round that found ten messages asks for one more beside it, one that found none for one alone. A round receives
//! only when it has nothing in hand, so a hub that is full or away stops the receiving by itself, and at most
//! [`MOST_ROUNDS`] times ten messages are held.

use dispatch_driver_sdk::{Context, Failure, Outage};
use tokio::task::JoinSet;

use crate::client::{AwsError, Clients};
use crate::config::{Config, Queue as Place, Wanted};
use crate::lane::{Broken, Lane};
use crate::queue::{MOST_MESSAGES, Queue};
use crate::rules;

const MOST_ROUNDS: usize = 8;

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
        context,
    };
    read(lane, outage).await
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

async fn read(lane: Lane, mut outage: Outage) -> Result<(), Failure> {
    let context = lane.context.clone();
    let mut rounds = JoinSet::new();
    let mut wanted = 1;
    loop {
        while rounds.len() < wanted {
            rounds.spawn(lane.clone().round());
        }
        let Some(ended) = rounds.join_next().await else {
            continue;
        };
        match ended.map_err(Failure::failed)? {
            Ok(count) => {
                outage.over(&context).await;
                wanted = match count {
                    0 => 1,
                    MOST_MESSAGES.. => (rounds.len() + 2).min(MOST_ROUNDS),
                    _ => wanted,
                };
            }
            Err(Broken::Aws(error)) => {
                wanted = 1;
                outage.wait(&error, None, &context).await?;
            }
            Err(Broken::Stopped(_)) => {
                finish(&mut rounds).await;
                return Err(Failure::Stopped);
            }
            Err(Broken::Hub(error)) => {
                context.stop.stop();
                finish(&mut rounds).await;
                return Err(error.into());
            }
        }
    }
}

/// The others give their messages back too.
async fn finish(rounds: &mut JoinSet<Result<usize, Broken>>) {
    while rounds.join_next().await.is_some() {}
}
