//! How much of a payload there is to check. Pure.

use serde_json::Value;

/// How large a payload is.
pub(super) struct Extent {
    /// All in it.
    pub(super) values: u64,
    /// Lists and objects within each other.
    pub(super) depth: usize,
}

impl Extent {
    pub(super) fn of(value: &Value) -> Self {
        let items: Box<dyn Iterator<Item = &Value>> = match value {
            Value::Array(items) => Box::new(items.iter()),
            Value::Object(members) => Box::new(members.values()),
            _ => return Self { values: 1, depth: 0 },
        };
        items
            .map(Self::of)
            .fold(Self { values: 1, depth: 1 }, |all, item| Self {
                values: all.values + item.values,
                depth: all.depth.max(1 + item.depth),
            })
    }
}
