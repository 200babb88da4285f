//! What vim25 says about the types an event can contain: bases of a class, kinds of a field.
//!
//! XML alone does not tell the number 7 from the text "7", nor a list of one from a single value. The table
//! `schema.tsv` does (written by `schema.py`). A class it does not know is no error: such an event is passed on
//! with text for values and lists where elements repeat.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Deeper than any chain of bases.
const MAX_BASES: usize = 20;

static TYPES: LazyLock<HashMap<&'static str, Type>> = LazyLock::new(|| read(include_str!("schema.tsv")));

struct Type {
    base: &'static str,
    fields: Vec<(&'static str, Field)>,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field {
    /// One value's kind.
    pub(crate) kind: Kind,
    /// Whether there may be several.
    pub(crate) list: bool,
}

/// The kind of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A whole number.
    Integer,
    /// True or false.
    Boolean,
    /// A number.
    Float,
    /// Text, or a time.
    Text,
    /// A reference to an object.
    Reference,
    /// What `xsi:type` says: it shows in the XML.
    Plain,
    /// A structure of this type, unless `xsi:type` names a more special one.
    Structure(&'static str),
}

impl Field {
    /// A field nothing is known about.
    pub(crate) const UNKNOWN: Self = Self {
        kind: Kind::Plain,
        list: false,
    };
}

fn read(table: &'static str) -> HashMap<&'static str, Type> {
    let rows = table.lines().filter(|l| !l.starts_with('#')).filter_map(|line| {
        let mut columns = line.split('\t');
        let (name, base) = (columns.next()?, columns.next()?);
        let fields = columns.next()?.split(' ').filter_map(field).collect();
        Some((name, Type { base, fields }))
    });
    rows.collect()
}

fn field(text: &'static str) -> Option<(&'static str, Field)> {
    let (name, kind) = text.split_once('=')?;
    let one = kind.strip_suffix("[]");
    let list = one.is_some();
    let kind = match one.unwrap_or(kind) {
        "i" => Kind::Integer,
        "b" => Kind::Boolean,
        "f" => Kind::Float,
        "s" => Kind::Text,
        "r" => Kind::Reference,
        "any" => Kind::Plain,
        name => Kind::Structure(name),
    };
    Some((name, Field { kind, list }))
}

/// The kind that `xsi:type` names: a primitive of XML Schema, or a structure the table has.
pub(crate) fn kind_named(ty: &str) -> Option<Kind> {
    match ty {
        "byte" | "short" | "int" | "long" => Some(Kind::Integer),
        "boolean" => Some(Kind::Boolean),
        "float" | "double" => Some(Kind::Float),
        "string" | "dateTime" | "anyURI" | "base64Binary" => Some(Kind::Plain),
        _ => TYPES.get_key_value(ty).map(|(name, _)| Kind::Structure(name)),
    }
}

/// Whether the table has the type.
pub(crate) fn knows(ty: &str) -> bool {
    TYPES.contains_key(ty)
}

/// The type and its bases, nearest first.
fn lineage(ty: &str) -> impl Iterator<Item = (&'static str, &'static Type)> {
    let first = TYPES.get_key_value(ty);
    std::iter::successors(first, |(_, t)| TYPES.get_key_value(t.base))
        .map(|(n, t)| (*n, t))
        .take(MAX_BASES)
}

/// What a field of a type holds.
pub(crate) fn field_of(ty: &str, name: &str) -> Field {
    let found = lineage(ty).find_map(|(_, t)| t.fields.iter().find(|(n, _)| *n == name));
    found.map_or(Field::UNKNOWN, |(_, field)| *field)
}

/// All fields of a type that the table has, its bases' first.
pub(crate) fn fields_of(ty: &str) -> Vec<(&'static str, Field)> {
    let mut types: Vec<_> = lineage(ty).map(|(_, t)| t).collect();
    types.reverse();
    types.iter().flat_map(|t| t.fields.iter().copied()).collect()
}

/// Whether `class` is `base` or comes from it.
pub(crate) fn is_a(class: &str, base: &str) -> bool {
    class == base || lineage(class).any(|(name, _)| name == base)
}

/// The event class of which this one is a special case; not the family (`VmEvent`) to which both belong.
pub(crate) fn general(class: &str) -> Option<&'static str> {
    let mut bases = lineage(class).skip(1).map(|(name, _)| name);
    let (general, family) = (bases.next()?, bases.next()?);
    (family != "Event").then_some(general)
}

/// All event classes.
pub(crate) fn event_classes() -> impl Iterator<Item = &'static str> {
    TYPES.keys().copied().filter(|name| is_a(name, "Event"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_event_classes_are_known() {
        let names = include_str!("../tests/names.tsv")
            .lines()
            .filter_map(|l| l.split_once('\t'));
        for (class, _) in names {
            assert!(is_a(class, "Event"), "{class}");
        }
        assert_eq!(event_classes().count(), 443);
    }

    #[test]
    fn fields_are_inherited() {
        let integer = Field {
            kind: Kind::Integer,
            list: false,
        };
        assert_eq!(field_of("DrsVmPoweredOnEvent", "key"), integer);
        assert_eq!(
            field_of("EventEx", "arguments").kind,
            Kind::Structure("KeyAnyValue")
        );
        assert!(field_of("EventEx", "arguments").list);
        assert_eq!(field_of("AlarmStatusChangedEvent", "to").kind, Kind::Text);
        assert_eq!(field_of("VmEventArgument", "vm").kind, Kind::Reference);
        assert_eq!(field_of("KeyAnyValue", "key"), Field::UNKNOWN);
        assert_eq!(field_of("AcmeVendorEvent", "key"), Field::UNKNOWN);
    }

    #[test]
    fn classes_know_their_bases() {
        assert!(is_a("DrsVmPoweredOnEvent", "VmPoweredOnEvent"));
        assert!(is_a("DrsVmPoweredOnEvent", "Event"));
        assert!(!is_a("VmPoweredOnEvent", "DrsVmPoweredOnEvent"));
        assert!(is_a("AcmeVendorEvent", "AcmeVendorEvent"));
    }
}
