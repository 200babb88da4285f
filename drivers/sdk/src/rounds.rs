//! Reading from upstream in rounds: receive some, hand them to the hub, acknowledge them. As many rounds at once as
//! there is work for, and a wait when upstream does not answer.
//!
//! A round that found all it can carry asks for one more beside it, one that found none for one alone. A round receives
//! only when it has nothing in hand, so a hub that is full or away stops the receiving by itself, and what is held is
//! bounded by the most rounds times the most of one. At an end every round is waited for: each gives back what it holds.

use std::convert::Infallible;
use std::fmt::Display;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::hub::EmitError;
use crate::outage::Outage;
use crate::run::{Context, Failure};
use crate::stop::Stopped;

/// Why a round was not finished.
#[derive(Debug)]
pub enum Broken<E> {
    /// It is time to stop.
    Stopped,
    /// Upstream does not answer; what was received, if anything, comes again.
    Upstream {
        /// Why, for people.
        error: E,
        /// How long it asked to be left alone.
        after: Option<Duration>,
    },
    /// The hub takes nothing from this driver.
    Hub(EmitError),
}

impl<E> From<Stopped> for Broken<E> {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}
impl<E> From<EmitError> for Broken<E> {
    fn from(error: EmitError) -> Self {
        match error {
            EmitError::Stopped => Self::Stopped,
            other => Self::Hub(other),
        }
    }
}

/// How many rounds there may be, and how much each carries.
#[derive(Debug, Clone, Copy)]
pub struct Rounds {
    /// At most so many at once.
    pub most: usize,
    /// A round that received so many may have left some.
    pub full: usize,
}

impl Rounds {
    /// Makes rounds until told to stop, or until the hub takes nothing. A round says how many it received; none only
    /// after a while of waiting for some.
    pub async fn run<F, E>(
        self,
        round: impl Fn() -> F,
        mut outage: Outage,
        context: &Context,
    ) -> Result<Infallible, Failure>
    where
        F: Future<Output = Result<usize, Broken<E>>> + Send + 'static,
        E: Display + Send + 'static,
    {
        let mut rounds = JoinSet::new();
        let mut wanted = 1;
        loop {
            while rounds.len() < wanted {
                rounds.spawn(round());
            }
            let Some(ended) = rounds.join_next().await else {
                continue;
            };
            let ended = match ended {
                Ok(ended) => ended,
                Err(panicked) => {
                    context.stop.stop();
                    finish(&mut rounds).await;
                    return Err(Failure::failed(panicked));
                }
            };
            match ended {
                Ok(count) => {
                    outage.over(context).await;
                    wanted = self.wanted(wanted, count, rounds.len());
                }
                Err(Broken::Upstream { error, after }) => {
                    wanted = 1;
                    if let Err(Stopped) = outage.wait(&error, after, context).await {
                        finish(&mut rounds).await;
                        return Err(Failure::Stopped);
                    }
                }
                Err(Broken::Stopped) => {
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

    /// How many there are to be after one that received `count` ended beside `others`.
    fn wanted(self, before: usize, count: usize, others: usize) -> usize {
        match count {
            0 => 1,
            _ if count >= self.full => (others + 2).min(self.most),
            _ => before,
        }
    }
}

/// The others give back what they hold too.
async fn finish<T: 'static>(rounds: &mut JoinSet<T>) {
    while rounds.join_next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_become_more_while_there_is_work_and_one_when_there_is_none() {
        let rounds = Rounds { most: 4, full: 10 };
        let mut wanted = 1;
        for (count, others, expected) in [
            (10, 0, 2),
            (10, 1, 3),
            (9, 2, 3),
            (10, 2, 4),
            (10, 3, 4),
            (0, 3, 1),
            (3, 0, 1),
        ] {
            wanted = rounds.wanted(wanted, count, others);
            assert_eq!(wanted, expected, "{count} received, {others} beside it");
        }
    }
}
