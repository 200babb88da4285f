//! How an event is made: everything is gathered, then everything is checked, once.

use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::attribute::{AttributeName, MAX_ATTRIBUTE_BYTES, MAX_ATTRIBUTES, Value, is_context_attribute};
use crate::encoding::{self, Given};
use crate::event::{DataKind, Event, EventError};

/// Gathers attributes and data, then checks them all at once.
#[derive(Debug, Clone)]
pub struct EventBuilder {
    pub(crate) attributes: Vec<(String, Value)>,
    pub(crate) data: Option<(DataKind, Bytes)>,
    /// The data came out of an event: it is what its kind says.
    pub(crate) data_checked: bool,
}

impl EventBuilder {
    pub(crate) fn new(id: String, source: String, ty: String) -> Self {
        let attributes = [("id", id), ("source", source), ("type", ty)];
        Self {
            attributes: attributes.map(|(n, v)| (n.to_owned(), Value::String(v))).into(),
            data: None,
            data_checked: false,
        }
    }
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
        self.data_checked = false;
        self
    }
    /// Checks everything and makes the event.
    pub fn build(self) -> Result<Event, EventError> {
        if let Some((kind, bytes)) = &self.data
            && !self.data_checked
        {
            check_data(*kind, bytes)?;
        }
        let given: Vec<_> = self.attributes.iter().map(|(n, v)| Given::value(n, v)).collect();
        assemble(
            &given,
            self.data.as_ref().map(|(kind, bytes)| (*kind, &bytes[..])),
        )
    }
}

/// Checks the attributes (the first three are `id`, `source`, `type`) and makes an event of them and of data
/// that was checked to be what its kind says.
pub(crate) fn assemble(given: &[Given<'_>], data: Option<(DataKind, &[u8])>) -> Result<Event, EventError> {
    check_attributes(given)?;
    let (bytes, spans) =
        encoding::write(given, data).ok_or_else(|| EventError::new("event", "is too large to encode"))?;
    Ok(Event { bytes, spans })
}

fn check_attributes(given: &[Given<'_>]) -> Result<(), EventError> {
    if let Some(one) = given.get(MAX_ATTRIBUTES) {
        let problem = format!("is one attribute too many: an event has at most {MAX_ATTRIBUTES}");
        return Err(EventError::new(
            one.name.chars().take(40).collect::<String>(),
            problem,
        ));
    }
    for (position, one) in given.iter().enumerate() {
        AttributeName::new(one.name)?;
        if given[..position].iter().any(|other| other.name == one.name) {
            return Err(EventError::new(one.name, "is given twice"));
        }
        check_value(one)?;
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

fn check_value(given: &Given<'_>) -> Result<(), EventError> {
    let (name, text) = (given.name, given.text.as_ref());
    if given.tag != encoding::TAG_STRING {
        return match is_context_attribute(name) {
            true => Err(EventError::new(name, "must be a string")),
            false => Ok(()),
        };
    }
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
            (event().json("{}").build().unwrap().to_builder().json("{"), "data"),
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
}
