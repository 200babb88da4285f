//! What SNS sends: notifications and confirmations, by the CloudEvents adapter for SNS. Pure.

use chrono::{DateTime, Utc};
use dispatch_contract::{DataKind, Event, EventBuilder, EventError};

/// The envelope, as it stands in a queue or in an HTTP request.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Envelope {
    #[serde(rename = "Type")]
    pub(crate) ty: String,
    pub(crate) message_id: String,
    pub(crate) topic_arn: String,
    pub(crate) subject: Option<String>,
    pub(crate) message: String,
    pub(crate) timestamp: String,
}

impl Envelope {
    /// The notification itself as an event; `data` is the message, as JSON if it is an object or an array.
    pub(crate) fn to_event(&self, source: Option<&str>) -> Result<Event, EventError> {
        let ty = format!("com.amazonaws.sns.{}", self.ty);
        let mut event = Event::builder(&self.message_id, source.unwrap_or(&self.topic_arn), ty);
        if let Ok(time) = self.timestamp.parse::<DateTime<Utc>>() {
            event = event.time(time);
        }
        if let Some(subject) = self.subject.as_deref().filter(|subject| !subject.is_empty()) {
            event = event.subject(subject);
        }
        with_text(event, &self.message).build()
    }
}

/// Text of which nothing is known, as data: JSON if it is an object or an array, else text.
pub(crate) fn with_text(event: EventBuilder, text: &str) -> EventBuilder {
    let is_json = text.trim_start().starts_with(['{', '['])
        && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    match is_json {
        true => event.json(text.to_owned()),
        false => event
            .attribute("datacontenttype", "text/plain")
            .data(DataKind::Text, text.to_owned()),
    }
}
