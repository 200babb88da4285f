//! A CloudEvent 1.0, checked once at the door and never changed after.
//!
//! An [`Event`] is one immutable buffer (its encoded form, see `encoding.rs`) plus the places of what is
//! asked for most. Cloning it copies no text and no data; the journal writes the buffer as it is; `data` is
//! the very bytes that came in. Rules: CloudEvents 1.0.2, sections 3 (attributes) and 4 (data).

use std::fmt;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::attribute::{Attribute, is_context_attribute};
use crate::builder::EventBuilder;
use crate::encoding::{self, Spans};

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
        EventBuilder::new(id.into(), source.into(), ty.into())
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

    /// What it belongs to, for subscriptions that keep order: the extension `partitionkey`, else `subject`.
    /// `None`: it waits for no other event.
    pub fn key(&self) -> Option<&str> {
        self.attribute(ext::PARTITION_KEY).or_else(|| self.subject())
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
            data_checked: true,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute::Value;

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
    fn the_key_is_the_partition_key_before_the_subject() {
        assert_eq!(event().build().unwrap().key(), None);
        let with_subject = event().subject("vm-1");
        assert_eq!(with_subject.build().unwrap().key(), Some("vm-1"));
        let with_both = event().subject("vm-1").attribute("partitionkey", "k");
        assert_eq!(with_both.build().unwrap().key(), Some("k"));
    }

    #[test]
    fn debug_output_has_no_payload() {
        let e = event().json("\"hunter2\"").build().unwrap();
        assert!(!format!("{e:?}").contains("hunter2"));
    }
}
