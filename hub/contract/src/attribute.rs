//! Attributes: their names, their values and their types (CloudEvents 1.0.2, section 3).

use std::fmt;

use crate::encoding;
use crate::event::EventError;

/// The most attributes an event may have, `specversion` not counted.
pub const MAX_ATTRIBUTES: usize = 64;
/// The longest attribute value, in bytes.
pub const MAX_ATTRIBUTE_BYTES: usize = 8 * 1024;
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

pub(crate) fn is_context_attribute(name: &str) -> bool {
    matches!(
        name,
        "id" | "source" | "type" | "subject" | "time" | "datacontenttype" | "dataschema" | "specversion"
    )
}
