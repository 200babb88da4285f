//! The JSON Schema of an event's `data`, for any of vim25's event classes: `--schema=VmPoweredOnEvent`. `--schema` alone
//! names them all.
//!
//! Made from the same table by which `data` itself is made, so the two cannot disagree. Whatever vCenter may leave out
//! is not required, and newer vCenters may add fields. What stands in an event but is none of its own structures
//! (a machine's configuration) is an object and no more.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::naming::{bare, dispatch_type};
use crate::schema::{Field, Kind, event_classes, fields_of, is_a};

/// The types of all event classes, as the scheme `dispatch` names them, in order.
pub fn payload_types() -> Vec<String> {
    let mut types: Vec<String> = event_classes().map(dispatch_type).collect();
    types.sort();
    types
}

/// The schema of a class, by its name in any scheme. What is no event class has none.
pub fn payload_schema(name: &str) -> Option<Value> {
    let name = bare(name.trim());
    let class = event_classes().find(|class| *class == name || dispatch_type(class) == name)?;
    let mut structures = BTreeMap::new();
    let mut properties = properties(class, &mut structures);
    properties.insert("_type".to_owned(), json!({"const": class}));
    properties.insert("createdTime".to_owned(), time());
    properties.insert("_inventory".to_owned(), inventory());
    Some(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": class,
        "type": "object",
        "required": ["_type", "key", "createdTime"],
        "properties": properties,
        "$defs": structures,
    }))
}

fn properties(ty: &str, structures: &mut BTreeMap<&'static str, Value>) -> Map<String, Value> {
    let fields = fields_of(ty);
    let all = fields.into_iter();
    all.map(|(name, field)| (name.to_owned(), of_field(field, structures)))
        .collect()
}

fn of_field(field: Field, structures: &mut BTreeMap<&'static str, Value>) -> Value {
    let one = match field.kind {
        Kind::Integer => json!({"type": "integer"}),
        Kind::Boolean => json!({"type": "boolean"}),
        Kind::Float => json!({"type": "number"}),
        Kind::Text => json!({"type": "string"}),
        Kind::Reference => json!({
            "type": "object",
            "required": ["type", "value"],
            "properties": {"type": {"type": "string"}, "value": {"type": "string"}},
        }),
        Kind::Plain => json!({}),
        Kind::Structure(ty) if is_a(ty, "EventArgument") => {
            // Named before it is filled: a structure may hold its own kind.
            if !structures.contains_key(ty) {
                structures.insert(ty, Value::Null);
                let properties = properties(ty, structures);
                structures.insert(ty, json!({"type": "object", "properties": properties}));
            }
            json!({"$ref": format!("#/$defs/{ty}")})
        }
        Kind::Structure(_) => json!({"type": "object"}),
    };
    match field.list {
        true => json!({"type": "array", "items": one}),
        false => one,
    }
}

/// What the setting `enrich` adds.
fn inventory() -> Value {
    json!({
        "type": "object",
        "properties": {
            "path": {"type": "string"},
            "attributes": {"type": "object", "additionalProperties": {"type": "string"}},
            "tags": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}},
        },
    })
}

fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Origin;
    use crate::record::Record;

    #[test]
    fn every_event_class_has_a_schema_in_which_every_reference_leads_somewhere() {
        for class in event_classes() {
            let schema = payload_schema(class).unwrap();
            let text = schema.to_string();
            for part in text.split("#/$defs/").skip(1) {
                let name = part.split('"').next().unwrap();
                assert!(schema["$defs"][name].is_object(), "{class}: {name}");
            }
            assert_eq!(schema["properties"]["key"]["type"], "integer", "{class}");
        }
    }

    /// As much of JSON Schema as ours use; where it does not fit.
    fn misfit(value: &Value, schema: &Value, root: &Value, path: &str) -> Option<String> {
        if let Some(name) = schema["$ref"].as_str() {
            let inner = root.pointer(name.trim_start_matches('#')).unwrap();
            return misfit(value, inner, root, path);
        }
        let fits = match schema["type"].as_str() {
            None => schema.get("const").is_none_or(|only| only == value),
            Some("integer") => value.is_i64(),
            Some("boolean") => value.is_boolean(),
            Some("number") => value.is_number(),
            Some("string") => value.is_string(),
            Some("array") => value.is_array(),
            Some(_) => value.is_object(),
        };
        if !fits {
            return Some(format!("{path}: {value} is not {schema}"));
        }
        let required = schema["required"].as_array().into_iter().flatten();
        let mut missing = required.filter(|name| value.get(name.as_str().unwrap()).is_none());
        if let Some(name) = missing.next() {
            return Some(format!("{path}: {name} is missing"));
        }
        let items = value.as_array().into_iter().flatten();
        let mut items = items.filter_map(|v| misfit(v, &schema["items"], root, path));
        let properties = schema["properties"].as_object().into_iter().flatten();
        let mut inside = properties
            .filter_map(|(name, inner)| misfit(value.get(name)?, inner, root, &format!("{path}.{name}")));
        items.next().or_else(|| inside.next())
    }

    #[test]
    fn payloads_fit_the_schema_of_their_class() {
        let path = format!("{}/tests/recorded/page.xml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let answer = crate::soap::answer(&text).unwrap();
        let records = answer.children.into_iter().map(|e| Record::new(e, &text));
        for record in records {
            let schema = payload_schema(&record.class).unwrap();
            let origin = Origin {
                source: "https://vc/sdk".to_owned(),
                ..Origin::default()
            };
            let event = record.to_event(&origin);
            let data: Value = serde_json::from_slice(event.unwrap().data().unwrap().bytes).unwrap();
            assert_eq!(misfit(&data, &schema, &schema, ""), None);

            let mut wrong = data.clone();
            wrong["key"] = "seven".into();
            assert!(misfit(&wrong, &schema, &schema, "").is_some());
            wrong = data;
            wrong["vm"] = json!({"name": 7});
            let knows_vm = schema["properties"].get("vm").is_some();
            assert_eq!(misfit(&wrong, &schema, &schema, "").is_some(), knows_vm);
        }
    }

    #[test]
    fn the_schemas_that_are_kept_are_those_that_are_printed() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas");
        let mut kept = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let class = path.file_stem().unwrap().to_str().unwrap();
            let printed = format!("{:#}\n", payload_schema(class).unwrap());
            assert_eq!(
                std::fs::read_to_string(&path).unwrap(),
                printed,
                "{class}: write it anew"
            );
            kept += 1;
        }
        assert!(kept >= 30, "{kept}");
    }

    #[test]
    fn every_type_that_is_named_has_its_schema() {
        let types = payload_types();
        assert_eq!(types.len(), 443);
        assert!(types.is_sorted() && types.contains(&"vm.powered.on".to_owned()));
        assert!(types.iter().all(|ty| payload_schema(ty).is_some()));
    }

    #[test]
    fn a_schema_is_found_by_each_name_and_knows_the_class_s_own_fields() {
        let migrated = payload_schema("VmMigratedEvent").unwrap();
        assert_eq!(
            migrated["properties"]["sourceHost"]["$ref"],
            "#/$defs/HostEventArgument"
        );
        assert_eq!(
            migrated["$defs"]["HostEventArgument"]["properties"]["name"]["type"],
            "string"
        );
        assert_eq!(payload_schema("vm.migrated"), Some(migrated.clone()));
        assert_eq!(
            payload_schema("com.vmware.vsphere.VmMigratedEvent.v0"),
            Some(migrated)
        );
        let alarm = payload_schema("alarm.status.changed").unwrap();
        assert_eq!(alarm["properties"]["from"]["type"], "string");
        assert_eq!(payload_schema("VirtualMachine"), None);
        assert_eq!(payload_schema("nothing"), None);
    }
}
