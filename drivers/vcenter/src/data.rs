//! An event's XML as JSON: vim25's own names, numbers and lists where the schema says so.
//!
//! References become `{"type","value"}`, times stay as written, `_type` names a structure's class wherever
//! the XML does. Integers keep all their digits. Unknown structures lose nothing: values are text, and
//! repeated elements become lists.

use serde_json::{Map, Number, Value, json};

use crate::schema::{self, Field, Kind};
use crate::xml::Element;

/// More JSON than this is cut, field by field; hubs refuse events of a megabyte.
pub(crate) const MAX_DATA: usize = 256 * 1024;
/// What a field may have in an event that is cut.
const MAX_FIELD: usize = 8 * 1024;

/// The fields of a structure; `ty` is what is known of its type.
pub(crate) fn object(element: &Element, ty: &str) -> Map<String, Value> {
    let mut fields = Map::new();
    for child in &element.children {
        let Field { kind, list } = schema::field_of(ty, &child.name);
        let one = value(child, kind);
        match fields.get_mut(&child.name) {
            Some(Value::Array(several)) if list || is_several(several, element, &child.name) => {
                several.push(one)
            }
            Some(first) => *first = json!([first.take(), one]),
            None if list => {
                fields.insert(child.name.clone(), json!([one]));
            }
            None => {
                fields.insert(child.name.clone(), one);
            }
        }
    }
    fields
}

/// Whether an array is our own gathering of repeated elements, not the one value of a first element.
fn is_several(several: &[Value], element: &Element, name: &str) -> bool {
    let arrays = element
        .all(name)
        .next()
        .and_then(|first| first.xsi_type.as_deref())
        .is_some_and(is_array_type);
    !arrays || several.first().is_some_and(Value::is_array)
}

fn is_array_type(ty: &str) -> bool {
    ty.starts_with("ArrayOf")
}

fn value(element: &Element, declared: Kind) -> Value {
    if let Some(ty) = element
        .reference_type
        .as_deref()
        .filter(|_| element.children.is_empty())
    {
        return json!({"type": ty, "value": element.text.trim()});
    }
    let Some(named) = element.xsi_type.as_deref() else {
        return of_kind(element, declared);
    };
    if is_array_type(named) {
        let items = |item: &Element| value(item, array_item(named));
        return element.children.iter().map(items).collect();
    }
    match schema::kind_named(named) {
        Some(Kind::Structure(ty)) => with_type(object(element, ty), named),
        Some(kind) => of_kind(element, kind),
        None if element.children.is_empty() && !element.text.trim().is_empty() => element.text.clone().into(),
        None => with_type(object(element, named), named),
    }
}

/// `ArrayOfInt` holds `int`, `ArrayOfKeyValue` holds `KeyValue`.
fn array_item(ty: &str) -> Kind {
    let item = ty.strip_prefix("ArrayOf").unwrap_or(ty);
    let primitive = item.to_ascii_lowercase();
    schema::kind_named(item)
        .or_else(|| schema::kind_named(&primitive))
        .unwrap_or(Kind::Plain)
}

fn with_type(mut fields: Map<String, Value>, ty: &str) -> Value {
    fields.insert("_type".to_owned(), ty.into());
    fields.into()
}

fn of_kind(element: &Element, kind: Kind) -> Value {
    let text = || Value::from(element.text.as_str());
    let word = element.text.trim();
    match kind {
        Kind::Structure(ty) => object(element, ty).into(),
        _ if !element.children.is_empty() => object(element, "").into(),
        Kind::Integer => word.parse::<i64>().map_or_else(|_| text(), Value::from),
        Kind::Float => word
            .parse()
            .ok()
            .and_then(Number::from_f64)
            .map_or_else(text, Value::from),
        Kind::Boolean => match word {
            "true" | "1" => true.into(),
            "false" | "0" => false.into(),
            _ => text(),
        },
        Kind::Plain | Kind::Text | Kind::Reference => text(),
    }
}

/// Leaves large fields out of an event that would be refused for its size, and says which.
pub(crate) fn bounded(fields: Map<String, Value>) -> Value {
    let whole = Value::from(fields);
    if whole.to_string().len() <= MAX_DATA {
        return whole;
    }
    let Value::Object(mut fields) = whole else {
        return whole;
    };
    let large: Vec<String> = fields
        .iter()
        .filter(|(_, v)| v.to_string().len() > MAX_FIELD)
        .map(|(name, _)| name.clone())
        .collect();
    for name in &large {
        fields.remove(name);
    }
    fields.insert("_left_out".to_owned(), large.into());
    fields.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::parse;

    fn data(ty: &str, inside: &str) -> Value {
        let text = format!(
            r#"<e xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">{inside}</e>"#
        );
        object(&parse(&text).unwrap(), ty).into()
    }

    #[test]
    fn numbers_booleans_and_references_are_what_the_schema_says() {
        let got = data(
            "VmPoweredOnEvent",
            r#"<key>-7</key><userName>42</userName><template>false</template>
               <vm><name>true</name><vm type="VirtualMachine">vm-57</vm></vm>"#,
        );
        let want = json!({
            "key": -7, "userName": "42", "template": false,
            "vm": {"name": "true", "vm": {"type": "VirtualMachine", "value": "vm-57"}},
        });
        assert_eq!(got, want);
    }

    #[test]
    fn a_list_of_one_is_a_list_and_large_numbers_keep_their_digits() {
        let got = data(
            "EventEx",
            r#"<arguments><key>5</key><value xsi:type="xsd:long">9223372036854775807</value></arguments>"#,
        );
        assert_eq!(
            got.to_string(),
            r#"{"arguments":[{"key":"5","value":9223372036854775807}]}"#
        );
    }

    #[test]
    fn a_value_says_its_type_where_the_schema_cannot() {
        let got = data(
            "EventEx",
            r#"<arguments><key>a</key><value xsi:type="ArrayOfString"><string>1</string><string>2</string></value></arguments>
               <arguments><key>b</key><value xsi:type="ArrayOfInt"><int>1</int></value></arguments>
               <arguments><key>c</key><value xsi:type="ManagedObjectReference" type="HostSystem">host-1</value></arguments>
               <arguments><key>d</key><value xsi:type="Unheard"><x>1</x></value></arguments>"#,
        );
        let values: Vec<Value> = got["arguments"]
            .as_array()
            .unwrap()
            .iter()
            .map(|a| a["value"].clone())
            .collect();
        let want = json!([["1", "2"], [1], {"type": "HostSystem", "value": "host-1"}, {"_type": "Unheard", "x": "1"}]);
        assert_eq!(Value::from(values), want);
    }

    #[test]
    fn structures_of_a_special_type_are_read_as_that_type() {
        let got = data(
            "VmReconfiguredEvent",
            r#"<configSpec><deviceChange xsi:type="VirtualDeviceConfigSpec"><device xsi:type="VirtualDisk">
               <key>202</key><capacityInKB>1024</capacityInKB></device></deviceChange></configSpec>"#,
        );
        let want = json!([{"_type": "VirtualDeviceConfigSpec",
            "device": {"_type": "VirtualDisk", "key": 202, "capacityInKB": 1024}}]);
        assert_eq!(got["configSpec"]["deviceChange"], want);
    }

    #[test]
    fn an_unknown_class_keeps_everything() {
        let got = data(
            "AcmeVendorEvent",
            "<n>7</n><part><a>1</a></part><part><a>2</a></part><part/><part/>",
        );
        assert_eq!(got, json!({"n": "7", "part": [{"a": "1"}, {"a": "2"}, "", ""]}));
    }

    #[test]
    fn a_number_that_is_none_stays_text() {
        let got = data("VmPoweredOnEvent", "<key>seven</key><template>perhaps</template>");
        assert_eq!(got, json!({"key": "seven", "template": "perhaps"}));
    }
}
