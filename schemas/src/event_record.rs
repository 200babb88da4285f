//! Events as they are listed and streamed.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// An event with its place in the journal.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventRecord {
    /// Position in the journal; only grows.
    pub sequence: u64,
    /// Organization it belongs to.
    pub organization: String,
    /// When it arrived, RFC 3339.
    pub arrival: DateTime<Utc>,
    /// Identifies the event within its source.
    pub id: String,
    /// Where it happened.
    pub source: String,
    /// What happened.
    #[serde(rename = "type")]
    pub ty: String,
    /// To what it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When it happened, RFC 3339, as the sender wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Media type of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datacontenttype: Option<String>,
    /// Data that is JSON, as it came, or text as a JSON string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub data: Option<Box<RawValue>>,
    /// Any other data.
    #[serde(default, rename = "data_base64", skip_serializing_if = "Option::is_none")]
    pub data_base64: Option<String>,
}
