//! The one trait every sink implements, and the words for how a delivery ended.
//!
//! A sink tries once. Retry, backoff, timeout, concurrency and dead letters belong to the router, so a
//! sink has no loop, no sleep and no metrics; it only says what happened.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::{Event, Sequence, SubscriptionId};

/// Hands one event to another system.
///
/// The router drops the future when the delivery's timeout passes or the hub stops: an implementation
/// must leave nothing running behind it. A dropped delivery counts as [`Outcome::Released`].
pub trait Sink: Send + Sync + 'static {
    /// Tries once and says how it ended. Never panics; never retries.
    fn deliver(&self, delivery: Delivery) -> BoxFuture<'_, Answer>;

    /// Where events go, as a URL or a name without secrets: `knativeerrordest` of a dead letter. `None`:
    /// the subscription's name stands for it.
    fn destination(&self) -> Option<Arc<str>> {
        None
    }
}

/// One event for one subscription, tried for the `attempt`-th time.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The event, as it came in.
    pub event: Event,
    /// Position of the event in the log.
    pub sequence: Sequence,
    /// Organization the event and the subscription belong to.
    pub organization: Arc<str>,
    /// The subscription this delivery is for.
    pub subscription: SubscriptionId,
    /// Name of the subscription, for logs and errors.
    pub subscription_name: Arc<str>,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// How long the router will wait for the answer.
    pub timeout: Duration,
}

impl Delivery {
    /// Identity of this delivery: the same for every attempt, so that a receiver can deduplicate.
    pub fn id(&self) -> String {
        format!("{}-{}", self.sequence, self.subscription)
    }
}

/// How one attempt ended: one of the three AMQP outcomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The other side took the event.
    Accepted,
    /// Not now: worth trying again, not before `after` if given.
    Released {
        /// Why, for people: one line, no payload, no secret.
        reason: String,
        /// The other side's status code, when it has one.
        code: Option<u16>,
        /// What the other side asked for (`Retry-After`); the router clamps it.
        after: Option<Duration>,
    },
    /// Never: trying again would end the same way.
    Rejected {
        /// Why, for people: one line, no payload, no secret.
        reason: String,
        /// The other side's status code, when it has one.
        code: Option<u16>,
    },
}

/// What a sink answers: the outcome, and events it caused.
///
/// `events` are appended to the log in the same group as the settlement, so they exist if and only if the
/// delivery is settled; an attempt that will be tried again drops them.
#[derive(Debug, Clone)]
pub struct Answer {
    /// How the attempt ended.
    pub outcome: Outcome,
    /// Events caused by this delivery: a reply of the web hook, the record of a function run.
    pub events: Vec<Event>,
}

impl Answer {
    /// The event was taken and nothing came back.
    pub fn accepted() -> Self {
        Self::from(Outcome::Accepted)
    }
    /// Worth trying again.
    pub fn released(reason: impl Into<String>) -> Self {
        Self::from(Outcome::Released {
            reason: reason.into(),
            code: None,
            after: None,
        })
    }
    /// Never to be tried again.
    pub fn rejected(reason: impl Into<String>) -> Self {
        Self::from(Outcome::Rejected {
            reason: reason.into(),
            code: None,
        })
    }
    /// The same answer with an event the delivery caused.
    pub fn with_event(mut self, event: Event) -> Self {
        self.events.push(event);
        self
    }
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Self {
        Self {
            outcome,
            events: Vec::new(),
        }
    }
}
