//! Events in the original's form: CloudEvents 0.1 JSON, for old drivers, old clients and function contexts.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::absent::null_is_default;
use crate::invalid::required;
use crate::subscription::check_event_type;
use crate::{Invalid, Tag};

/// The only `cloudEventsVersion` there is.
pub const CLOUD_EVENTS_VERSION: &str = "0.1";

/// A CloudEvent 0.1. In runs and function contexts it has no `data`: that is the payload.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CloudEvent {
    /// What happened: letters, digits, `_`, `-`, `.`; at most 128.
    pub event_type: String,
    /// Version of the type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_type_version: Option<String>,
    /// `0.1`.
    pub cloud_events_version: String,
    /// Where it happened.
    pub source: String,
    /// Identifies the event within its source.
    #[serde(rename = "eventID")]
    pub event_id: String,
    /// When it happened, RFC 3339; `0001-01-01T00:00:00Z` for unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_time: Option<String>,
    /// Schema of the data, a URI.
    #[serde(default, rename = "schemaURL", skip_serializing_if = "Option::is_none")]
    pub schema_url: Option<String>,
    /// Media type of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Further attributes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub extensions: Option<serde_json::Map<String, serde_json::Value>>,
    /// Any JSON, as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub data: Option<Box<RawValue>>,
}

/// Body of `POST /v1/event/`: a CloudEvent 0.1 inline, with what the hub adds to its answer.
///
/// Unknown fields are ignored, because old drivers send some.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Emission {
    /// What happened: letters, digits, `_`, `-`, `.`; at most 128.
    #[serde(default, deserialize_with = "null_is_default")]
    pub event_type: String,
    /// Version of the type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_type_version: Option<String>,
    /// `0.1`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub cloud_events_version: String,
    /// Where it happened.
    #[serde(default, deserialize_with = "null_is_default")]
    pub source: String,
    /// Identifies the event within its source.
    #[serde(default, rename = "eventID", deserialize_with = "null_is_default")]
    pub event_id: String,
    /// When it happened, RFC 3339; `0001-01-01T00:00:00Z` for unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_time: Option<String>,
    /// Schema of the data, a URI.
    #[serde(default, rename = "schemaURL", skip_serializing_if = "Option::is_none")]
    pub schema_url: Option<String>,
    /// Media type of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Further attributes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub extensions: Option<serde_json::Map<String, serde_json::Value>>,
    /// Any JSON, as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub data: Option<Box<RawValue>>,
    /// Set by the hub.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Uuid::is_nil"
    )]
    pub id: Uuid,
    /// Unix seconds. Set by the hub.
    #[serde(default, rename = "emitted-time", skip_serializing_if = "Option::is_none")]
    pub emitted_time: Option<i64>,
    /// Labels.
    #[serde(default, deserialize_with = "null_is_default")]
    pub tags: Vec<Tag>,
}

impl Emission {
    /// Checks the event by the original's rules; names the first wrong field.
    pub fn check(&self) -> Result<(), Invalid> {
        required("eventType", &self.event_type)?;
        check_event_type("eventType", &self.event_type)?;
        if self.cloud_events_version != CLOUD_EVENTS_VERSION {
            let problem = format!(
                "must be {CLOUD_EVENTS_VERSION:?}, not {:?}",
                self.cloud_events_version
            );
            return Err(Invalid::new("cloudEventsVersion", problem));
        }
        required("source", &self.source)?;
        required("eventID", &self.event_id)?;
        match self.event_time.as_deref() {
            Some(time) if !time.is_empty() && chrono::DateTime::parse_from_rfc3339(time).is_err() => Err(
                Invalid::new("eventTime", "must be a time in RFC 3339 (2018-12-08T16:18:20Z)"),
            ),
            _ => Ok(()),
        }
    }

    /// The event alone.
    pub fn into_event(self) -> CloudEvent {
        CloudEvent {
            event_type: self.event_type,
            event_type_version: self.event_type_version,
            cloud_events_version: self.cloud_events_version,
            source: self.source,
            event_id: self.event_id,
            event_time: self.event_time,
            schema_url: self.schema_url,
            content_type: self.content_type,
            extensions: self.extensions,
            data: self.data,
        }
    }
}
