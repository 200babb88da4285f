//! What Event Grid delivered as CloudEvents.
//!
//! Of the Event Grid schema `topic` becomes `source`, `eventType` `type`, `dataVersion` the extension `dataversion`;
//! the rest keeps its name. A CloudEvent stays what it is. What can be neither becomes an event that holds it, so
//! that nothing is lost and nothing takes its batch along.

use chrono::DateTime;
use dispatch_contract::{Event, EventError, RESERVED_TYPE_PREFIX};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

/// Type of an event that holds what is none.
pub(crate) const MALFORMED_TYPE: &str = "eventgrid.malformed";
/// Source of events that name none.
const SOURCE: &str = "/eventgrid";

/// Why something is no event.
#[derive(Debug, thiserror::Error)]
enum Malformed {
    #[error(transparent)]
    Event(#[from] EventError),
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("type: begins with {RESERVED_TYPE_PREFIX}, as only the hub's own do")]
    Reserved,
}

/// What tells the schemas apart: a CloudEvent may come as plain JSON too.
#[derive(serde::Deserialize)]
struct Shape {
    specversion: Option<serde::de::IgnoredAny>,
}

/// An event in the Event Grid schema.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Grid {
    id: Option<String>,
    topic: Option<String>,
    subject: Option<String>,
    event_type: Option<String>,
    event_time: Option<String>,
    data_version: Option<String>,
    data: Option<Box<RawValue>>,
}

/// The event that came, or one that holds what came. The same item is always the same event.
pub(crate) fn event(source: Option<&str>, item: &RawValue) -> Result<Event, EventError> {
    let is_cloud = serde_json::from_str::<Shape>(item.get()).is_ok_and(|shape| shape.specversion.is_some());
    let made = match is_cloud {
        true => cloud(source, item),
        false => grid(source, item),
    };
    let made = made.and_then(|event| match event.ty().starts_with(RESERVED_TYPE_PREFIX) {
        true => Err(Malformed::Reserved),
        false => Ok(event),
    });
    made.or_else(|why| holder(source, item, &why))
}

fn holder(source: Option<&str>, item: &RawValue, why: &Malformed) -> Result<Event, EventError> {
    let digest = Sha256::digest(item.get());
    let id: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    tracing::warn!(
        event = id,
        "no event, kept in one of type {MALFORMED_TYPE}: {why}"
    );
    Event::builder(id, source.unwrap_or(SOURCE), MALFORMED_TYPE)
        .json(item.get().to_owned())
        .build()
}

fn grid(source: Option<&str>, item: &RawValue) -> Result<Event, Malformed> {
    let grid: Grid = serde_json::from_str(item.get())?;
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let required = |text, name| given(text).ok_or_else(|| EventError::new(name, "is required"));
    // Event Grid itself always fills the topic in; a publisher that posts here directly need not.
    let topic = given(grid.topic);
    let source = source.or(topic.as_deref()).unwrap_or(SOURCE);
    let id = required(grid.id, "id")?;
    let mut event = Event::builder(id, source, required(grid.event_type, "eventType")?);
    if let Some(subject) = given(grid.subject) {
        event = event.subject(subject);
    }
    if let Some(time) = given(grid.event_time) {
        let time = DateTime::parse_from_rfc3339(&time);
        let time = time.map_err(|_| EventError::new("eventTime", "is not a time in RFC 3339"))?;
        event = event.time(time.to_utc());
    }
    if let Some(version) = given(grid.data_version) {
        event = event.attribute("dataversion", version);
    }
    if let Some(data) = grid.data {
        event = event.json(data.get().to_owned());
    }
    Ok(event.build()?)
}

fn cloud(source: Option<&str>, item: &RawValue) -> Result<Event, Malformed> {
    let event = Event::from_json(item.get().as_bytes())?;
    Ok(match source {
        Some(source) => event.to_builder().attribute("source", source).build()?,
        None => event,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(text: &str) -> Event {
        let item = RawValue::from_string(text.to_owned()).unwrap();
        event(None, &item).unwrap()
    }

    #[test]
    fn what_is_no_event_is_kept_in_one_that_is_always_the_same() {
        let table = [
            r#"{"specversion": "1.0", "id": "1"}"#,
            r#"{"specversion": "1.0", "id": "1", "source": "/s", "type": "dispatch.run.failed"}"#,
            r#"{"eventType": "t"}"#,
            r#"{"id": "1"}"#,
            r#"{"id": 1, "eventType": "t"}"#,
            r#"{"id": "1", "eventType": "t", "eventTime": "soon"}"#,
            "7",
            "null",
            "[]",
            r#""text""#,
        ];
        for text in table {
            let event = made(text);
            assert_eq!((event.ty(), event.source()), (MALFORMED_TYPE, SOURCE), "{text}");
            assert_eq!(event.data_bytes().unwrap(), text.as_bytes());
            assert_eq!(event, made(text));
        }
    }

    #[test]
    fn data_stays_as_it_came() {
        let data = r#"{"b": 1.0000000000000000001, "a": 18446744073709551616}"#;
        for text in [
            format!(r#"{{"id": "1", "eventType": "t", "data": {data}}}"#),
            format!(r#"{{"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {data}}}"#),
        ] {
            assert_eq!(made(&text).data_bytes().unwrap(), data.as_bytes(), "{text}");
        }
    }
}
