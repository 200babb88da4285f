//! What Event Grid delivered as CloudEvents.
//!
//! Of the Event Grid schema `topic` becomes `source`, `eventType` `type`, `dataVersion` the extension `dataversion`;
//! the rest keeps its name. A CloudEvent stays what it is.

use chrono::DateTime;
use dispatch_contract::{Event, EventError};
use serde_json::Value;

use crate::config::Plan;
use crate::delivery::Item;

/// All events that can be one; the others are logged with their position.
pub(crate) fn events(plan: &Plan, items: &[Item]) -> Vec<Event> {
    let mut events = Vec::with_capacity(items.len());
    for (position, item) in items.iter().enumerate() {
        let made = match item {
            Item::Grid(value) => grid(plan, value),
            Item::Cloud(value) => cloud(plan, value),
        };
        match made {
            Ok(event) => events.push(event),
            Err(error) => tracing::warn!(position, "event left out: {error}"),
        }
    }
    events
}

fn grid(plan: &Plan, value: &Value) -> Result<Event, EventError> {
    let text = |name: &str| value[name].as_str().filter(|text| !text.is_empty());
    let required = |name: &'static str| text(name).ok_or_else(|| EventError::new(name, "is required"));
    // Event Grid itself always fills the topic in; a publisher that posts here directly need not.
    let source = plan.source.as_deref().or(text("topic")).unwrap_or("/eventgrid");
    let mut event = Event::builder(required("id")?, source, required("eventType")?);
    if let Some(subject) = text("subject") {
        event = event.subject(subject);
    }
    if let Some(time) = text("eventTime") {
        let time = DateTime::parse_from_rfc3339(time);
        let time = time.map_err(|_| EventError::new("eventTime", "is not a time in RFC 3339"))?;
        event = event.time(time.to_utc());
    }
    if let Some(version) = text("dataVersion") {
        event = event.attribute("dataversion", version);
    }
    match value.get("data") {
        None | Some(Value::Null) => event.build(),
        Some(data) => event.json(data.to_string()).build(),
    }
}

fn cloud(plan: &Plan, value: &Value) -> Result<Event, EventError> {
    let event = Event::from_json(value.to_string().as_bytes())?;
    match &plan.source {
        Some(source) => event.to_builder().attribute("source", source.as_str()).build(),
        None => Ok(event),
    }
}
