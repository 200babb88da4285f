//! The keys a resource file may hold, so that `eventtype` and `EventType` are taken for `eventType`.
//!
//! Only keys that the resources define are corrected. What people name themselves stays as it is: keys of
//! secrets, attributes of filters, JSON schemas. A key nobody knows stays too, for the hub to judge.

use serde_json::{Map, Value};

/// What may stand in one place of a file.
pub(crate) enum Shape {
    /// Anything, untouched.
    Any,
    /// An object with these keys.
    Object(&'static [(&'static str, Shape)]),
    /// A list of such values.
    List(&'static Shape),
}

use Shape::{Any, List, Object};

const TAGS: Shape = List(&Object(&[("key", Any), ("value", Any)]));

pub(crate) static APPLICATION: Shape = Object(&[("kind", Any), ("name", Any), ("tags", TAGS)]);

pub(crate) static BASE_IMAGE: Shape = Object(&[
    ("kind", Any),
    ("name", Any),
    ("dockerUrl", Any),
    ("language", Any),
    ("groups", Any),
    ("spec", Any),
    ("tags", TAGS),
]);

pub(crate) static IMAGE: Shape = Object(&[
    ("kind", Any),
    ("name", Any),
    ("baseImageName", Any),
    ("groups", Any),
    ("runtimeDependencies", Object(&[("manifest", Any)])),
    (
        "systemDependencies",
        Object(&[("packages", List(&Object(&[("name", Any), ("version", Any)])))]),
    ),
    ("spec", Any),
    ("tags", TAGS),
]);

pub(crate) static FUNCTION: Shape = Object(&[
    ("kind", Any),
    ("name", Any),
    ("image", Any),
    ("handler", Any),
    ("source", Any),
    ("sourceURL", Any),
    ("sourcePath", Any),
    ("schema", Object(&[("in", Any), ("out", Any)])),
    ("secrets", Any),
    ("services", Any),
    ("timeout", Any),
    (
        "limits",
        Object(&[
            ("memory", Any),
            ("cpu", Any),
            ("processes", Any),
            ("fileSize", Any),
            ("scratch", Any),
            ("openFiles", Any),
            ("fuel", Any),
        ]),
    ),
    ("network", Any),
    ("tags", TAGS),
]);

pub(crate) static API: Shape = Object(&[
    ("kind", Any),
    ("name", Any),
    ("function", Any),
    ("authentication", Any),
    (
        "credentials",
        Object(&[
            ("secret", Any),
            ("header", Any),
            ("jwksUrl", Any),
            ("issuer", Any),
            ("audience", Any),
        ]),
    ),
    ("cors", Any),
    ("corsOrigins", Any),
    ("enabled", Any),
    ("hosts", Any),
    ("methods", Any),
    ("protocols", Any),
    ("tls", Any),
    ("uris", Any),
    ("timeout", Any),
    ("maxBodyBytes", Any),
    ("rateLimit", Object(&[("perSecond", Any), ("perConsumer", Any)])),
    ("tags", TAGS),
]);

pub(crate) static SECRET: Shape = Object(&[("kind", Any), ("name", Any), ("secrets", Any), ("tags", TAGS)]);

pub(crate) static DRIVER_TYPE: Shape = Object(&[
    ("kind", Any),
    ("name", Any),
    ("image", Any),
    ("expose", Any),
    ("config", CONFIG),
    ("tags", TAGS),
]);

pub(crate) static DRIVER: Shape = Object(&[
    ("kind", Any),
    ("name", Any),
    ("type", Any),
    ("extensions", Any),
    ("config", CONFIG),
    ("secrets", Any),
    ("tags", TAGS),
]);

const CONFIG: Shape = List(&Object(&[("key", Any), ("value", Any)]));

pub(crate) static SUBSCRIPTION: Shape = Object(&[
    ("kind", Any),
    ("name", Any),
    ("eventType", Any),
    ("filters", Any),
    ("function", Any),
    ("sink", SINK),
    (
        "delivery",
        Object(&[
            ("retry", Any),
            ("backoffPolicy", Any),
            ("backoffDelay", Any),
            ("timeout", Any),
            ("maxInFlight", Any),
            ("order", Any),
            ("rate", Any),
            ("deadLetterSink", SINK),
        ]),
    ),
    ("secrets", Any),
    ("tags", TAGS),
]);

const SINK: Shape = Object(&[("uri", Any), ("mode", Any)]);

impl Shape {
    /// The same value with its keys written as they are defined.
    ///
    /// Fails with the key if two keys mean the same.
    pub(crate) fn corrected(&self, value: Value) -> Result<Value, String> {
        match (self, value) {
            (Object(known), Value::Object(map)) => {
                let mut corrected = Map::new();
                for (key, value) in map {
                    let found = known.iter().find(|(name, _)| name.eq_ignore_ascii_case(&key));
                    let (key, value) = match found {
                        Some((name, shape)) => ((*name).to_owned(), shape.corrected(value)?),
                        None => (key, value),
                    };
                    if corrected.contains_key(&key) {
                        return Err(key);
                    }
                    corrected.insert(key, value);
                }
                Ok(Value::Object(corrected))
            }
            (List(shape), Value::Array(items)) => {
                let items: Result<_, _> = items.into_iter().map(|item| shape.corrected(item)).collect();
                Ok(Value::Array(items?))
            }
            (_, value) => Ok(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_corrected_and_what_people_name_is_not() {
        let written = json!({
            "eventtype": "x", "FUNCTION": "f", "secrets": ["Name"], "Mine": {"Deep": 1},
            "filters": [{"exact": {"Type": "x"}}],
            "Delivery": {"MAXINFLIGHT": 1, "deadlettersink": {"URI": "u"}},
        });

        let corrected = SUBSCRIPTION.corrected(written).unwrap();

        let expected = json!({
            "eventType": "x", "function": "f", "secrets": ["Name"], "Mine": {"Deep": 1},
            "filters": [{"exact": {"Type": "x"}}],
            "delivery": {"maxInFlight": 1, "deadLetterSink": {"uri": "u"}},
        });
        assert_eq!(corrected, expected);
        let secret = json!({"Secrets": {"Password": "p", "password": "q"}});
        assert_eq!(
            SECRET.corrected(secret).unwrap(),
            json!({"secrets": {"Password": "p", "password": "q"}})
        );
    }

    #[test]
    fn the_same_key_twice_is_named() {
        let written = json!({"name": "a", "Name": "b"});

        assert_eq!(SECRET.corrected(written), Err("name".to_owned()));
    }
}
