//! Who watches: metrics, live runs and live streams hang here, so that the router knows none of them.

use std::sync::Arc;
use std::time::Duration;

use dispatch_contract::{Committed, Event, Outcome, Sequence, Settlement, SubscriptionId};

/// Is told what happens, on the router's own loop: it must return at once and never block.
pub trait Observer: Send + Sync + 'static {
    /// An event came from the log and `matches` subscriptions want it. Once per event and life.
    fn routed(&self, _sequence: Sequence, _event: &Committed, _matches: usize) {}
    /// An attempt starts.
    fn attempt_started(&self, _delivery: DeliveryInfo<'_>) {}
    /// An attempt ended; `next_retry` is the wait until the next one, if there will be one.
    fn attempt_ended(
        &self,
        _delivery: DeliveryInfo<'_>,
        _outcome: &Outcome,
        _took: Duration,
        _next_retry: Option<Duration>,
    ) {
    }
    /// A delivery ended for good. The log hears of it right after.
    fn settled(&self, _delivery: DeliveryInfo<'_>, _settlement: &Settlement) {}
}

/// Nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}

/// Which delivery.
#[derive(Debug, Clone, Copy)]
pub struct DeliveryInfo<'a> {
    /// Organization of the event and of the subscription.
    pub organization: &'a Arc<str>,
    /// The subscription.
    pub subscription: SubscriptionId,
    /// Its name.
    pub subscription_name: &'a Arc<str>,
    /// Position of the event.
    pub sequence: Sequence,
    /// The event.
    pub event: &'a Event,
    /// When the event arrived, Unix milliseconds.
    pub arrival: i64,
    /// Which attempt, from 1; for a settlement, how many there were.
    pub attempt: u32,
    /// Whether this is about the dead letter sink.
    pub dead_letter: bool,
}
