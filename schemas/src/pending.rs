//! Deliveries that are still owed.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An event one subscription has not delivered yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PendingDelivery {
    /// Name of the subscription.
    pub subscription: String,
    /// Position of the event in the journal.
    pub sequence: u64,
    /// What it waits for: `queued` (its turn), `in-flight` (the sink's answer), `retrying` (the time of its next
    /// attempt), `held` (the circuit breaker, the time the sink asked for, or the rate), `behind` (an earlier event
    /// of its key) or `parked` (somebody who unparks its key).
    pub state: String,
    /// What it is ordered by, if its subscription keeps order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// `id` of the event.
    pub event_id: String,
    /// `source` of the event.
    pub source: String,
    /// `type` of the event.
    #[serde(rename = "type")]
    pub ty: String,
    /// Attempts made so far.
    pub attempts: u32,
    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it is tried again, RFC 3339; absent while an attempt is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<DateTime<Utc>>,
}
