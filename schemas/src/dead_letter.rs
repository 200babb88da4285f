//! Dead letters: events that could not be delivered, with every failed attempt.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::absent::null_is_default;

/// An event one subscription could not deliver.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Identity of the delivery: `<sequence>-<subscription id>`. What `redrive` takes.
    pub id: String,
    /// Name of the subscription when it gave up.
    pub subscription: String,
    /// Id of the subscription.
    pub subscription_id: Uuid,
    /// Position of the event in the journal.
    pub sequence: u64,
    /// When it was given up, RFC 3339.
    pub time: DateTime<Utc>,
    /// Why, for people: the last failure.
    pub reason: String,
    /// How many attempts were made.
    pub attempts: u32,
    /// The attempts that failed, oldest first; the hub keeps a bounded number.
    #[serde(default, deserialize_with = "null_is_default")]
    pub failures: Vec<FailedAttempt>,
    /// When it was last given to the subscription again, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redriven: Option<DateTime<Utc>>,
    /// The event, CloudEvents 1.0 JSON.
    #[schema(value_type = Object)]
    pub event: Box<RawValue>,
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailedAttempt {
    /// When it ended, RFC 3339.
    pub at: DateTime<Utc>,
    /// How long it took, milliseconds.
    pub took_millis: u32,
    /// The other side's status code, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// Why, for people.
    pub reason: String,
}
