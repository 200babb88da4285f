//! `K_CE_OVERRIDES`: attributes that whoever set the driver up wants on each of its events, as for any Knative source.
//!
//! Checked when the driver starts. What the driver itself says under such a name is replaced.

use std::collections::BTreeMap;

use dispatch_contract::{Event, Value};
use serde::Deserialize;

/// What the specification names is the driver's to say.
const CONTEXT: [&str; 8] = [
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "specversion",
];

/// Extension attributes for every event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Overrides(Vec<(String, Value)>);

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    extensions: Option<BTreeMap<String, Scalar>>,
}

/// An attribute's value by its JSON type.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Boolean(bool),
    Integer(i32),
    Text(String),
}

impl Overrides {
    /// Reads `{"extensions":{"name":"value"}}`; the error follows the variable's name in a message.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let written: Written = serde_json::from_str(text)
            .map_err(|e| format!("must be {{\"extensions\":{{\"name\":\"value\"}}}}: {e}"))?;
        let given = written.extensions.into_iter().flatten();
        let extensions: Vec<(String, Value)> = given.map(|(name, value)| (name, value.into())).collect();
        if let Some((name, _)) = extensions
            .iter()
            .find(|(name, _)| CONTEXT.contains(&name.as_str()))
        {
            return Err(format!(
                "extensions: {name} is no extension and stays as the driver says it"
            ));
        }
        let overrides = Self(extensions);
        match overrides.added_to(&Event::builder("1", "/", "t").build().map_err(|e| e.to_string())?) {
            Ok(_) => Ok(overrides),
            Err(error) => Err(format!("extensions: {error}")),
        }
    }

    /// The events with these attributes. An event that has no room for them goes without: an event is worth more.
    pub(crate) fn apply(&self, events: Vec<Event>) -> Vec<Event> {
        if self.0.is_empty() {
            return events;
        }
        let with = |event: Event| match self.added_to(&event) {
            Ok(changed) => changed,
            Err(error) => {
                tracing::warn!(
                    event = event.id(),
                    "goes without the extensions of K_CE_OVERRIDES: {error}"
                );
                event
            }
        };
        events.into_iter().map(with).collect()
    }

    fn added_to(&self, event: &Event) -> Result<Event, dispatch_contract::EventError> {
        let builder = self.0.iter().fold(event.to_builder(), |builder, (name, value)| {
            builder.attribute(name, value.clone())
        });
        builder.build()
    }
}

impl From<Scalar> for Value {
    fn from(written: Scalar) -> Self {
        match written {
            Scalar::Boolean(flag) => flag.into(),
            Scalar::Integer(number) => number.into(),
            Scalar::Text(text) => text.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_gets_the_extensions_and_keeps_the_rest() {
        let overrides =
            Overrides::parse(r#"{"extensions":{"site":"east","floor":3,"test":true},"other":1}"#).unwrap();
        let event = Event::builder("1", "/s", "t")
            .attribute("site", "west")
            .json("{\"n\":1}");
        let event = event.build().unwrap();

        let changed = overrides.apply(vec![event.clone()]).remove(0);

        let extensions: Vec<_> = changed
            .extensions()
            .map(|a| (a.name.to_owned(), a.value()))
            .collect();
        let expected: Vec<(String, Value)> = vec![
            ("site".into(), "east".into()),
            ("floor".into(), 3.into()),
            ("test".into(), true.into()),
        ];
        assert_eq!(extensions.len(), 3, "{extensions:?}");
        assert!(
            expected.iter().all(|one| extensions.contains(one)),
            "{extensions:?}"
        );
        assert_eq!((changed.id(), changed.data()), (event.id(), event.data()));
        assert_eq!(
            Overrides::parse("{}").unwrap().apply(vec![event.clone()]),
            [event]
        );
    }

    #[test]
    fn an_event_without_room_for_them_goes_as_it_is() {
        let overrides = Overrides::parse(r#"{"extensions":{"site":"east"}}"#).unwrap();
        let full = (0..61).fold(Event::builder("1", "/s", "t"), |builder, n| {
            builder.attribute(format!("x{n}"), "v")
        });
        let full = full.build().unwrap();

        assert_eq!(overrides.apply(vec![full.clone()]), [full]);
    }

    #[test]
    fn what_cannot_be_an_extension_is_named() {
        let table = [
            ("site=east", "must be {\"extensions\":{\"name\":\"value\"}}: "),
            (
                r#"{"extensions":["a"]}"#,
                "must be {\"extensions\":{\"name\":\"value\"}}: ",
            ),
            (
                r#"{"extensions":{"site":null}}"#,
                "must be {\"extensions\":{\"name\":\"value\"}}: ",
            ),
            (
                r#"{"extensions":{"type":"x"}}"#,
                "extensions: type is no extension and stays as the driver says it",
            ),
            (
                r#"{"extensions":{"My-Site":"x"}}"#,
                "extensions: My-Site: an attribute name is 1 to 20",
            ),
            (
                r#"{"extensions":{"site":"a\nb"}}"#,
                "extensions: site: must not contain control characters",
            ),
        ];
        for (text, problem) in table {
            let error = Overrides::parse(text).unwrap_err();
            assert!(error.starts_with(problem), "{text}: {error}");
        }
    }
}
