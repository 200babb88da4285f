//! What checking an input against a schema can cost, seen from the schema alone. Pure.
//!
//! A few definitions, each naming the next one twice, are a schema of a few lines that makes as many checks as there are
//! grains of sand. So references are counted as often as they are followed ([`Shape::weight`]), and those that lead back
//! to where they stand apart ([`Shape::visits`]): what they cost depends on how deep an input is.

mod cost;

use std::borrow::Cow;
use std::collections::HashMap;
use std::ptr::from_ref;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use self::cost::{Costs, Level, Reference};

/// Keywords that name another schema.
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];
/// The plain one of them; which document the others mean depends on the way that led to them.
const PLAIN: &str = "$ref";
/// Where schemas stand that are followed only by name.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];
/// Keywords whose members have names of the author's own.
const MAPS: [&str; 6] = [
    "properties",
    "patternProperties",
    "dependentSchemas",
    "dependencies",
    "$defs",
    "definitions",
];
/// Keywords whose schemas are for what is in a value; those of all others are for the value.
const DEEPER: [&str; 10] = [
    "properties",
    "patternProperties",
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
    "items",
    "prefixItems",
    "additionalItems",
    "unevaluatedItems",
    "contains",
];
/// Schemas that are named; with more a schema is too heavy whatever is in them.
const MOST_NAMED: usize = 2000;
/// The same of references, each as often as there are schemas it may mean.
const MOST_REFERENCES: usize = 20_000;

/// How large a schema is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Values in it, those behind a reference once for each time it is followed, but not back to itself.
    pub(super) weight: u64,
    level: Level,
}

impl Shape {
    pub(super) fn of(schema: &Value) -> Self {
        let mut graph = Graph::default();
        graph.take(schema, None);
        if !graph.follow(schema) {
            let level = Level { met: 1, deeper: 0 };
            return Self {
                weight: u64::MAX,
                level,
            };
        }
        let mut costs = Costs::new(graph.sizes, graph.named);
        Self {
            weight: costs.weight(),
            level: costs.level(),
        }
    }

    /// Whether there are inputs of which a value is looked at more than once.
    pub(super) fn branches(&self) -> bool {
        self.visits(1) > 1
    }

    /// How often a value as deep as this may be looked at.
    pub(super) fn visits(&self, depth: usize) -> u64 {
        let depth = u32::try_from(depth).unwrap_or(u32::MAX);
        let Level { met, deeper } = self.level;
        met.saturating_mul(deeper.max(1).saturating_pow(depth))
    }
}

/// A schema that others can name by its identifier, and the whole one.
#[derive(Debug)]
struct Document<'a> {
    schema: &'a Value,
    /// The one it stands in.
    around: Option<usize>,
}

/// The whole schema and every one that is named, by which name others. Values are known by where they are in memory:
/// their paths may be long and many.
///
/// Drafts differ in what an identifier is (`id`, `$id`, one beside a `$ref`) and what is relative to it. Here
/// everything is one and a reference means whatever it may mean in any draft: that only makes a schema heavier.
#[derive(Debug, Default)]
struct Graph<'a> {
    documents: Vec<Document<'a>>,
    /// Documents by the last part of their identifiers.
    identified: HashMap<Cow<'a, str>, Vec<usize>>,
    /// Of each object, the document it belongs to.
    within: HashMap<*const Value, usize>,
    /// Schemas with a name within their document.
    anchors: HashMap<(usize, &'a str), &'a Value>,
    /// Schemas that are followed, and their index in the lists below.
    places: HashMap<*const Value, usize>,
    sizes: Vec<u64>,
    /// For each, the named ones, as often as they are.
    named: Vec<Vec<Reference>>,
}

impl<'a> Graph<'a> {
    /// Finds what can be named. `document` is the one this belongs to; the whole is one in any case.
    fn take(&mut self, schema: &'a Value, document: Option<usize>) {
        let text = |key: &str| schema.get(key).and_then(Value::as_str);
        let said = || [text("$id"), text("id")].into_iter().flatten();
        let ids: Vec<&str> = said().filter(|id| !id.starts_with('#')).collect();
        let own = match document {
            Some(document) if ids.is_empty() => document,
            around => {
                self.documents.push(Document { schema, around });
                self.documents.len() - 1
            }
        };
        for id in ids {
            let id = id.split_once('#').map_or(id, |(id, _)| id);
            let known = self.identified.entry(last_part(id)).or_default();
            if known.last() != Some(&own) {
                known.push(own);
            }
        }
        let old = said().filter_map(|id| id.strip_prefix('#'));
        for anchor in [text("$anchor"), text("$dynamicAnchor")]
            .into_iter()
            .flatten()
            .chain(old)
        {
            self.anchors.insert((own, anchor), schema);
        }
        if schema.is_object() {
            self.within.insert(from_ref(schema), own);
        }
        for (_, value) in children(schema) {
            self.take(value, Some(own));
        }
    }

    /// Counts the schema and every one that it names, directly or not; `false` when they are too many.
    fn follow(&mut self, root: &'a Value) -> bool {
        let mut references = 0;
        let mut open = vec![root];
        self.index(root);
        while let Some(schema) = open.pop() {
            let mut found = Vec::new();
            let size = self.count(schema, Part::Schema, false, &mut found);
            references += found.len();
            if references > MOST_REFERENCES {
                return false;
            }
            let at = self.index(schema);
            self.sizes[at] = size;
            for (target, deeper) in found {
                let known = self.places.contains_key(&from_ref(target));
                let to = self.index(target);
                self.named[at].push(Reference { to, deeper });
                if !known {
                    open.push(target);
                }
            }
            if self.sizes.len() > MOST_NAMED {
                return false;
            }
        }
        true
    }

    fn index(&mut self, schema: &'a Value) -> usize {
        if let Some(at) = self.places.get(&from_ref(schema)) {
            return *at;
        }
        let at = self.sizes.len();
        self.places.insert(schema, at);
        self.sizes.push(0);
        self.named.push(Vec::new());
        at
    }

    /// The values of a schema, and in `found` the schemas it names and whether they are for what is in a value; no more
    /// of them than are needed to see that they are too many.
    fn count(&self, schema: &'a Value, part: Part, deeper: bool, found: &mut Vec<(&'a Value, bool)>) -> u64 {
        let is_map = part == Part::Map;
        if let (Value::Object(members), false) = (schema, is_map) {
            for key in REFERENCES {
                if let Some(name) = members.get(key).and_then(Value::as_str)
                    && found.len() <= MOST_REFERENCES
                {
                    let targets = self.resolve(name, key, schema);
                    found.extend(targets.into_iter().map(|target| (target, deeper)));
                }
            }
        }
        let followed = children(schema).filter(|(key, _)| is_map || !DEFINITIONS.contains(key));
        let inner = followed.map(|(key, value)| {
            let part = match !is_map && MAPS.contains(&key) {
                true => Part::Map,
                false => Part::Schema,
            };
            let deeper = deeper || (!is_map && DEEPER.contains(&key));
            self.count(value, part, deeper, found)
        });
        1 + inner.sum::<u64>()
    }

    /// Where a name may lead to: `#/$defs/a`, `#anchor`, `https://example.org/other#/x`, `other`.
    fn resolve(&self, name: &str, key: &str, said_in: &'a Value) -> Vec<&'a Value> {
        let (document, fragment) = name.split_once('#').unwrap_or((name, ""));
        let all = || (0..self.documents.len()).collect();
        let documents: Vec<usize> = match &*last_part(document) {
            _ if key != PLAIN => all(),
            "" if document.is_empty() => self.around(said_in),
            "" | "." | ".." => all(),
            query if query.starts_with('?') => all(),
            last => self.identified.get(last).cloned().unwrap_or_default(),
        };
        let fragment = percent_decode_str(fragment).decode_utf8_lossy();
        let documents = documents.into_iter();
        let targets =
            documents.filter_map(
                |document| match fragment.starts_with('/') || fragment.is_empty() {
                    true => self.documents[document].schema.pointer(&fragment),
                    false => self.anchors.get(&(document, &*fragment)).copied(),
                },
            );
        targets.collect()
    }

    /// The documents that a schema stands in, the nearest first.
    fn around(&self, schema: &Value) -> Vec<usize> {
        let nearest = self.within.get(&from_ref(schema)).copied();
        std::iter::successors(nearest, |document| self.documents[*document].around).collect()
    }
}

/// What a value of a schema is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// A schema; all that is none is taken for one as well, which only makes it heavier.
    Schema,
    /// Schemas by names of the author's own.
    Map,
}

/// What follows the last slash of an identifier, as it is meant.
fn last_part(id: &str) -> Cow<'_, str> {
    let last = id.rsplit_once('/').map_or(id, |(_, last)| last);
    percent_decode_str(last).decode_utf8_lossy()
}

/// What a schema holds that may be schemas, under their keys.
fn children(schema: &Value) -> Box<dyn Iterator<Item = (&str, &Value)> + '_> {
    match schema {
        Value::Object(members) => Box::new(members.iter().map(|(key, value)| (key.as_str(), value))),
        Value::Array(items) => Box::new(items.iter().map(|value| ("", value))),
        _ => Box::new(std::iter::empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shape(schema: Value) -> (u64, u64) {
        let shape = Shape::of(&schema);
        (shape.weight, shape.level.deeper)
    }

    #[test]
    fn a_schema_weighs_what_it_makes_others_do() {
        // type; properties, a, type
        assert_eq!(shape(json!({"type": "object"})), (2, 0));
        assert_eq!(shape(json!({"properties": {"a": {"type": "string"}}})), (4, 0));
        let unused = json!({"$defs": {"a": {"type": "string"}}, "type": "object"});
        assert_eq!(shape(unused), (2, 0));
        let twice = json!({"$defs": {"a": {"type": "string"}}, "allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]});
        // The whole, allOf, two with a $ref each; then two that are an object with a type.
        assert_eq!(shape(twice), (6 + 4, 0));
    }

    #[test]
    fn doubling_is_seen_however_the_next_one_is_named() {
        let chain = |name: fn(usize) -> Value, own: fn(usize) -> Value| {
            let mut definitions = serde_json::Map::new();
            for n in 0..40 {
                let mut one = own(n);
                one["allOf"] = json!([{"$ref": name(n + 1)}, {"$ref": name(n + 1)}]);
                definitions.insert(format!("d{n}"), one);
            }
            definitions.insert("d40".to_owned(), own(40));
            json!({"$id": "https://example.org/all", "$ref": name(0), "$defs": definitions})
        };
        let pointer = chain(|n| json!(format!("#/$defs/d{n}")), |_| json!({}));
        let whole = chain(
            |n| json!(format!("https://example.org/all#/$defs/d{n}")),
            |_| json!({}),
        );
        let anchor = chain(
            |n| json!(format!("#a{n}")),
            |n| json!({"$anchor": format!("a{n}")}),
        );
        let id = chain(
            |n| json!(format!("d{n}")),
            |n| json!({"$id": format!("https://example.org/d{n}")}),
        );
        let inside = json!({"properties": {"$defs": pointer.clone()}});
        // A document of its own, whose references are its own, but named from outside by its place.
        let by_place = json!({"$ref": "#/$defs/own", "$defs": {"own": pointer.clone()}});
        // Identifiers in some drafts only; beside a `$ref` in some not even that.
        let old_id = chain(
            |n| json!(format!("#/$defs/d{n}")),
            |n| json!({"id": format!("x{n}")}),
        );
        let mut beside = chain(|n| json!(format!("#/$defs/d{n}")), |_| json!({}));
        for n in 0..40 {
            let link = json!({"$id": format!("x{n}"), "$ref": format!("#/$defs/d{}", n + 1)});
            beside["$defs"][format!("d{n}")] = json!({"allOf": [link, link]});
        }
        let relative = chain(
            |n| json!(format!("https://example.org/d{n}")),
            |n| json!({"$id": format!("d{n}")}),
        );
        let nobodys = chain(|n| json!(format!("json-schema:///#/$defs/d{n}")), |_| json!({}));
        let dynamic = {
            let mut definitions = serde_json::Map::new();
            for n in 0..=40 {
                let next = json!({"$dynamicRef": format!("#a{}", n + 1)});
                let one = json!({"$dynamicAnchor": format!("a{n}"), "allOf": [next, next]});
                definitions.insert(format!("d{n}"), one);
            }
            json!({"$dynamicRef": "#a0", "$defs": definitions})
        };
        for schema in [
            pointer, whole, anchor, id, inside, by_place, old_id, beside, relative, nobodys, dynamic,
        ] {
            let Shape { weight, level } = Shape::of(&schema);
            assert!(
                weight > 1 << 40 && level.deeper == 0,
                "{weight} {level:?}: {schema}"
            );
        }
    }

    #[test]
    fn finding_out_what_a_schema_weighs_costs_little_whatever_it_is() {
        let began = std::time::Instant::now();
        // Many identifiers below a long key, and many names that are almost theirs.
        let (mut ids, mut names) = (serde_json::Map::new(), Vec::new());
        for n in 0..7000 {
            ids.insert(format!("a{n}"), json!({"$id": format!("x{n}")}));
            names.push(json!({"$ref": format!("y{n}")}));
        }
        let many = json!({"k".repeat(100_000): ids, "allOf": names});
        let same = json!({
            "$defs": (0..7000).map(|_| json!({"$id": "x/y"})).collect::<Vec<_>>(),
            "allOf": (0..7000).map(|_| json!({"$ref": "y"})).collect::<Vec<_>>(),
        });

        assert!(Shape::of(&many).weight < u64::MAX);
        assert_eq!(Shape::of(&same).weight, u64::MAX, "each may be any of them");
        let took = began.elapsed();
        assert!(took < std::time::Duration::from_secs(10), "{took:?}");
    }

    #[test]
    fn what_leads_back_to_itself_is_counted_and_not_followed() {
        let tree = json!({"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}});
        assert_eq!(shape(tree.clone()), (6, 2));
        assert_eq!(Shape::of(&tree).visits(10), 1024);
        assert_eq!(Shape::of(&tree).visits(100), u64::MAX);
        let list = json!({"properties": {"next": {"$ref": "#"}}});
        assert_eq!(Shape::of(&list).visits(100), 1);
        let each_other = json!({
            "$ref": "#/$defs/a",
            "$defs": {"a": {"items": {"$ref": "#/$defs/b"}}, "b": {"items": {"$ref": "#/$defs/a"}}},
        });
        assert_eq!(Shape::of(&each_other).visits(100), 1);
        assert_eq!(shape(json!({"$ref": "#"})), (2, u64::MAX));
        assert_eq!(shape(json!({"$ref": "nowhere#/x"})), (2, 0));
        assert_eq!(shape(json!({"properties": {"$ref": {"$ref": "#"}}})), (4, 1));
    }

    #[test]
    fn what_is_doubled_on_the_way_back_to_itself_is_seen() {
        let doubling = |end: Value| {
            let mut definitions = serde_json::Map::new();
            for n in 0..40 {
                let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
                definitions.insert(format!("d{n}"), json!({"allOf": [next, next]}));
            }
            definitions.insert("d40".to_owned(), end);
            definitions
        };
        // All of them lead back: not one level of an input may be told of.
        let back = json!({"$ref": "#/$defs/d0"});
        let around = json!({"$ref": "#/$defs/d0", "$defs": doubling(json!({"type": "object", "properties": {"a": back}}))});
        let around = Shape::of(&around);
        assert!(around.weight < 1000 && around.visits(0) > 1 << 40, "{around:?}");

        // They are met only behind one that leads back.
        let mut definitions = doubling(json!({"type": "object"}));
        definitions.insert(
            "a".to_owned(),
            json!({"properties": {"b": {"$ref": "#/$defs/b"}}}),
        );
        let b = json!({"properties": {"a": {"$ref": "#/$defs/a"}, "d": {"$ref": "#/$defs/d0"}}});
        definitions.insert("b".to_owned(), b);
        let behind = Shape::of(&json!({"$ref": "#/$defs/a", "$defs": definitions}));
        assert!(behind.weight > 1 << 40, "{behind:?}");
    }
}
