//! What the router tells about itself.

use std::sync::Arc;

use dispatch_contract::{Attempt, Event, Sequence, SubscriptionId};

use crate::breaker::BreakerState;

/// How one subscription stands. Counters are since the router started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneStatus {
    /// The subscription.
    pub subscription: SubscriptionId,
    /// Its organization.
    pub organization: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Events in memory that wait for an attempt now.
    pub queued: usize,
    /// Attempts under way.
    pub in_flight: usize,
    /// Deliveries that ended and that the log has not written yet: a crash would undo them.
    pub unwritten: usize,
    /// Events that wait for the time of their next attempt.
    pub retrying: usize,
    /// Events that wait for an earlier one of their key, in memory or set aside; with the parked ones.
    pub behind_keys: usize,
    /// Keys whose first event failed for good, and that wait for a command.
    pub parked_keys: usize,
    /// Whether the sink is tried.
    pub breaker: BreakerState,
    /// No attempt starts before this, Unix milliseconds: the sink asked for it, the breaker is open, or the rate
    /// is reached.
    pub held_until: Option<i64>,
    /// Attempts that may be under way at once: fewer than `maxInFlight` when the sink struggles.
    pub concurrency: usize,
    /// Whether more events wait in the log.
    pub behind: bool,
    /// When the oldest undelivered event arrived, Unix milliseconds; `None` when none is in memory.
    pub oldest_owed: Option<i64>,
    /// Deliveries the sink took.
    pub delivered: u64,
    /// Attempts that failed and were followed by another.
    pub retried: u64,
    /// Attempts the sink refused for good.
    pub rejected: u64,
    /// Deliveries that ended as dead letters.
    pub dead_lettered: u64,
}

/// A delivery that has not ended and has been read from the log.
#[derive(Debug, Clone)]
pub struct PendingDelivery {
    /// The subscription.
    pub subscription: SubscriptionId,
    /// Position of the event.
    pub sequence: Sequence,
    /// The event; `None` when it is not in memory.
    pub event: Option<Event>,
    /// What it waits for.
    pub waits: Waits,
    /// Whether it has a key that its subscription keeps in order.
    pub in_order: bool,
    /// Attempts so far, with the one under way.
    pub attempts: u32,
    /// The attempts that failed, oldest first.
    pub failures: Vec<Attempt>,
    /// When the next attempt is due, Unix milliseconds; `None` when it is queued or under way.
    pub next_attempt: Option<i64>,
}

/// What a delivery waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// Its turn.
    Turn,
    /// The answer of the sink.
    Answer,
    /// The time of its next attempt.
    Retry,
    /// The circuit breaker of its subscription, the time the sink asked for, or the rate.
    Sink,
    /// An earlier event of its key.
    Key,
    /// Somebody who says to try its key again.
    Unpark,
}

impl Waits {
    /// `queued`, `in-flight`, `retrying`, `held`, `behind`, `parked`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Turn => "queued",
            Self::Answer => "in-flight",
            Self::Retry => "retrying",
            Self::Sink => "held",
            Self::Key => "behind",
            Self::Unpark => "parked",
        }
    }
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// All attempts ended and all settlements were handed to the log.
    pub finished: bool,
    /// Attempts that were cut off; they will be made again.
    pub in_flight_left: usize,
}
