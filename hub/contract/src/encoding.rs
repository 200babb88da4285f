//! The encoded form of an event: what the journal stores and an [`Event`](crate::Event) holds.
//!
//! ```text
//! u8  version (1)
//! u8  data kind: 0 none, 1 JSON, 2 text, 3 binary
//! u16 number of attributes
//! each attribute: u8 name length, u8 value tag (0 string, 1 boolean, 2 integer), u32 value length, name, value
//! data to the end
//! ```
//! Little-endian. The first three attributes are `id`, `source` and `type`. Attribute text is UTF-8.
//! Reading checks every length, so hostile bytes give `None` and never a panic.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};

use crate::attribute::{Attribute, Value};
use crate::event::DataKind;

pub(crate) const TAG_STRING: u8 = 0;
pub(crate) const TAG_BOOLEAN: u8 = 1;
pub(crate) const TAG_INTEGER: u8 = 2;

const VERSION: u8 = 1;
const HEAD: usize = 4;
const ATTRIBUTE_HEAD: usize = 6;

/// A range of the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

/// Places of what is asked for most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spans {
    pub(crate) id: Span,
    pub(crate) source: Span,
    pub(crate) ty: Span,
    pub(crate) data: u32,
    kind: u8,
}

impl Spans {
    pub(crate) fn data_kind(self) -> Option<DataKind> {
        match self.kind {
            1 => Some(DataKind::Json),
            2 => Some(DataKind::Text),
            3 => Some(DataKind::Binary),
            _ => None,
        }
    }
}

pub(crate) fn text(bytes: &[u8], span: Span) -> &str {
    bytes
        .get(span.start as usize..span.end as usize)
        .and_then(|b| std::str::from_utf8(b).ok())
        .unwrap_or_default()
}

/// An attribute on its way into an event, borrowed from wherever it came.
#[derive(Debug, Clone)]
pub(crate) struct Given<'a> {
    pub(crate) name: &'a str,
    pub(crate) tag: u8,
    /// Canonical text.
    pub(crate) text: Cow<'a, str>,
}

impl<'a> Given<'a> {
    pub(crate) fn string(name: &'a str, text: impl Into<Cow<'a, str>>) -> Self {
        let text = text.into();
        Self {
            name,
            tag: TAG_STRING,
            text,
        }
    }

    pub(crate) fn value(name: &'a str, value: &'a Value) -> Self {
        match value {
            Value::String(text) => Self::string(name, text),
            Value::Boolean(flag) => Self {
                name,
                tag: TAG_BOOLEAN,
                text: if *flag { "true" } else { "false" }.into(),
            },
            Value::Integer(number) => Self {
                name,
                tag: TAG_INTEGER,
                text: number.to_string().into(),
            },
        }
    }
}

/// Writes attributes (the first three are `id`, `source`, `type`) and data. `None` when it is too large.
pub(crate) fn write(attributes: &[Given<'_>], data: Option<(DataKind, &[u8])>) -> Option<(Bytes, Spans)> {
    let size: usize = attributes
        .iter()
        .map(|a| ATTRIBUTE_HEAD + a.name.len() + a.text.len())
        .sum();
    let size = HEAD + size + data.map_or(0, |(_, d)| d.len());
    u32::try_from(size).ok()?;
    let kind = match data {
        None => 0,
        Some((DataKind::Json, _)) => 1,
        Some((DataKind::Text, _)) => 2,
        Some((DataKind::Binary, _)) => 3,
    };
    let mut out = BytesMut::with_capacity(size);
    out.put_u8(VERSION);
    out.put_u8(kind);
    out.put_u16_le(u16::try_from(attributes.len()).ok()?);
    let mut first = [Span { start: 0, end: 0 }; 3];
    for (n, attribute) in attributes.iter().enumerate() {
        out.put_u8(u8::try_from(attribute.name.len()).ok()?);
        out.put_u8(attribute.tag);
        out.put_u32_le(attribute.text.len() as u32);
        out.put_slice(attribute.name.as_bytes());
        let start = out.len() as u32;
        out.put_slice(attribute.text.as_bytes());
        if let Some(place) = first.get_mut(n) {
            *place = Span {
                start,
                end: out.len() as u32,
            };
        }
    }
    let [id, source, ty] = first;
    let spans = Spans {
        id,
        source,
        ty,
        data: out.len() as u32,
        kind,
    };
    if let Some((_, data)) = data {
        out.put_slice(data);
    }
    Some((out.freeze(), spans))
}

/// Checks the whole buffer and finds the places.
pub(crate) fn read(bytes: &[u8]) -> Option<Spans> {
    u32::try_from(bytes.len()).ok()?;
    let kind = *bytes.get(1)?;
    if *bytes.first()? != VERSION || kind > 3 {
        return None;
    }
    let count = u16::from_le_bytes([*bytes.get(2)?, *bytes.get(3)?]);
    let mut first = [Span { start: 0, end: 0 }; 3];
    let mut at = HEAD;
    for n in 0..usize::from(count) {
        let raw = next(bytes, at)?;
        std::str::from_utf8(raw.name).ok()?;
        std::str::from_utf8(raw.value).ok()?;
        if raw.tag > TAG_INTEGER {
            return None;
        }
        if n < 3 {
            if raw.name != [&b"id"[..], b"source", b"type"][n] {
                return None;
            }
            first[n] = Span {
                start: (raw.end - raw.value.len()) as u32,
                end: raw.end as u32,
            };
        }
        at = raw.end;
    }
    if count < 3 || (kind == 0 && at != bytes.len()) {
        return None;
    }
    let [id, source, ty] = first;
    Some(Spans {
        id,
        source,
        ty,
        data: at as u32,
        kind,
    })
}

/// The attributes of a buffer that [`read`] accepted.
pub(crate) fn attributes(bytes: &[u8], spans: Spans) -> impl Iterator<Item = Attribute<'_>> {
    let mut at = HEAD;
    std::iter::from_fn(move || {
        if at >= spans.data as usize {
            return None;
        }
        let raw = next(bytes, at)?;
        at = raw.end;
        let name = std::str::from_utf8(raw.name).ok()?;
        let text = std::str::from_utf8(raw.value).ok()?;
        Some(Attribute {
            name,
            text,
            tag: raw.tag,
        })
    })
}

struct Raw<'a> {
    tag: u8,
    name: &'a [u8],
    value: &'a [u8],
    end: usize,
}

fn next(bytes: &[u8], at: usize) -> Option<Raw<'_>> {
    let head = bytes.get(at..at + ATTRIBUTE_HEAD)?;
    let name_end = at + ATTRIBUTE_HEAD + usize::from(head[0]);
    let value_len = u32::from_le_bytes([head[2], head[3], head[4], head[5]]) as usize;
    let end = name_end.checked_add(value_len)?;
    Some(Raw {
        tag: head[1],
        name: bytes.get(at + ATTRIBUTE_HEAD..name_end)?,
        value: bytes.get(name_end..end)?,
        end,
    })
}

#[cfg(test)]
mod tests {
    use crate::Event;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(event) = Event::decode(bytes.into()) {
                assert!(event.attributes().count() <= 65_535);
                assert!(event.data().is_none_or(|d| d.bytes.len() <= 200));
            }
        }

        #[test]
        fn a_changed_byte_never_panics(at in 0usize..80, to in any::<u8>()) {
            let event = Event::builder("id", "/source", "type").subject("s").json("{}").build().unwrap();
            let mut bytes = event.encoded().to_vec();
            let at = at % bytes.len();
            bytes[at] = to;
            if let Ok(event) = Event::decode(bytes.into()) {
                assert!(event.attributes().count() <= 65_535);
                assert!(event.data().is_none_or(|d| d.bytes.len() <= 200));
            }
        }
    }
}
