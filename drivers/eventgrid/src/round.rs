//! One round: receive events, hand them to the hub, acknowledge them. Nothing else acknowledges an event.

use std::time::Duration;

use dispatch_contract::Event;
use dispatch_driver_sdk::{Broken, Context};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::event;
use crate::namespace::{Namespace, Received, Settle};
use crate::web::WebError;

/// How often events are tried to be acknowledged before they are left to come again.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(200);
/// When events that the hub refuses come again, in seconds: its limit may have been raised by then. After as many
/// deliveries as the subscription allows they are among its dead letters.
const REFUSED_AGAIN: u32 = 600;
/// How long giving back may take: the process is about to be ended.
const GIVE_BACK: Duration = Duration::from_secs(2);

/// The namespace does not answer.
#[derive(Debug, thiserror::Error)]
#[error("cannot receive events: {0}")]
pub(crate) struct NotReceived(WebError);

/// Where a round reads and where it writes.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    pub(crate) from: Namespace,
    pub(crate) lock: Duration,
    pub(crate) source: Option<String>,
    pub(crate) context: Context,
}

impl Lane {
    /// Says how many events there were; none is nothing within 20 seconds.
    pub(crate) async fn round(self) -> Result<usize, Broken<NotReceived>> {
        let Context { hub, stop } = &self.context;
        let received = stop.unless(self.from.receive()).await?;
        let received = received.map_err(|error| Broken::Upstream {
            after: error.after(),
            error: NotReceived(error),
        })?;
        let (events, tokens) = self.made(&received);
        if events.is_empty() {
            return Ok(0);
        }
        let emit = hub.emit_or_skip(events, None, stop);
        let emitted = match self.holding(&tokens, emit).await {
            Ok(emitted) => emitted,
            Err(error) => {
                self.give_back(&tokens).await;
                return Err(error.into());
            }
        };
        let refused: Vec<usize> = emitted.refused.iter().map(|refusal| refusal.position).collect();
        let split = |wanted: bool| -> Vec<&str> {
            let of = tokens.iter().enumerate();
            of.filter(|(position, _)| refused.contains(position) == wanted)
                .map(|(_, token)| *token)
                .collect()
        };
        self.settle(Settle::Acknowledge, split(false)).await;
        self.settle(Settle::Release(REFUSED_AGAIN), split(true)).await;
        Ok(received.len())
    }

    /// Events with the tokens they came with, in order.
    fn made<'a>(&self, received: &'a [Received]) -> (Vec<Event>, Vec<&'a str>) {
        let made = received
            .iter()
            .filter_map(|one| match event::event(self.source.as_deref(), &one.event) {
                Ok(event) => Some((event, one.token.as_str())),
                Err(error) => {
                    tracing::error!("left to the namespace's dead letters: {error}");
                    None
                }
            });
        made.unzip()
    }

    /// Does something while nobody else gets the events, however long it takes: their locks are renewed every third
    /// of their time, so that two renewals may fail.
    async fn holding<F: Future>(&self, tokens: &[&str], work: F) -> F::Output {
        let third = self.lock / 3;
        let mut ticks = interval_at(Instant::now() + third, third);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                output = &mut work => return output,
                _ = ticks.tick() => {}
            }
            // The work goes on meanwhile, and may end first.
            let renew = async {
                match self.from.settle(Settle::Renew, tokens).await {
                    Ok(failed) if failed.is_empty() => {}
                    Ok(failed) => {
                        let why = &failed[0].error.code;
                        tracing::warn!(
                            events = failed.len(),
                            "locks are lost, these may come again: {why}"
                        );
                    }
                    Err(error) => tracing::warn!("cannot renew locks, events may come again: {error}"),
                }
            };
            tokio::select! {
                biased;
                output = &mut work => return output,
                () = renew => {}
            }
        }
    }

    /// What cannot be settled is logged: it comes again, and the hub knows it.
    async fn settle(&self, how: Settle, mut tokens: Vec<&str>) {
        for attempt in 1..=ATTEMPTS {
            if tokens.is_empty() {
                return;
            }
            match self.from.settle(how, &tokens).await {
                Ok(failed) => {
                    if let Some(first) = failed.first() {
                        tracing::debug!(
                            failed = failed.len(),
                            "not settled ({how:?}): {}",
                            first.error.code
                        );
                    }
                    let is_left = |token: &&str| {
                        let of_token = failed.iter().find(|failed| failed.lock_token == *token);
                        of_token.is_some_and(|failed| !is_lost(&failed.error.code))
                    };
                    tokens.retain(is_left);
                }
                Err(error) if attempt == ATTEMPTS => {
                    tracing::warn!(events = tokens.len(), "events come again ({how:?}): {error}");
                    return;
                }
                Err(_) => tokio::time::sleep(PAUSE * attempt).await,
            }
        }
        if !tokens.is_empty() {
            tracing::warn!(
                events = tokens.len(),
                "events come again: they could not be settled ({how:?})"
            );
        }
    }

    async fn give_back(&self, tokens: &[&str]) {
        let release = self.from.settle(Settle::Release(0), tokens);
        match timeout(GIVE_BACK, release).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!("events come again only when their locks end: {error}"),
            Err(_) => tracing::debug!("events come again only when their locks end"),
        }
    }
}

/// Asking again is no use: the lock ended, and the event is another's or comes again.
fn is_lost(code: &str) -> bool {
    code == "TokenLost" || code == "BadToken"
}
