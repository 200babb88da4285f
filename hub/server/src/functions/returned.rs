//! Events that a function returns: a CloudEvent, or a list of them, is published as well as told by the run. Pure.
//!
//! An answer is meant as an event when it is an object with a member `specversion`, in CloudEvents' JSON format. `id`,
//! `source` and `time` may be left out: the id is then made of the run's name, so that a repeated delivery publishes
//! the same event and the hub takes it once.

use chrono::{DateTime, SecondsFormat, Utc};
use dispatch_contract::{Event, EventError, RESERVED_TYPE_PREFIX};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::run::source_of;

/// Events of one answer.
const MAX_EVENTS: usize = 100;
const SPECVERSION: &str = "specversion";

/// Who returned them.
pub(super) struct Returned<'a> {
    /// The function.
    pub(super) function: &'a str,
    /// Its run.
    pub(super) run: Uuid,
    /// When.
    pub(super) at: DateTime<Utc>,
    /// Bytes of one event.
    pub(super) max_bytes: usize,
}

impl Returned<'_> {
    /// The events in an output; none, if it is not meant as events. Or why they cannot be published: all or none.
    pub(super) fn events(&self, output: Option<&RawValue>) -> Result<Vec<Event>, EventError> {
        let text = output.map_or("", RawValue::get);
        // Nearly no output is an event; those are not read again.
        if !text.contains(SPECVERSION) {
            return Ok(Vec::new());
        }
        let items: Vec<Map<String, Value>> = match serde_json::from_str(text) {
            Ok(Value::Object(one)) => vec![one],
            Ok(Value::Array(items)) => {
                let objects = items.into_iter().map(|item| match item {
                    Value::Object(item) => Some(item),
                    _ => None,
                });
                objects.collect::<Option<_>>().unwrap_or_default()
            }
            _ => Vec::new(),
        };
        if items.is_empty() || items.iter().any(|item| !item.contains_key(SPECVERSION)) {
            return Ok(Vec::new());
        }
        if items.len() > MAX_EVENTS {
            let problem = format!("has {} events; at most {MAX_EVENTS} are published", items.len());
            return Err(EventError::new("output", problem));
        }
        let many = items.len() > 1;
        let one = |(index, item)| {
            self.event(index, item)
                .map_err(|e| if many { e.at(index) } else { e })
        };
        items.into_iter().enumerate().map(one).collect()
    }

    fn event(&self, index: usize, mut item: Map<String, Value>) -> Result<Event, EventError> {
        let mut or = |name: &str, value: String| {
            let missing = item.get(name).is_none_or(Value::is_null);
            if missing {
                item.insert(name.to_owned(), value.into());
            }
        };
        or("id", format!("{}-{index}", self.run));
        or("source", source_of(self.function));
        or("time", self.at.to_rfc3339_opts(SecondsFormat::Millis, true));
        let json = Value::Object(item).to_string();
        if json.len() > self.max_bytes {
            let problem = format!("has {} bytes; at most {} are taken", json.len(), self.max_bytes);
            return Err(EventError::new("data", problem));
        }
        let event = Event::from_json(json.as_bytes())?;
        if event.ty().starts_with(RESERVED_TYPE_PREFIX) {
            return Err(EventError::new(
                "type",
                "types that start with dispatch. are the hub's own",
            ));
        }
        Ok(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn events(output: Value) -> Result<Vec<Event>, EventError> {
        let returned = Returned {
            function: "f",
            run: Uuid::nil(),
            at: DateTime::from_timestamp_millis(1_544_253_500_100).unwrap(),
            max_bytes: 1000,
        };
        returned.events(serde_json::value::to_raw_value(&output).ok().as_deref())
    }

    #[test]
    fn an_event_or_a_list_of_them_is_published() {
        let whole = json!({"specversion": "1.0", "id": "7", "source": "/mine", "type": "order.paid", "data": {"n": 1.5}});
        let short = json!({"specversion": "1.0", "type": "order.sent"});

        let found = events(json!([whole, short])).unwrap();

        assert_eq!(
            (found[0].id(), found[0].source(), found[0].ty()),
            ("7", "/mine", "order.paid")
        );
        assert_eq!(found[0].data().unwrap().bytes, br#"{"n":1.5}"#);
        let made = (found[1].id(), found[1].source(), found[1].attribute("time"));
        let expected = (
            "00000000-0000-0000-0000-000000000000-1",
            "/dispatch/functions/f",
            Some("2018-12-08T07:18:20.100Z"),
        );
        assert_eq!(made, expected);
    }

    #[test]
    fn other_answers_are_no_events() {
        let event = json!({"specversion": "1.0", "type": "t"});
        for output in [
            json!(null),
            json!("specversion"),
            json!([]),
            json!({"event": event}),
            json!([event, 1]),
            json!([event, {}]),
        ] {
            assert_eq!(events(output.clone()).unwrap(), [], "{output}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_event_is_named() {
        let many = vec![json!({"specversion": "1.0", "type": "t"}); MAX_EVENTS + 1];
        let table = [
            (json!({"specversion": "1.0"}), "type"),
            (json!({"specversion": "0.3", "type": "t"}), "specversion"),
            (
                json!({"specversion": "1.0", "type": "dispatch.run.failed"}),
                "dispatch.",
            ),
            (
                json!({"specversion": "1.0", "type": "t", "data": "x".repeat(1000)}),
                "at most 1000",
            ),
            (
                json!([{"specversion": "1.0", "type": "t"}, {"specversion": "1.0", "type": 1}]),
                "1",
            ),
            (json!(many), "at most 100"),
        ];
        for (output, part) in table {
            let error = events(output).unwrap_err().to_string();
            assert!(error.contains(part), "{part} in {error}");
        }
    }
}
