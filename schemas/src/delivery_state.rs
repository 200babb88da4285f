//! How the deliveries of a subscription stand.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a subscription has to deliver, and what its sink makes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryState {
    /// Events that could be tried now.
    pub queued: u64,
    /// Attempts under way.
    pub in_flight: u64,
    /// Events that wait for the time of their next attempt.
    pub retrying: u64,
    /// Events that wait for an earlier one of their key.
    pub behind_keys: u64,
    /// Keys whose first event could not be delivered: they wait for `dispatch unpark`.
    pub parked_keys: u64,
    /// Whether more events wait in the journal.
    pub behind: bool,
    /// Whether the sink is tried: `closed` (yes), `open` (not now) or `half-open` (one attempt decides).
    pub breaker: String,
    /// Attempts that may be under way at once; fewer than `maxInFlight` while the sink struggles.
    pub concurrency: u64,
    /// No attempt starts before this, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_until: Option<DateTime<Utc>>,
}
