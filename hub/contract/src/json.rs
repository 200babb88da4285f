//! The JSON format: structured and batched mode (CloudEvents JSON Format 1.0.2).
//!
//! Members are taken as raw JSON, so `data` keeps its bytes; nothing is built into a tree.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::attribute::Value;
use crate::builder::assemble;
use crate::encoding::{Given, TAG_BOOLEAN, TAG_INTEGER, TAG_STRING};
use crate::event::{DataKind, Event, EventError};

/// Media type of one event in structured mode.
pub const STRUCTURED_CONTENT_TYPE: &str = "application/cloudevents+json";
/// Media type of a batch.
pub const BATCH_CONTENT_TYPE: &str = "application/cloudevents-batch+json";

/// Whether data of this media type is JSON (`application/json`, `text/json`, `…+json`).
pub fn is_json_media_type(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let Some((_, sub)) = essence.split_once('/') else {
        return false;
    };
    sub.eq_ignore_ascii_case("json") || sub.len() > 5 && sub[sub.len() - 5..].eq_ignore_ascii_case("+json")
}

impl Event {
    /// Reads one event in structured mode.
    pub fn from_json(body: &[u8]) -> Result<Self, EventError> {
        let members: Members<'_> =
            serde_json::from_slice(body).map_err(|e| not_json(body, &e, "an object"))?;
        members.into_event()
    }

    /// Reads a batch. All events are right, or the first wrong one is named.
    pub fn batch_from_json(body: &[u8], max_events: usize) -> Result<Vec<Self>, EventError> {
        let items: Vec<&RawValue> =
            serde_json::from_slice(body).map_err(|e| not_json(body, &e, "an array"))?;
        if items.len() > max_events {
            let problem = format!("has {} events; a batch has at most {max_events}", items.len());
            return Err(EventError::new("body", problem));
        }
        let one = |(index, item): (usize, &&RawValue)| {
            Self::from_json(item.get().as_bytes()).map_err(|e| e.at(index))
        };
        items.iter().enumerate().map(one).collect()
    }

    /// Appends the structured form.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"specversion\":\"1.0\"");
        for attribute in self.attributes() {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(attribute.name.as_bytes());
            out.extend_from_slice(b"\":");
            match attribute.value() {
                Value::String(text) => write_string(out, &text),
                other => out.extend_from_slice(other.to_string().as_bytes()),
            }
        }
        if let Some(data) = self.data() {
            match data.kind {
                DataKind::Json => {
                    out.extend_from_slice(b",\"data\":");
                    out.extend_from_slice(data.bytes);
                }
                DataKind::Text => {
                    out.extend_from_slice(b",\"data\":");
                    write_string(out, &String::from_utf8_lossy(data.bytes));
                }
                DataKind::Binary => {
                    out.extend_from_slice(b",\"data_base64\":\"");
                    out.extend_from_slice(STANDARD.encode(data.bytes).as_bytes());
                    out.push(b'"');
                }
            }
        }
        out.push(b'}');
    }

    /// The structured form.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len() + 64);
        self.write_json(&mut out);
        out
    }

    /// The batched form.
    pub fn batch_to_json<'a>(events: impl IntoIterator<Item = &'a Self>) -> Vec<u8> {
        let mut out = vec![b'['];
        for (n, event) in events.into_iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            event.write_json(&mut out);
        }
        out.push(b']');
        out
    }
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    // Writing a string into memory cannot fail.
    serde_json::to_writer(out, text).unwrap_or_default();
}

fn not_json(body: &[u8], error: &serde_json::Error, wanted: &str) -> EventError {
    let problem = match error.classify() {
        serde_json::error::Category::Data if error.to_string().starts_with("given twice") => {
            let text = error.to_string();
            let name = text.split('"').nth(1).unwrap_or("body").to_owned();
            return EventError::new(name, "is given twice");
        }
        serde_json::error::Category::Data => format!("must be {wanted} of the CloudEvents JSON format"),
        _ if body.is_empty() => "is empty".to_owned(),
        _ => format!("is not JSON: {error}"),
    };
    EventError::new("body", problem)
}

/// The members of a JSON object in their order, values as they came.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> serde::Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::with_capacity(12);
                while let Some(MemberName(name)) = map.next_key()? {
                    let value = map.next_value()?;
                    if members.iter().any(|(n, _)| *n == name) {
                        return Err(serde::de::Error::custom(format_args!("given twice: {name:?}")));
                    }
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// A member's name: borrowed when it has no escapes.
struct MemberName<'a>(Cow<'a, str>);

impl<'de> serde::Deserialize<'de> for MemberName<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl<'de> Visitor<'de> for Name {
            type Value = MemberName<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member name")
            }
            fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
                Ok(MemberName(Cow::Borrowed(v)))
            }
            fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
                Ok(MemberName(Cow::Owned(v.to_owned())))
            }
        }
        deserializer.deserialize_str(Name)
    }
}

impl<'a> Members<'a> {
    fn into_event(self) -> Result<Event, EventError> {
        let member = |name: &str| {
            self.0
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, v)| v.get())
                .filter(|v| *v != "null")
        };
        let required = |name: &'static str| -> Result<Cow<'_, str>, EventError> {
            let raw = member(name).ok_or_else(|| EventError::new(name, "is required"))?;
            string(raw).ok_or_else(|| EventError::new(name, "must be a string"))
        };
        let version = required("specversion")?;
        if version != "1.0" {
            return Err(EventError::new(
                "specversion",
                format!("is {version:?}; must be \"1.0\""),
            ));
        }
        let mut given = Vec::with_capacity(self.0.len());
        for name in ["id", "source", "type"] {
            given.push(Given::string(name, required(name)?));
        }
        let mut content_type = None;
        for (name, raw) in &self.0 {
            match name.as_ref() {
                "specversion" | "id" | "source" | "type" | "data" | "data_base64" => continue,
                _ if raw.get() == "null" => continue,
                name => given.push(attribute(name, raw.get())?),
            }
            if name == "datacontenttype" {
                content_type = given.last().map(|given| given.text.clone());
            }
        }
        match (member("data"), member("data_base64")) {
            (Some(_), Some(_)) => Err(EventError::new(
                "data_base64",
                "cannot stand beside data: give one of them",
            )),
            (None, None) => assemble(&given, None),
            (Some(raw), None) => {
                let (kind, data) = json_data(content_type.as_deref(), raw);
                assemble(&given, Some((kind, data.as_bytes())))
            }
            (None, Some(raw)) => {
                let text = string(raw).ok_or_else(|| {
                    EventError::new("data_base64", "must be a string of base64 (RFC 4648, section 4)")
                })?;
                let bytes = STANDARD.decode(text.as_bytes()).map_err(|e| {
                    EventError::new("data_base64", format!("is not base64 (RFC 4648, section 4): {e}"))
                })?;
                assemble(&given, Some((DataKind::Binary, &bytes)))
            }
        }
    }
}

/// The string a raw value is; borrowed when it has no escapes.
fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inside = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inside.contains('\\') {
        return serde_json::from_str(raw).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inside))
}

/// JSON format, section 3.1.1: a string under a non-JSON content type is the payload itself. The value was
/// checked to be JSON when the members were taken apart.
fn json_data<'a>(content_type: Option<&str>, raw: &'a str) -> (DataKind, Cow<'a, str>) {
    if content_type.is_none_or(is_json_media_type) {
        return (DataKind::Json, raw.into());
    }
    match string(raw) {
        Some(text) => (DataKind::Text, text),
        None => (DataKind::Json, raw.into()),
    }
}

fn attribute<'a>(name: &'a str, raw: &'a str) -> Result<Given<'a>, EventError> {
    let wrong = |problem: &str| EventError::new(name.chars().take(40).collect::<String>(), problem);
    let (tag, text) = match raw.as_bytes().first() {
        Some(b'"') => {
            let text = string(raw).ok_or_else(|| wrong("is not a string of Unicode text"))?;
            (TAG_STRING, text)
        }
        Some(b't' | b'f') => (TAG_BOOLEAN, raw.into()),
        Some(b'{' | b'[') => return Err(wrong("must be a string, a boolean or an integer")),
        _ => match raw.parse::<i32>() {
            Ok(number) => (TAG_INTEGER, number.to_string().into()),
            Err(_) => return Err(wrong("must be a string, a boolean or a 32-bit integer")),
        },
    };
    Ok(Given { name, tag, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Event, EventError> {
        Event::from_json(json.as_bytes())
    }

    #[test]
    fn a_structured_event_is_read_and_written_with_its_data_untouched() {
        let json = r#"{"specversion":"1.0","id":"A-1","source":"/mycontext","type":"com.example.someevent","subject":"s","time":"2018-04-05T17:31:00Z","comexampleother":5,"flag":true,"datacontenttype":"application/json","data":{"appinfoA" : "abc",  "b":1.0}}"#;
        let event = parse(json).unwrap();
        assert_eq!(event.data().unwrap().bytes, br#"{"appinfoA" : "abc",  "b":1.0}"#);
        assert_eq!(String::from_utf8(event.to_json()).unwrap(), json);
    }

    #[test]
    fn binary_data_comes_from_and_goes_to_base64() {
        let event = parse(r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","datacontenttype":"image/png","data_base64":"AAEC/w=="}"#).unwrap();
        assert_eq!(
            event.data().unwrap(),
            crate::Data {
                kind: DataKind::Binary,
                bytes: &[0, 1, 2, 255]
            }
        );
        assert!(
            String::from_utf8(event.to_json())
                .unwrap()
                .ends_with(r#""data_base64":"AAEC/w=="}"#)
        );
    }

    #[test]
    fn a_string_of_another_media_type_is_the_payload_itself() {
        let event = parse(r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","datacontenttype":"text/xml","data":"<a b=\"c\"/>"}"#).unwrap();
        assert_eq!(
            event.data().unwrap(),
            crate::Data {
                kind: DataKind::Text,
                bytes: br#"<a b="c"/>"#
            }
        );
        assert!(
            String::from_utf8(event.to_json())
                .unwrap()
                .ends_with(r#""data":"<a b=\"c\"/>"}"#)
        );
    }

    #[test]
    fn null_members_are_absent_and_escaped_names_are_read() {
        let event = parse(
            r#"{"specversion":"1.0","i\u0064":"1","source":"/s","type":"t","subject":null,"data":null}"#,
        )
        .unwrap();
        assert_eq!((event.id(), event.subject(), event.data()), ("1", None, None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let table = [
            ("", "body"),
            ("{", "body"),
            ("[]", "body"),
            (r#"{"id":"1","source":"/s","type":"t"}"#, "specversion"),
            (
                r#"{"specversion":"0.3","id":"1","source":"/s","type":"t"}"#,
                "specversion",
            ),
            (r#"{"specversion":"1.0","source":"/s","type":"t"}"#, "id"),
            (r#"{"specversion":"1.0","id":7,"source":"/s","type":"t"}"#, "id"),
            (
                r#"{"specversion":"1.0","id":"1","id":"2","source":"/s","type":"t"}"#,
                "id",
            ),
            (
                r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","x":{}}"#,
                "x",
            ),
            (
                r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","x":2147483648}"#,
                "x",
            ),
            (
                r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"*"}"#,
                "data_base64",
            ),
            (
                r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":1,"data_base64":"AA=="}"#,
                "data_base64",
            ),
        ];
        for (json, attribute) in table {
            assert_eq!(parse(json).unwrap_err().attribute, attribute, "{json}");
        }
    }

    #[test]
    fn the_first_wrong_event_of_a_batch_is_named_by_its_place() {
        let good = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
        let bad = r#"{"specversion":"1.0","id":"1","source":"/s"}"#;
        let error = Event::batch_from_json(format!("[{good},{good},{bad}]").as_bytes(), 10).unwrap_err();
        assert_eq!((error.index, error.attribute.as_str()), (Some(2), "type"));
        assert_eq!(error.to_string(), "event 2 of the batch: type: is required");
        assert!(Event::batch_from_json(format!("[{good},{good}]").as_bytes(), 1).is_err());
        assert_eq!(Event::batch_from_json(b"[]", 1).unwrap().len(), 0);
    }

    #[test]
    fn json_media_types() {
        for yes in [
            "application/json",
            "application/json; charset=utf-8",
            "text/json",
            "application/vnd.x+json",
        ] {
            assert!(is_json_media_type(yes), "{yes}");
        }
        for no in ["text/plain", "application/xml", "json", "application/jsonx"] {
            assert!(!is_json_media_type(no), "{no}");
        }
    }
}
