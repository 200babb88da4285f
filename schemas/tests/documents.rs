//! The documents of the published articles and of batch files are read, and written back as they were.
#![allow(clippy::unwrap_used, reason = "a helper that fails is a failed test")]

use dispatch_schemas::{
    BaseImage, Driver, DriverType, Emission, Function, Image, Resource, Run, Secret, Stamp, Status,
    Subscription,
};
use serde_json::{Value, json};
use uuid::Uuid;

/// Reads and checks a document, and returns what is written for it.
fn taken<R: Resource>(document: Value) -> R {
    let resource: R = serde_json::from_value(document.clone()).unwrap();
    resource.check().unwrap();
    let written = serde_json::to_value(&resource).unwrap();
    for (key, value) in document.as_object().unwrap() {
        if key != "config" {
            assert_eq!(&written[key], value, "{key} of {}", R::KIND);
        }
    }
    resource
}

#[test]
fn every_document_of_the_batch_file_is_read() {
    let function: Function = taken(json!({
        "kind": "Function", "name": "hello-js", "sourcePath": "nodejs/hello.js", "image": "nodejs",
        "schema": {
            "in": {"properties": {"name": {"type": "string", "minLength": 1, "pattern": "^[A-Za-z]+$"}}, "required": ["name"]},
            "out": {"properties": {"myField": {"type": "string"}}, "required": ["myField"]}
        },
        "tags": [{"key": "role", "value": "test"}]
    }));
    assert!(!function.has_source());
    taken::<Secret>(json!({"kind": "Secret", "name": "open-sesame", "secrets": {"password": "OpenSesame"}}));
    taken::<DriverType>(
        json!({"kind": "DriverType", "name": "ticker", "image": "dispatchframework/ticker:0.0.2"}),
    );
    let driver: Driver = taken(json!({
        "kind": "Driver", "name": "ticker", "type": "ticker", "config": [{"key": "seconds", "value": 2}]
    }));
    assert_eq!(driver.config[0].value, "2");
    let subscription: Subscription = taken(json!({
        "kind": "Subscription", "eventType": "ticker.tick", "function": "hello-py", "name": "ticker-sub"
    }));
    assert_eq!(
        serde_json::to_value(subscription.all_filters()).unwrap(),
        json!([{"any": [{"exact": {"type": "ticker.tick"}}, {"exact": {"supertype": "ticker.tick"}}]}])
    );
    taken::<BaseImage>(json!({
        "kind": "BaseImage", "name": "python3-base", "dockerUrl": "dispatchframework/python3-base:0.0.13",
        "language": "python3"
    }));
    taken::<Image>(json!({
        "kind": "Image", "name": "python3", "baseImageName": "python3-base",
        "runtimeDependencies": {"manifest": "requests"}
    }));
}

#[test]
fn the_run_of_the_published_transcript_is_written_as_it_was_printed() {
    let printed = json!({
        "blocking": true,
        "executedTime": 1_544_253_540_926_528_854_i64,
        "faasId": "02625403-7cf4-477f-aca8-793a9cc2d55c",
        "finishedTime": 1_544_253_540_930_869_980_i64,
        "functionId": "4a550524-85da-4d28-9d5f-47b35a425cd8",
        "functionName": "hello-world",
        "input": {"name": "Jon", "place": "Winterfell"},
        "logs": {"stderr": null, "stdout": ["Serving on http://0.0.0.0:9000"]},
        "name": "440256c2-7710-4ea1-bc20-5231c2bd4363",
        "output": {"myField": "Hello, Jon from Winterfell"},
        "reason": null, "secrets": [], "services": null, "status": "READY", "tags": []
    });

    let run: Run = serde_json::from_value(printed.clone()).unwrap();

    assert_eq!(serde_json::to_value(&run).unwrap(), printed);
    assert!(run.is_finished());
}

#[test]
fn a_run_that_has_not_ended_has_no_finished_time_and_is_not_blocking() {
    let run = Run {
        status: Some(Status::Initialized),
        ..Run::default()
    };

    let written = serde_json::to_value(&run).unwrap();

    let members = written.as_object().unwrap();
    assert!(
        !members.contains_key("finishedTime") && !members.contains_key("blocking"),
        "{written}"
    );
    assert_eq!(written["status"], "INITIALIZED");
    assert!(!run.is_finished());
}

#[test]
fn a_payload_keeps_the_digits_and_the_order_it_came_with() {
    let text = r#"{"input":{"z":1,"a":12345678901234567890123}}"#;

    let run: Run = serde_json::from_str(text).unwrap();

    let written = serde_json::to_string(&run).unwrap();
    assert!(
        written.contains(r#"{"z":1,"a":12345678901234567890123}"#),
        "{written}"
    );
}

#[test]
fn lists_that_were_never_set_are_null_or_empty_as_in_the_original_and_null_is_read() {
    let function: Function = serde_json::from_value(
        json!({"name": "f", "image": "i", "secrets": null, "tags": null, "reason": null}),
    )
    .unwrap();

    let written = serde_json::to_value(&function).unwrap();

    assert_eq!(written["secrets"], json!([]));
    assert_eq!(written["tags"], json!([]));
    assert_eq!(written["reason"], Value::Null);
    assert_eq!(written["services"], Value::Null);
}

#[test]
fn event_drivers_write_their_times_with_a_dash() {
    let stamp = Stamp {
        id: Uuid::from_u128(1),
        name: "d".into(),
        created: 7,
        modified: 8,
    };
    let mut driver = Driver::default();

    driver.stamp(&stamp);

    let written = serde_json::to_value(&driver).unwrap();
    assert_eq!(
        (&written["created-time"], &written["modified-time"]),
        (&json!(7), &json!(8))
    );
    assert_eq!(written["kind"], "Driver");
}

#[test]
fn a_functions_source_is_written_to_the_hub_but_never_kept_with_it() {
    let stamp = Stamp {
        id: Uuid::from_u128(1),
        name: "f".into(),
        created: 7,
        modified: 8,
    };
    let mut function: Function =
        serde_json::from_value(json!({"name": "f", "image": "i", "source": "H4sI"})).unwrap();
    assert!(function.has_source());
    assert_eq!(serde_json::to_value(&function).unwrap()["source"], "H4sI");

    function.stamp(&stamp);

    assert_eq!(serde_json::to_value(&function).unwrap().get("source"), None);
}

#[test]
fn a_misspelt_field_is_named_with_those_that_exist() {
    let error = serde_json::from_value::<Subscription>(json!({"name": "s", "eventtypo": "x"})).unwrap_err();

    let said = error.to_string();
    assert!(said.contains("eventtypo") && said.contains("eventType"), "{said}");
}

#[test]
fn an_emission_is_refused_with_the_field_that_is_wrong() {
    let good = json!({
        "eventType": "vm.powered.on", "cloudEventsVersion": "0.1", "source": "s", "eventID": "1",
        "eventTime": "0001-01-01T00:00:00Z", "contentType": "application/json", "data": {"a": 1}, "unknown": 1
    });
    let check = |event: Value| serde_json::from_value::<Emission>(event).unwrap().check();
    assert_eq!(check(good.clone()), Ok(()));
    let table = [
        ("eventType", json!("a b")),
        ("eventType", Value::Null),
        ("cloudEventsVersion", json!("1.0")),
        ("source", json!("")),
        ("eventID", Value::Null),
        ("eventTime", json!("noon")),
    ];
    for (field, value) in table {
        let mut bad = good.clone();
        bad[field] = value;

        assert_eq!(check(bad).unwrap_err().field, field);
    }
}

#[test]
fn an_extension_of_a_driver_has_a_name_that_an_event_can_carry() {
    let check = |name: &str| {
        let driver = json!({"name": "d", "type": "cron", "extensions": {name: "x"}});
        serde_json::from_value::<Driver>(driver).unwrap().check()
    };
    check("site").unwrap();
    for wrong in ["", "my-site", "Site", "type", "data", "a23456789012345678901"] {
        let error = check(wrong).unwrap_err().to_string();
        assert!(error.contains("is no name of an extension"), "{wrong}: {error}");
    }
}
