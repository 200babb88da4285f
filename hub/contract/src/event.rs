//! A CloudEvent 1.0, checked once at the door and never changed after.
//!
//! An [`Event`] is one immutable buffer (its encoded form, see `encoding.rs`) plus the places of what is
//! asked for most. Cloning it copies no text and no data; the journal writes the buffer as it is; `data` is
//! the very bytes that came in. Rules: CloudEvents 1.0.2, sections 3 (attributes) and 4 (data).

use std::fmt;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::encoding::{self, Spans};

/// The most attributes an event may have, `specversion` not counted.
pub const MAX_ATTRIBUTES: usize = 64;
/// The longest attribute value, in bytes.
pub const MAX_ATTRIBUTE_BYTES: usize = 8 * 1024;
/// Types that begin like this are the hub's own: no door accepts them, and only subscriptions that name
/// them receive them.
pub const RESERVED_TYPE_PREFIX: &str = "dispatch.";

/// Extension attributes the hub sets or reads.
pub mod ext {
    /// `id` of the event that caused this one.
    pub const CAUSATION: &str = "causationid";
    /// The same for all events that go back to one first event.
    pub const CORRELATION: &str = "correlationid";
    /// How many events lie between the first one and this one.
    pub const HOPS: &str = "dispatchhops";
    /// Key for ordering.
    pub const PARTITION_KEY: &str = "partitionkey";
}

/// A CloudEvent. Cheap to clone.
#[derive(Clone)]
pub struct Event {
    pub(crate) bytes: Bytes,
    pub(crate) spans: Spans,
}

/// What kind of bytes `data` is, which decides how the JSON format carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataKind {
    /// JSON text: the member `data`, as it is.
    Json,
    /// Text: the member `data`, as a JSON string.
    Text,
    /// Anything: the member `data_base64`.
    Binary,
}

/// The payload, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data<'a> {
    /// What kind of bytes.
    pub kind: DataKind,
    /// The bytes as they came in.
    pub bytes: &'a [u8],
}

/// An attribute's value with its CloudEvents type. URIs and timestamps are strings that were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// String, URI, URI-reference, timestamp or binary (as base64).
    String(String),
    /// Boolean.
    Boolean(bool),
    /// Integer, 32 bits by the specification.
    Integer(i32),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(s) => f.write_str(s),
            Self::Boolean(b) => b.fmt(f),
            Self::Integer(i) => i.fmt(f),
        }
    }
}

impl From<&str> for Value {
    fn from(s: &str) -> Self {
        Self::String(s.to_owned())
    }
}
impl From<String> for Value {
    fn from(s: String) -> Self {
        Self::String(s)
    }
}
impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Self::Boolean(b)
    }
}
impl From<i32> for Value {
    fn from(i: i32) -> Self {
        Self::Integer(i)
    }
}

/// One attribute, borrowed: its name, its canonical text and its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Lower-case name.
    pub name: &'a str,
    /// Canonical text (CloudEvents 1.0.2, section 3.1: `true`, `-7`, the string itself).
    pub text: &'a str,
    pub(crate) tag: u8,
}

impl Attribute<'_> {
    /// The typed value.
    pub fn value(&self) -> Value {
        match self.tag {
            encoding::TAG_BOOLEAN => Value::Boolean(self.text == "true"),
            encoding::TAG_INTEGER => Value::Integer(self.text.parse().unwrap_or_default()),
            _ => Value::String(self.text.to_owned()),
        }
    }
}

/// Why something is no CloudEvent: which event of a batch, which attribute, what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct EventError {
    /// Position in the batch, from 0; `None` outside a batch.
    pub index: Option<usize>,
    /// The attribute (or `data`, `data_base64`, `body`).
    pub attribute: String,
    /// What is wrong and what is allowed.
    pub problem: String,
}

impl EventError {
    /// An error about one attribute.
    pub fn new(attribute: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            index: None,
            attribute: attribute.into(),
            problem: problem.into(),
        }
    }
    /// The same error, in the `index`-th event of a batch.
    pub fn at(mut self, index: usize) -> Self {
        self.index = Some(index);
        self
    }
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(index) = self.index {
            write!(f, "event {index} of the batch: ")?;
        }
        write!(f, "{}: {}", self.attribute, self.problem)
    }
}

impl Event {
    /// Starts an event with the three attributes nobody may leave out.
    pub fn builder(id: impl Into<String>, source: impl Into<String>, ty: impl Into<String>) -> EventBuilder {
        EventBuilder {
            attributes: vec![
                ("id".into(), Value::String(id.into())),
                ("source".into(), Value::String(source.into())),
                ("type".into(), Value::String(ty.into())),
            ],
            data: None,
        }
    }

    /// Identifies the event within its source.
    pub fn id(&self) -> &str {
        self.text(self.spans.id)
    }
    /// Where the event happened.
    pub fn source(&self) -> &str {
        self.text(self.spans.source)
    }
    /// What happened.
    pub fn ty(&self) -> &str {
        self.text(self.spans.ty)
    }
    /// To what it happened.
    pub fn subject(&self) -> Option<&str> {
        self.attribute("subject")
    }
    /// When it happened.
    pub fn time(&self) -> Option<DateTime<Utc>> {
        self.attribute("time")
            .and_then(|t| DateTime::parse_from_rfc3339(t).ok())
            .map(|t| t.to_utc())
    }
    /// Media type of the data.
    pub fn datacontenttype(&self) -> Option<&str> {
        self.attribute("datacontenttype")
    }
    /// Schema of the data.
    pub fn dataschema(&self) -> Option<&str> {
        self.attribute("dataschema")
    }

    /// The canonical text of any attribute but `specversion`.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        match name {
            "id" => Some(self.id()),
            "source" => Some(self.source()),
            "type" => Some(self.ty()),
            _ => self.attributes().find(|a| a.name == name).map(|a| a.text),
        }
    }

    /// All attributes but `specversion`: `id`, `source`, `type`, then the others as they came.
    pub fn attributes(&self) -> impl Iterator<Item = Attribute<'_>> {
        encoding::attributes(&self.bytes, self.spans)
    }

    /// Attributes the specification does not name.
    pub fn extensions(&self) -> impl Iterator<Item = Attribute<'_>> {
        self.attributes().filter(|a| !is_context_attribute(a.name))
    }

    /// The payload.
    pub fn data(&self) -> Option<Data<'_>> {
        let kind = self.spans.data_kind()?;
        Some(Data {
            kind,
            bytes: self.bytes.get(self.spans.data as usize..).unwrap_or_default(),
        })
    }

    /// The payload as a slice that shares the event's memory.
    pub fn data_bytes(&self) -> Option<Bytes> {
        self.spans.data_kind()?;
        Some(self.bytes.slice(self.spans.data as usize..))
    }

    /// The encoded form, for the journal. Shares the event's memory.
    pub fn encoded(&self) -> Bytes {
        self.bytes.clone()
    }

    /// Reads the encoded form without copying it.
    pub fn decode(bytes: Bytes) -> Result<Self, EventError> {
        let spans =
            encoding::read(&bytes).ok_or_else(|| EventError::new("event", "is not an encoded event"))?;
        Ok(Self { bytes, spans })
    }

    /// A builder with all of this event's attributes and data, to make a changed copy.
    pub fn to_builder(&self) -> EventBuilder {
        EventBuilder {
            attributes: self
                .attributes()
                .map(|a| (a.name.to_owned(), a.value()))
                .collect(),
            data: self.data().map(|d| (d.kind, Bytes::copy_from_slice(d.bytes))),
        }
    }

    fn text(&self, span: encoding::Span) -> &str {
        encoding::text(&self.bytes, span)
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}
impl Eq for Event {}

impl fmt::Debug for Event {
    /// Names the event; leaves its payload out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("id", &self.id())
            .field("source", &self.source())
            .field("type", &self.ty())
            .field("data", &self.data().map(|d| (d.kind, d.bytes.len())))
            .finish_non_exhaustive()
    }
}

/// A checked attribute name: one to 20 lower-case letters and digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttributeName<'a>(&'a str);

impl<'a> AttributeName<'a> {
    /// Checks the name (CloudEvents 1.0.2, section 3.1).
    pub fn new(name: &'a str) -> Result<Self, EventError> {
        let fine = (1..=20).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            && name != "data";
        if fine {
            return Ok(Self(name));
        }
        let shown: String = name.chars().take(40).collect();
        Err(EventError::new(
            shown,
            "an attribute name is 1 to 20 lower-case letters and digits, and not \"data\"",
        ))
    }
    /// The name.
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

/// Gathers attributes and data, then checks them all at once.
#[derive(Debug, Clone)]
pub struct EventBuilder {
    attributes: Vec<(String, Value)>,
    data: Option<(DataKind, Bytes)>,
}

impl EventBuilder {
    /// Sets an attribute, replacing what it was.
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        let name = name.into();
        let value = value.into();
        match self.attributes.iter_mut().find(|(n, _)| *n == name) {
            Some(slot) => slot.1 = value,
            None => self.attributes.push((name, value)),
        }
        self
    }
    /// Sets `subject`.
    pub fn subject(self, subject: impl Into<String>) -> Self {
        self.attribute("subject", subject.into())
    }
    /// Sets `time`.
    pub fn time(self, time: DateTime<Utc>) -> Self {
        self.attribute("time", time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
    }
    /// Sets the data to JSON text (checked) with `datacontenttype: application/json`.
    pub fn json(self, data: impl Into<Bytes>) -> Self {
        self.attribute("datacontenttype", "application/json")
            .data(DataKind::Json, data)
    }
    /// Sets the data; `datacontenttype` is an attribute of its own.
    pub fn data(mut self, kind: DataKind, data: impl Into<Bytes>) -> Self {
        self.data = Some((kind, data.into()));
        self
    }
    /// Checks everything and makes the event.
    pub fn build(self) -> Result<Event, EventError> {
        check_attributes(&self.attributes)?;
        if let Some((kind, bytes)) = &self.data {
            check_data(*kind, bytes)?;
        }
        let data = self.data.as_ref().map(|(kind, bytes)| (*kind, bytes.as_ref()));
        let bytes = encoding::write(self.attributes.iter().map(|(n, v)| (n.as_str(), v)), data);
        let spans =
            encoding::read(&bytes).ok_or_else(|| EventError::new("event", "is too large to encode"))?;
        Ok(Event { bytes, spans })
    }
}

pub(crate) fn is_context_attribute(name: &str) -> bool {
    matches!(
        name,
        "id" | "source" | "type" | "subject" | "time" | "datacontenttype" | "dataschema" | "specversion"
    )
}

fn check_attributes(attributes: &[(String, Value)]) -> Result<(), EventError> {
    if attributes.len() > MAX_ATTRIBUTES {
        let name = &attributes[MAX_ATTRIBUTES].0;
        let problem = format!("is one attribute too many: an event has at most {MAX_ATTRIBUTES}");
        return Err(EventError::new(
            name.chars().take(40).collect::<String>(),
            problem,
        ));
    }
    for (position, (name, value)) in attributes.iter().enumerate() {
        AttributeName::new(name)?;
        if attributes[..position].iter().any(|(n, _)| n == name) {
            return Err(EventError::new(name, "is given twice"));
        }
        check_value(name, value)?;
    }
    Ok(())
}

fn check_data(kind: DataKind, bytes: &[u8]) -> Result<(), EventError> {
    match kind {
        DataKind::Json => serde_json::from_slice::<serde::de::IgnoredAny>(bytes)
            .map(drop)
            .map_err(|e| EventError::new("data", format!("is not JSON: {e}"))),
        DataKind::Text => std::str::from_utf8(bytes)
            .map(drop)
            .map_err(|e| EventError::new("data", format!("is not UTF-8: {e}"))),
        DataKind::Binary => Ok(()),
    }
}

fn check_value(name: &str, value: &Value) -> Result<(), EventError> {
    let Value::String(text) = value else {
        return match is_context_attribute(name) {
            true => Err(EventError::new(name, "must be a string")),
            false => Ok(()),
        };
    };
    let fail = |problem: &str| Err(EventError::new(name, problem));
    if text.len() > MAX_ATTRIBUTE_BYTES {
        return fail(&format!(
            "has {} bytes; an attribute has at most {MAX_ATTRIBUTE_BYTES}",
            text.len()
        ));
    }
    if text.is_empty() && is_context_attribute(name) {
        return fail("must not be empty");
    }
    if text.chars().any(|c| c.is_control()) {
        return fail("must not contain control characters");
    }
    match name {
        "specversion" => fail("is fixed and cannot be set"),
        "source" if text.contains(char::is_whitespace) => fail("must be a URI-reference (RFC 3986)"),
        "dataschema" if !is_absolute_uri(text) => fail("must be an absolute URI (RFC 3986)"),
        "time" if DateTime::parse_from_rfc3339(text).is_err() => {
            fail("must be a timestamp as in RFC 3339, for instance 2026-01-31T23:59:59Z")
        }
        "datacontenttype" if !is_media_type(text) => {
            fail("must be a media type (RFC 2046), for instance application/json")
        }
        _ => Ok(()),
    }
}

fn is_absolute_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let mut letters = scheme.bytes();
    letters.next().is_some_and(|b| b.is_ascii_alphabetic())
        && letters.all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        && !rest.is_empty()
        && !text.contains(char::is_whitespace)
}

fn is_media_type(text: &str) -> bool {
    let essence = text.split(';').next().unwrap_or_default().trim();
    let token = |s: &str| {
        !s.is_empty()
            && s.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+*'`|~%".contains(&b))
    };
    essence
        .split_once('/')
        .is_some_and(|(kind, sub)| token(kind) && token(sub))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> EventBuilder {
        Event::builder("1", "/s", "t")
    }

    #[test]
    fn data_is_kept_byte_for_byte() {
        let odd = "{ \"a\" :1.000,\n\"a\":2 }";
        let e = event().json(odd).build().unwrap();
        assert_eq!(e.data().unwrap().bytes, odd.as_bytes());
        let again = Event::decode(e.encoded()).unwrap();
        assert_eq!(again, e);
        assert_eq!(again.data_bytes().unwrap(), odd.as_bytes());
    }

    #[test]
    fn a_clone_shares_the_memory() {
        let e = event().json("[1,2,3]").build().unwrap();
        assert_eq!(
            e.clone().data().unwrap().bytes.as_ptr(),
            e.data().unwrap().bytes.as_ptr()
        );
    }

    #[test]
    fn attributes_keep_their_types_and_order() {
        let e = event()
            .subject("sub")
            .attribute("flag", true)
            .attribute("n", -7)
            .attribute("x", "y")
            .build()
            .unwrap();
        let seen: Vec<_> = e.attributes().map(|a| (a.name.to_owned(), a.value())).collect();
        let want: Vec<(String, Value)> = vec![
            ("id".into(), "1".into()),
            ("source".into(), "/s".into()),
            ("type".into(), "t".into()),
            ("subject".into(), "sub".into()),
            ("flag".into(), true.into()),
            ("n".into(), (-7).into()),
            ("x".into(), "y".into()),
        ];
        assert_eq!(seen, want);
        assert_eq!(
            e.extensions().map(|a| a.name).collect::<Vec<_>>(),
            ["flag", "n", "x"]
        );
        assert_eq!(e.attribute("n"), Some("-7"));
        assert_eq!(e.to_builder().build().unwrap(), e);
    }

    #[test]
    fn a_wrong_attribute_is_named() {
        let table: Vec<(EventBuilder, &str)> = vec![
            (Event::builder("", "/s", "t"), "id"),
            (Event::builder("1", "", "t"), "source"),
            (Event::builder("1", "/s", ""), "type"),
            (event().attribute("time", "yesterday"), "time"),
            (event().attribute("dataschema", "relative"), "dataschema"),
            (event().attribute("datacontenttype", "json"), "datacontenttype"),
            (event().attribute("Upper", "x"), "Upper"),
            (event().attribute("specversion", "1.0"), "specversion"),
            (event().attribute("subject", 3), "subject"),
            (event().attribute("x", "a\nb"), "x"),
            (event().attribute("x", "a".repeat(MAX_ATTRIBUTE_BYTES + 1)), "x"),
            (event().json("{"), "data"),
            (event().data(DataKind::Text, vec![0xff]), "data"),
        ];
        for (builder, attribute) in table {
            assert_eq!(builder.build().unwrap_err().attribute, attribute);
        }
    }

    #[test]
    fn no_more_than_the_allowed_attributes() {
        let mut builder = event();
        for n in 0..MAX_ATTRIBUTES {
            builder = builder.attribute(format!("x{n}"), "v");
        }
        assert_eq!(
            builder.build().unwrap_err().attribute,
            format!("x{}", MAX_ATTRIBUTES - 3)
        );
    }

    #[test]
    fn debug_output_has_no_payload() {
        let e = event().json("\"hunter2\"").build().unwrap();
        assert!(!format!("{e:?}").contains("hunter2"));
    }
}
