//! CloudEvents 0.1 to 1.0 and back: what old drivers and clients post, and what functions see as their event.
//!
//! | 0.1 | 1.0 |
//! |---|---|
//! | `eventType`, `eventID`, `source` | `type`, `id`, `source` |
//! | `eventTime` (the year 1 is "unknown") | `time` |
//! | `contentType` | `datacontenttype` |
//! | `schemaURL` | `dataschema` |
//! | `eventTypeVersion` | extension `eventtypeversion` |
//! | `extensions` | extensions: names in lower case, other characters dropped; what is no scalar as JSON text |
//!
//! On the way back `subject`, which 0.1 does not have, is one of `extensions`. Pure; no I/O.

use dispatch_contract::{DataKind, Event, EventError, Value, is_json_media_type};
use dispatch_schemas::{CLOUD_EVENTS_VERSION, CloudEvent, Emission};
use serde_json::value::RawValue;

/// How the original's servers write a time that is not known.
const UNKNOWN_TIME: &str = "0001-01-01T00:00:00Z";
const TYPE_VERSION: &str = "eventtypeversion";

/// The event of an emission that was checked by the original's rules, or the 0.1 field that is wrong.
pub(crate) fn event_of(emission: &Emission) -> Result<Event, EventError> {
    emission
        .check()
        .map_err(|invalid| EventError::new(invalid.field, invalid.problem))?;
    build(emission).map_err(|error| EventError {
        attribute: field_of(&error.attribute),
        ..error
    })
}

/// The event that [`context_of`] told, without its data.
pub(crate) fn rebuilt(told: &CloudEvent) -> Result<Event, EventError> {
    let told = told.clone();
    build(&Emission {
        event_type: told.event_type,
        event_type_version: told.event_type_version,
        cloud_events_version: told.cloud_events_version,
        source: told.source,
        event_id: told.event_id,
        event_time: told.event_time,
        schema_url: told.schema_url,
        content_type: told.content_type,
        extensions: told.extensions,
        ..Emission::default()
    })
}

fn build(emission: &Emission) -> Result<Event, EventError> {
    let mut builder = Event::builder(&emission.event_id, &emission.source, &emission.event_type);
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let content_type = given(&emission.content_type);
    let named = [
        (
            "time",
            given(&emission.event_time).filter(|time| time != UNKNOWN_TIME),
        ),
        ("datacontenttype", content_type.clone()),
        ("dataschema", given(&emission.schema_url)),
        (TYPE_VERSION, given(&emission.event_type_version)),
    ];
    for (name, value) in named {
        if let Some(value) = value {
            builder = builder.attribute(name, value);
        }
    }
    for (name, value) in emission.extensions.iter().flatten() {
        let attribute = attribute_name(name);
        if matches!(
            attribute.as_str(),
            "id" | "source" | "type" | "specversion" | "time" | "datacontenttype"
        ) {
            return Err(EventError::new(
                name,
                "cannot be an extension: it has a field of its own",
            ));
        }
        if let Some(value) = attribute_value(value) {
            builder = builder.attribute(attribute, value);
        }
    }
    match &emission.data {
        None => builder.build(),
        Some(data) if data.get() == "null" => builder.build(),
        Some(data) => {
            let (kind, bytes) = payload(content_type.as_deref(), data);
            builder.data(kind, bytes).build()
        }
    }
}

/// The event as 0.1 tells it, without its data: a run's `event`, a function's `context.event`.
pub(crate) fn context_of(event: &Event) -> CloudEvent {
    let mut extensions = serde_json::Map::new();
    let mut event_type_version = None;
    for attribute in event.extensions() {
        match attribute.name {
            TYPE_VERSION => event_type_version = Some(attribute.text.to_owned()),
            name => {
                let value = match attribute.value() {
                    Value::String(text) => text.into(),
                    Value::Boolean(flag) => flag.into(),
                    Value::Integer(number) => number.into(),
                };
                extensions.insert(name.to_owned(), value);
            }
        }
    }
    if let Some(subject) = event.subject() {
        extensions.insert("subject".to_owned(), subject.into());
    }
    CloudEvent {
        event_type: event.ty().to_owned(),
        event_type_version,
        cloud_events_version: CLOUD_EVENTS_VERSION.to_owned(),
        source: event.source().to_owned(),
        event_id: event.id().to_owned(),
        event_time: event.attribute("time").map(str::to_owned),
        schema_url: event.dataschema().map(str::to_owned),
        content_type: event.datacontenttype().map(str::to_owned),
        extensions: (!extensions.is_empty()).then_some(extensions),
        data: None,
    }
}

fn attribute_name(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    lower.chars().filter(char::is_ascii_alphanumeric).collect()
}

fn attribute_value(value: &serde_json::Value) -> Option<Value> {
    let integer = |n: &serde_json::Number| n.as_i64().and_then(|n| i32::try_from(n).ok());
    match value {
        serde_json::Value::Null => None,
        serde_json::Value::Bool(flag) => Some((*flag).into()),
        serde_json::Value::String(text) => Some(text.clone().into()),
        serde_json::Value::Number(number) => Some(match integer(number) {
            Some(integer) => integer.into(),
            None => number.to_string().into(),
        }),
        other => Some(other.to_string().into()),
    }
}

/// A string under a media type that is not JSON is the payload itself; else the JSON as it came.
fn payload(content_type: Option<&str>, data: &RawValue) -> (DataKind, Vec<u8>) {
    let raw = || (DataKind::Json, data.get().as_bytes().to_vec());
    if content_type.is_none_or(is_json_media_type) {
        return raw();
    }
    match serde_json::from_str::<String>(data.get()) {
        Ok(text) => (DataKind::Text, text.into_bytes()),
        Err(_) => raw(),
    }
}

fn field_of(attribute: &str) -> String {
    let field = match attribute {
        "type" => "eventType",
        "id" => "eventID",
        "time" => "eventTime",
        "datacontenttype" => "contentType",
        "dataschema" => "schemaURL",
        TYPE_VERSION => "eventTypeVersion",
        other => other,
    };
    field.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emission(json: &str) -> Emission {
        serde_json::from_str(json).unwrap()
    }

    const FULL: &str = r#"{"eventType":"vm.powered.on","eventTypeVersion":"0.1","cloudEventsVersion":"0.1",
        "source":"vcenter1","eventID":"7","eventTime":"2018-12-08T16:18:20Z","schemaURL":"https://x.example/s",
        "contentType":"application/json","extensions":{"Callback-URL":"http://c","n":3,"big":12345678901,"o":{"a":1},"no":null},
        "data":{ "vm" : 1.0 },"tags":[{"key":"a","value":"b"}]}"#;

    #[test]
    fn every_field_finds_its_attribute_and_data_stays_as_it_came() {
        let event = event_of(&emission(FULL)).unwrap();

        assert_eq!(
            (event.id(), event.source(), event.ty()),
            ("7", "vcenter1", "vm.powered.on")
        );
        let expected = [
            ("time", "2018-12-08T16:18:20Z"),
            ("datacontenttype", "application/json"),
            ("dataschema", "https://x.example/s"),
            ("eventtypeversion", "0.1"),
            ("callbackurl", "http://c"),
            ("n", "3"),
            ("big", "12345678901"),
            ("o", "{\"a\":1}"),
        ];
        for (name, text) in expected {
            assert_eq!(event.attribute(name), Some(text), "{name}");
        }
        assert_eq!(event.attributes().count(), 3 + expected.len());
        assert_eq!(event.data().unwrap().bytes, b"{ \"vm\" : 1.0 }");
    }

    #[test]
    fn the_way_back_tells_the_same_without_the_data() {
        let context = context_of(&event_of(&emission(FULL)).unwrap());

        let json = serde_json::to_value(&context).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "eventType": "vm.powered.on", "eventTypeVersion": "0.1", "cloudEventsVersion": "0.1",
                "source": "vcenter1", "eventID": "7", "eventTime": "2018-12-08T16:18:20Z",
                "schemaURL": "https://x.example/s", "contentType": "application/json",
                "extensions": {"callbackurl": "http://c", "n": 3, "big": "12345678901", "o": "{\"a\":1}"},
            })
        );
    }

    #[test]
    fn a_subject_is_an_extension_of_0_1() {
        let event = Event::builder("1", "/s", "t").subject("vm-7").build().unwrap();

        assert_eq!(context_of(&event).extensions.unwrap()["subject"], "vm-7");
    }

    #[test]
    fn a_text_under_another_media_type_is_the_payload_itself() {
        let event = event_of(&emission(
            r#"{"eventType":"t","cloudEventsVersion":"0.1","source":"s","eventID":"1","contentType":"text/plain","data":"hi"}"#,
        ))
        .unwrap();

        assert_eq!(event.data().unwrap().bytes, b"hi");
        assert_eq!(event.data().unwrap().kind, DataKind::Text);
    }

    #[test]
    fn an_unknown_time_is_no_time() {
        let event = event_of(&emission(
            r#"{"eventType":"t","cloudEventsVersion":"0.1","source":"s","eventID":"1","eventTime":"0001-01-01T00:00:00Z","data":null}"#,
        ))
        .unwrap();

        assert_eq!((event.time(), event.data()), (None, None));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_0_1_field() {
        let table = [
            (r#""eventType":"""#, "eventType"),
            (r#""cloudEventsVersion":"1.0""#, "cloudEventsVersion"),
            (r#""eventID":"""#, "eventID"),
            (r#""source":"""#, "source"),
            (r#""eventTime":"noon""#, "eventTime"),
            (r#""schemaURL":"relative""#, "schemaURL"),
            (r#""contentType":"json""#, "contentType"),
            (r#""extensions":{"Type":"x"}"#, "Type"),
        ];
        for (change, field) in table {
            let base = r#"{"eventType":"t","cloudEventsVersion":"0.1","source":"s","eventID":"1"}"#;
            let mut json: serde_json::Value = serde_json::from_str(base).unwrap();
            let change: serde_json::Value = serde_json::from_str(&format!("{{{change}}}")).unwrap();
            json.as_object_mut()
                .unwrap()
                .extend(change.as_object().unwrap().clone());
            let error = event_of(&emission(&json.to_string())).unwrap_err();
            assert_eq!(error.attribute, field, "{error}");
        }
    }
}
