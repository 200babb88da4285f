//! One event as the server sent it, and what the driver itself must know of it: identity, class, time.
//!
//! `id` is `<key>-<createdTime in microseconds>`, so that the same event has the same id however often and by
//! whomever it is read, and keys that start over (a rebuilt database, a wrapped counter) collide with nothing.

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use crate::schema;
use crate::xml::Element;

/// What is kept of XML that had to be passed on as it is.
const MAX_XML: usize = 64 * 1024;
/// In place of the class when there is none to be seen.
const UNREADABLE: &str = "Unreadable";

/// One event as the server sent it, with what the driver itself must know of it.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// The event's identity within its source.
    pub(crate) id: String,
    /// Its number; these wrap and start over.
    pub(crate) key: Option<i64>,
    /// Name of its class.
    pub(crate) class: String,
    /// What an EventEx or ExtendedEvent is.
    pub(crate) event_type_id: Option<String>,
    /// When it happened, by the server's clock.
    pub(crate) created: Option<DateTime<Utc>>,
    /// All of it.
    pub(crate) element: Element,
    /// Its source, when something about it is not clear.
    pub(crate) xml: Option<String>,
}

impl Record {
    /// Takes an event out of an answer; `text` is the whole answer.
    pub(crate) fn new(element: Element, text: &str) -> Self {
        let class = element.xsi_type.clone().unwrap_or_else(|| "Event".to_owned());
        let created = element.text_of("createdTime").and_then(time);
        let key = element.text_of("key").and_then(|k| k.parse::<i64>().ok());
        let xml = text.get(element.span.clone()).unwrap_or_default();
        let id = match (key, created) {
            (Some(key), Some(created)) => format!("{key}-{}", created.timestamp_micros()),
            _ => unreadable_id(xml),
        };
        let is_clear = schema::knows(&class) && key.is_some() && created.is_some();
        Self {
            id,
            event_type_id: element.text_of("eventTypeId").map(str::to_owned),
            xml: (!is_clear).then(|| cut(xml, MAX_XML)),
            class,
            key,
            created,
            element,
        }
    }

    /// Whether nothing of it could be read.
    pub(crate) fn is_unreadable(&self) -> bool {
        self.class == UNREADABLE
    }

    /// An answer that should hold one event and cannot be read at all.
    pub(crate) fn unreadable(text: &str) -> Self {
        Self {
            id: unreadable_id(text),
            key: None,
            class: UNREADABLE.to_owned(),
            event_type_id: None,
            created: None,
            element: Element::default(),
            xml: Some(cut(text, MAX_XML)),
        }
    }
}

fn time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|t| t.to_utc())
}

fn unreadable_id(xml: &str) -> String {
    let digest = Sha256::digest(xml.as_bytes());
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("x-{hex}")
}

/// The beginning of a text, at most this many bytes.
pub(crate) fn cut(text: &str, most: usize) -> String {
    text.get(..text.floor_char_boundary(most))
        .unwrap_or_default()
        .to_owned()
}
