//! Pull delivery: as many rounds at once as the subscription has work for, and a wait when it does not answer.
//!
//! A round that found all it can carry asks for one more beside it, one that found none for one alone. A round receives
//! only when it has nothing in hand, so a hub that is full or away stops the receiving by itself, and at most
//! [`MOST_ROUNDS`] times [`MOST_EVENTS`] events are held.

use dispatch_driver_sdk::{Context, Failure, Outage};
use tokio::task::JoinSet;

use crate::config::Pull;
use crate::namespace::MOST_EVENTS;
use crate::round::{Broken, Lane};

const MOST_ROUNDS: usize = 4;

/// Pulls until told to stop.
pub(crate) async fn run(pull: Pull, source: Option<String>, context: Context) -> Result<(), Failure> {
    let lane = Lane {
        from: pull.from,
        lock: pull.lock,
        source,
        context: context.clone(),
    };
    let mut outage = Outage::of("the namespace");
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
                    MOST_EVENTS.. => (rounds.len() + 2).min(MOST_ROUNDS),
                    _ => wanted,
                };
            }
            Err(Broken::Web(error)) => {
                wanted = 1;
                let after = error.after();
                outage.wait(&Broken::Web(error), after, &context).await?;
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

/// The others give back what they hold too.
async fn finish(rounds: &mut JoinSet<Result<usize, Broken>>) {
    while rounds.join_next().await.is_some() {}
}
