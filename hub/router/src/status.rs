//! What the router tells about itself.

use std::sync::Arc;

use dispatch_contract::{Attempt, Event, Sequence, SubscriptionId};

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
    /// Events that wait for the time of their next attempt.
    pub retrying: usize,
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

/// A delivery that has not ended, as far as it is in memory.
#[derive(Debug, Clone)]
pub struct PendingDelivery {
    /// The subscription.
    pub subscription: SubscriptionId,
    /// Position of the event.
    pub sequence: Sequence,
    /// The event.
    pub event: Event,
    /// Attempts so far, with the one under way.
    pub attempts: u32,
    /// The attempts that failed, oldest first.
    pub failures: Vec<Attempt>,
    /// When the next attempt is due, Unix milliseconds; `None` when it is queued or under way.
    pub next_attempt: Option<i64>,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// All attempts ended and all settlements were handed to the log.
    pub finished: bool,
    /// Attempts that were cut off; they will be made again.
    pub in_flight_left: usize,
}
