//! Binary mode of the HTTP binding: attributes as `ce-` headers, data as the body (CloudEvents HTTP 1.0.2, section 3.1).

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};

use crate::builder::assemble;
use crate::encoding::Given;
use crate::event::{DataKind, Event, EventError};
use crate::json::is_json_media_type;

/// Prefix of the headers that carry attributes.
pub const CE_PREFIX: &str = "ce-";

/// Section 3.1.3.2: space, double quote, percent and everything outside printable ASCII is encoded.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// Whether the headers say binary mode: they carry `ce-specversion` or `ce-id`, or any `ce-` header at all.
pub fn is_binary_mode(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with(CE_PREFIX))
}

/// The wait that `Retry-After` asks for: seconds or an HTTP date (RFC 9110, section 10.2.3). Not clamped;
/// what cannot be read is not there.
pub fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?.to_utc();
    Some((date - now).to_std().unwrap_or_default())
}

impl Event {
    /// Reads an event in binary mode.
    pub fn from_headers(headers: &HeaderMap, body: Bytes) -> Result<Self, EventError> {
        let attributes = || {
            headers
                .iter()
                .filter_map(|(name, value)| Some((name.as_str().strip_prefix(CE_PREFIX)?, value)))
        };
        let mut required = [
            ("specversion", None),
            ("id", None),
            ("source", None),
            ("type", None),
        ];
        let mut given = Vec::with_capacity(headers.len() + 1);
        for (name, value) in attributes() {
            if let Some((_, place)) = required.iter_mut().find(|(n, _)| *n == name)
                && place.replace(text(name, value)?).is_some()
            {
                return Err(EventError::new(name, "is given twice"));
            }
        }
        let [version, id, source, ty] = required.map(|(name, text)| {
            text.ok_or_else(|| EventError::new(name, format!("is required (header {CE_PREFIX}{name})")))
        });
        let version = version?;
        if version != "1.0" {
            return Err(EventError::new(
                "specversion",
                format!("is {version:?}; must be \"1.0\""),
            ));
        }
        given.push(Given::string("id", id?));
        given.push(Given::string("source", source?));
        given.push(Given::string("type", ty?));
        for (name, value) in attributes() {
            match name {
                "specversion" | "id" | "source" | "type" => {}
                "datacontenttype" => {
                    return Err(EventError::new(name, "is the header content-type in binary mode"));
                }
                _ => given.push(Given::string(name, text(name, value)?)),
            }
        }
        let content_type = match headers.get(CONTENT_TYPE) {
            Some(value) => Some(
                value
                    .to_str()
                    .map_err(|_| EventError::new("datacontenttype", "is not ASCII"))?,
            ),
            None => None,
        };
        if let Some(content_type) = content_type {
            given.push(Given::string("datacontenttype", content_type));
        }
        let data = (!body.is_empty()).then(|| (kind_of(content_type, &body), &body[..]));
        assemble(&given, data)
    }

    /// The headers of binary mode, `content-type` among them; the body is [`Event::data_bytes`].
    pub fn write_headers(&self, headers: &mut HeaderMap) {
        headers.insert(
            HeaderName::from_static("ce-specversion"),
            HeaderValue::from_static("1.0"),
        );
        for attribute in self.attributes() {
            if attribute.name == "datacontenttype" {
                if let Ok(value) = self.header_value(attribute.text) {
                    headers.insert(CONTENT_TYPE, value);
                }
                continue;
            }
            let value = match attribute.text.bytes().all(is_plain) {
                true => self.header_value(attribute.text),
                false => HeaderValue::try_from(utf8_percent_encode(attribute.text, ENCODED).to_string()),
            };
            if let (Some(name), Ok(value)) = (header_name(attribute.name), value) {
                headers.insert(name, value);
            }
        }
        if !headers.contains_key(CONTENT_TYPE) && self.data().is_some_and(|d| d.kind == DataKind::Json) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
    }

    /// A value that shares the event's memory.
    fn header_value(&self, text: &str) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
        HeaderValue::from_maybe_shared(self.bytes.slice_ref(text.as_bytes()))
    }
}

/// Whether the byte stands for itself (see [`ENCODED`]).
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'"' && byte != b'%'
}

fn header_name(attribute: &str) -> Option<HeaderName> {
    let known = match attribute {
        "id" => "ce-id",
        "source" => "ce-source",
        "type" => "ce-type",
        "subject" => "ce-subject",
        "time" => "ce-time",
        "dataschema" => "ce-dataschema",
        _ => return HeaderName::try_from(format!("{CE_PREFIX}{attribute}")).ok(),
    };
    Some(HeaderName::from_static(known))
}

/// An attribute's text: percent-decoded, without the quotes some senders put around it.
fn text<'a>(name: &str, value: &'a HeaderValue) -> Result<Cow<'a, str>, EventError> {
    let raw = value.as_bytes();
    let raw = raw
        .strip_prefix(b"\"")
        .and_then(|r| r.strip_suffix(b"\""))
        .unwrap_or(raw);
    percent_decode(raw)
        .decode_utf8()
        .map_err(|_| EventError::new(name, "is not UTF-8 after percent-decoding"))
}

/// What arrives as JSON but is none is kept as plain bytes: never refused, never broken for others.
fn kind_of(content_type: Option<&str>, body: &[u8]) -> DataKind {
    let is_json = || serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok();
    match content_type {
        Some(t) if is_json_media_type(t) && is_json() => DataKind::Json,
        Some(t) if t.starts_with("text/") && std::str::from_utf8(body).is_ok() => DataKind::Text,
        _ => DataKind::Binary,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(n, v): &(&str, &str)| {
            (
                n.parse::<HeaderName>().unwrap(),
                HeaderValue::from_str(v).unwrap(),
            )
        };
        pairs.iter().map(pair).collect()
    }
    const REQUIRED: [(&str, &str); 4] = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/s"),
        ("ce-type", "t"),
    ];

    #[test]
    fn a_binary_event_goes_in_and_out_with_its_data_untouched() {
        let mut given = headers(&REQUIRED);
        given.extend(headers(&[
            ("content-type", "application/json"),
            ("ce-subject", "Euro%20%E2%82%AC%20%22x%22"),
            ("ce-n", "7"),
        ]));
        let event = Event::from_headers(&given, Bytes::from_static(b"{ \"a\":1 }")).unwrap();
        assert_eq!(event.subject(), Some("Euro € \"x\""));
        assert_eq!(event.datacontenttype(), Some("application/json"));
        assert_eq!(event.data().unwrap().bytes, b"{ \"a\":1 }");
        let mut out = HeaderMap::new();
        event.write_headers(&mut out);
        assert_eq!(out, given);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let without = |name: &str| {
            headers(
                &REQUIRED
                    .into_iter()
                    .filter(|(n, _)| *n != name)
                    .collect::<Vec<_>>(),
            )
        };
        let plus = |name: &str, value: &str| {
            let mut all = headers(&REQUIRED);
            all.append(
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
            all
        };
        let table = [
            (without("ce-specversion"), "specversion"),
            (without("ce-id"), "id"),
            (plus("ce-id", "2"), "id"),
            (plus("ce-time", "noon"), "time"),
            (plus("ce-bad_name", "x"), "bad_name"),
            (plus("ce-x", "%FF"), "x"),
            (plus("ce-datacontenttype", "text/plain"), "datacontenttype"),
        ];
        for (given, attribute) in table {
            assert_eq!(
                Event::from_headers(&given, Bytes::new()).unwrap_err().attribute,
                attribute
            );
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = "1994-11-06T08:49:07Z".parse().unwrap();
        let read = |text| retry_after(&headers(&[("retry-after", text)]), now);
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        assert_eq!(
            read("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(Duration::from_secs(30))
        );
        assert_eq!(read("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!((read("-1"), read("soon")), (None, None));
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn bytes_that_only_claim_to_be_json_are_kept_as_bytes() {
        let mut given = headers(&REQUIRED);
        given.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let event = Event::from_headers(&given, Bytes::from_static(b"{nope")).unwrap();
        assert_eq!(
            event.data().unwrap(),
            crate::Data {
                kind: DataKind::Binary,
                bytes: b"{nope"
            }
        );
    }
}
