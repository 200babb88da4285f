//! What checking an input against a schema can cost, seen from the schema alone. Pure.
//!
//! A few definitions, each naming the next one twice, are a schema of a few lines that makes as many checks as there are
//! grains of sand. So references are counted as often as they are followed ([`Shape::weight`]), and those that lead back
//! to where they stand ([`Shape::recursions`]) apart: what they cost depends on how deep an input is.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;
use serde_json::Value;

/// Keywords that name another schema.
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];
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
/// Schemas that are named; with more a schema is too heavy whatever is in them.
const MOST_NAMED: usize = 2000;

/// How large a schema is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Values in it, those behind a reference once for each time it is followed, but not back to itself.
    pub(super) weight: u64,
    /// References that lead back to themselves.
    pub(super) recursions: u32,
}

impl Shape {
    pub(super) fn of(schema: &Value) -> Self {
        let mut graph = Graph::default();
        graph.name(schema, String::new(), String::new());
        if !graph.follow(schema) {
            return Self {
                weight: u64::MAX,
                recursions: 0,
            };
        }
        let recursions = graph.forget_recursions();
        Self {
            weight: graph.weight(0),
            recursions,
        }
    }

    /// How often a value as deep as this may be looked at.
    pub(super) fn visits(&self, depth: usize) -> u64 {
        let depth = u32::try_from(depth).unwrap_or(u32::MAX);
        u64::from(self.recursions.max(1)).saturating_pow(depth)
    }
}

/// The whole schema and every one that is named, by which name others.
#[derive(Debug, Default)]
struct Graph {
    /// Identifiers (`$id`) and anchors, and where they stand.
    names: HashMap<String, String>,
    /// Places, and their index in the lists below.
    places: HashMap<String, usize>,
    sizes: Vec<u64>,
    /// For each, the named ones, as often as they are.
    named: Vec<Vec<usize>>,
    weights: Vec<Option<u64>>,
}

impl Graph {
    /// Finds what can be named. `base` is the place of the document this belongs to.
    fn name(&mut self, schema: &Value, place: String, base: String) {
        let text = |key: &str| schema.get(key).and_then(Value::as_str);
        let id = text("$id")
            .or_else(|| text("id"))
            .filter(|id| !id.starts_with('#'));
        let base = match id {
            Some(id) => {
                self.names
                    .insert(id.trim_end_matches('#').to_owned(), place.clone());
                place.clone()
            }
            None => base,
        };
        let old = text("$id")
            .or_else(|| text("id"))
            .and_then(|id| id.strip_prefix('#'));
        for anchor in [text("$anchor"), text("$dynamicAnchor"), old]
            .into_iter()
            .flatten()
        {
            self.names.insert(format!("{base}#{anchor}"), place.clone());
        }
        for (key, value) in children(schema) {
            self.name(value, format!("{place}/{key}"), base.clone());
        }
    }

    /// Counts the schema and every one that it names, directly or not; `false` when they are too many.
    fn follow(&mut self, root: &Value) -> bool {
        let mut open = vec![(String::new(), String::new())];
        self.index(&open[0].0.clone());
        while let Some((place, base)) = open.pop() {
            let Some(schema) = root.pointer(&place) else {
                continue;
            };
            let mut found = Vec::new();
            let size = self.count(schema, &base, Part::Whole, &mut found);
            let at = self.index(&place);
            self.sizes[at] = size;
            for (target, base) in found {
                let known = self.places.contains_key(&target);
                let to = self.index(&target);
                self.named[at].push(to);
                if !known {
                    open.push((target, base));
                }
            }
            if self.sizes.len() > MOST_NAMED {
                return false;
            }
        }
        true
    }

    fn index(&mut self, place: &str) -> usize {
        if let Some(at) = self.places.get(place) {
            return *at;
        }
        let at = self.sizes.len();
        self.places.insert(place.to_owned(), at);
        self.sizes.push(0);
        self.named.push(Vec::new());
        self.weights.push(None);
        at
    }

    /// The values of a schema, and in `found` what it names: the place, and that of its document.
    fn count(&self, schema: &Value, base: &str, part: Part, found: &mut Vec<(String, String)>) -> u64 {
        let id = schema
            .get("$id")
            .or_else(|| schema.get("id"))
            .and_then(Value::as_str);
        let own = id
            .filter(|_| part == Part::Schema)
            .and_then(|id| self.names.get(id.trim_end_matches('#')));
        let base = own.map_or(base, String::as_str);
        let is_map = part == Part::Map;
        if let (Value::Object(members), false) = (schema, is_map) {
            let names = REFERENCES.iter().filter_map(|key| members.get(*key)?.as_str());
            found.extend(names.filter_map(|name| self.resolve(name, base)));
        }
        let followed = children(schema).filter(|(key, _)| is_map || !DEFINITIONS.contains(&key.as_str()));
        let inner = followed.map(|(key, value)| {
            let part = match !is_map && MAPS.contains(&key.as_str()) {
                true => Part::Map,
                false => Part::Schema,
            };
            self.count(value, base, part, found)
        });
        1 + inner.sum::<u64>()
    }

    /// Where a name leads to: `#/$defs/a`, `#anchor`, `https://example.org/other#/x`, `other`.
    fn resolve(&self, name: &str, base: &str) -> Option<(String, String)> {
        let (document, fragment) = name.split_once('#').unwrap_or((name, ""));
        let base = match document {
            "" => base.to_owned(),
            document => {
                let of = |(id, _): &(&String, &String)| {
                    id.as_str() == document || id.ends_with(&format!("/{document}"))
                };
                self.names.iter().find(of)?.1.clone()
            }
        };
        let fragment = percent_decode_str(fragment).decode_utf8_lossy();
        let place = match fragment.starts_with('/') || fragment.is_empty() {
            true => format!("{base}{fragment}"),
            false => self.names.get(&format!("{base}#{fragment}"))?.clone(),
        };
        Some((place, base))
    }

    /// Takes out the references that lead back to where they stand; how many.
    fn forget_recursions(&mut self) -> u32 {
        let reached: Vec<Vec<bool>> = (0..self.named.len()).map(|at| self.reached(at)).collect();
        let mut recursions: u32 = 0;
        for (at, named) in self.named.iter_mut().enumerate() {
            named.retain(|to| {
                let back = reached[*to][at];
                recursions = recursions.saturating_add(u32::from(back));
                !back
            });
        }
        recursions
    }

    fn reached(&self, from: usize) -> Vec<bool> {
        let mut seen = vec![false; self.named.len()];
        let mut open = vec![from];
        while let Some(at) = open.pop() {
            if !std::mem::replace(&mut seen[at], true) {
                open.extend(&self.named[at]);
            }
        }
        seen
    }

    fn weight(&mut self, at: usize) -> u64 {
        if let Some(known) = self.weights[at] {
            return known;
        }
        let named = std::mem::take(&mut self.named[at]);
        let weight = named
            .into_iter()
            .fold(self.sizes[at], |sum, to| sum.saturating_add(self.weight(to)));
        self.weights[at] = Some(weight);
        weight
    }
}

/// What a value of a schema is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The schema that was named, whose document is known.
    Whole,
    /// One within it; all that is no schema is taken for one as well, which only makes it heavier.
    Schema,
    /// Schemas by names of the author's own.
    Map,
}

/// What a schema holds that may be schemas, under keys as pointers write them.
fn children(schema: &Value) -> Box<dyn Iterator<Item = (String, &Value)> + '_> {
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match schema {
        Value::Object(members) => Box::new(members.iter().map(move |(key, value)| (escaped(key), value))),
        Value::Array(items) => Box::new(
            items
                .iter()
                .enumerate()
                .map(|(at, value)| (at.to_string(), value)),
        ),
        _ => Box::new(std::iter::empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shape(schema: Value) -> (u64, u32) {
        let Shape { weight, recursions } = Shape::of(&schema);
        (weight, recursions)
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
        for schema in [pointer, whole, anchor, id, inside] {
            let Shape { weight, recursions } = Shape::of(&schema);
            assert!(
                weight > 1 << 40 && recursions == 0,
                "{weight} {recursions}: {schema}"
            );
        }
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
        assert_eq!(Shape::of(&each_other).recursions, 2);
        assert_eq!(shape(json!({"$ref": "#"})), (2, 1));
        assert_eq!(shape(json!({"$ref": "nowhere#/x"})), (2, 0));
        assert_eq!(shape(json!({"properties": {"$ref": {"$ref": "#"}}})), (4, 1));
    }
}
