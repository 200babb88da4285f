//! What bounds the router: every queue, wait and batch has its number here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::keys::Room;

/// Bounds. The defaults suit a hub on one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Events one lane holds in memory, whatever state they are in. More stay in the log.
    pub queue_events: usize,
    /// Bytes of events one lane holds in memory (but always one event).
    pub queue_bytes: usize,
    /// Attempts under way in the whole router.
    pub in_flight: usize,
    /// An event with this many hops behind it is a dead letter.
    pub max_hops: u32,
    /// Failed attempts kept with a delivery; the newest are.
    pub max_failures_kept: usize,
    /// How many events a lane may have taken after the oldest it still owes: bounds what settlements out of
    /// order cost the log's memory.
    pub beyond: usize,
    /// Pages of the log being read at once for lanes that are behind.
    pub reads: usize,
    /// Size of such a page.
    pub read_bytes: usize,
    /// Settlements that the log has not written yet above which no new attempt starts.
    pub unwritten: usize,
    /// How often lanes that settle something say how far they are.
    pub marks_every: Duration,
    /// How often all others do.
    pub idle_marks_every: Duration,
    /// The longest `Retry-After` that is honoured.
    pub longest_retry_after: Duration,
    /// Events one lane that keeps order has set aside: what is parked, and what waits behind it. Only their
    /// sequences are in memory. Above it the key parked longest is given up.
    pub set_aside: usize,
    /// A key parked for so long is given up, so that it does not hold the log for ever.
    pub longest_parked: Duration,
    /// Attempts in trouble, one after the other, that open a lane's circuit breaker.
    pub breaker_after: u32,
    /// An attempt that takes longer makes its lane count as slow.
    pub slow_after: Duration,
    /// What organizations may have under way.
    pub quotas: Quotas,
}

/// Attempts an organization may have under way at once, beside its share of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Any that is not named below; `None`: no more than its share.
    pub each: Option<usize>,
    /// Those that have one of their own.
    pub of: BTreeMap<Arc<str>, Option<usize>>,
}

impl Quotas {
    /// That of one organization.
    pub(crate) fn get(&self, organization: &str) -> Option<usize> {
        self.of.get(organization).copied().unwrap_or(self.each)
    }
}

impl Limits {
    /// What of a lane that keeps order may wait for earlier events.
    pub(crate) fn room_behind(&self) -> Room {
        Room {
            of_a_key: (self.queue_events / 64).max(1),
            behind: (self.queue_events / 4).max(1),
            aside: self.set_aside,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_events: 1024,
            queue_bytes: 8 << 20,
            in_flight: 4096,
            max_hops: 16,
            max_failures_kept: 20,
            beyond: 64 << 10,
            reads: 4,
            read_bytes: 256 << 10,
            unwritten: 4096,
            marks_every: Duration::from_millis(200),
            idle_marks_every: Duration::from_secs(10),
            longest_retry_after: Duration::from_secs(600),
            set_aside: 64 << 10,
            longest_parked: Duration::from_secs(7 * 24 * 3600),
            breaker_after: 5,
            slow_after: Duration::from_secs(1),
            quotas: Quotas::default(),
        }
    }
}
