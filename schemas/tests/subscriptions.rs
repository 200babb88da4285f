//! What a subscription may say, and with which words the rest is refused.
#![allow(clippy::unwrap_used, reason = "a helper that fails is a failed test")]

use dispatch_schemas::{Invalid, Resource, Subscription};
use serde_json::{Value, json};

/// A right subscription with some fields replaced; `null` takes one away.
fn check(changes: Value) -> Result<(), Invalid> {
    let mut document = json!({"name": "s", "eventType": "t", "function": "f"});
    for (key, value) in changes.as_object().unwrap() {
        document[key] = value.clone();
    }
    serde_json::from_value::<Subscription>(document).unwrap().check()
}

#[test]
fn all_dialects_and_settings_are_taken() {
    let full = json!({
        "filters": [
            {"exact": {"type": "vm.powered.on", "source": "/vc"}},
            {"any": [{"prefix": {"subject": "vm-"}}, {"suffix": {"subject": "-7"}}]},
            {"all": [{"not": {"exact": {"user": "root"}}}]}
        ],
        "function": null,
        "sink": {"uri": "http://127.0.0.1:9000/x?y#z", "mode": "structured"},
        "delivery": {
            "retry": 0, "backoffPolicy": "linear", "backoffDelay": "PT0.2S", "timeout": "30s", "maxInFlight": 1,
            "order": "key", "rate": 0.5,
            "deadLetterSink": {"uri": "https://example.com/dead"}
        }
    });

    assert_eq!(check(full), Ok(()));
}

#[test]
fn what_is_wrong_is_named_with_its_field_and_what_is_allowed() {
    let exact = |map: Value| json!({"filters": [{"exact": {"type": "t"}}, {"any": [{"prefix": map}]}]});
    let table = [
        (json!({"name": "a b"}), "name should start with letter or number"),
        (json!({"kind": "Function"}), "kind must be Subscription"),
        (json!({"eventType": null}), "eventType or filters is required"),
        (
            json!({"eventType": "a*"}),
            "eventType must be given and may only contain",
        ),
        (
            json!({"eventType": "a".repeat(129)}),
            "eventType has 129 characters; at most 128",
        ),
        (json!({"function": null}), "function or sink is required"),
        (
            json!({"sink": {"uri": "http://a"}}),
            "function and sink are both given",
        ),
        (json!({"function": "a/b"}), "function may only contain"),
        (
            json!({"function": null, "sink": {"uri": "ftp://a"}}),
            "sink.uri must be a URL",
        ),
        (
            json!({"function": null, "sink": {"uri": "http:///x"}}),
            "sink.uri must be a URL",
        ),
        (
            json!({"function": null, "sink": {"uri": "http://u:p@h/"}}),
            "sink.uri must not contain credentials",
        ),
        (
            json!({"function": null, "sink": {"uri": "http://a b"}}),
            "sink.uri must not contain spaces",
        ),
        (
            exact(json!({})),
            "filters[1].any[0].prefix must name at least one attribute",
        ),
        (
            exact(json!({"Type": "t"})),
            "filters[1].any[0].prefix names the attribute \"Type\"",
        ),
        (
            exact(json!({"type": ""})),
            "filters[1].any[0].prefix.type must not be empty",
        ),
        (
            json!({"filters": [{"all": []}]}),
            "filters[0].all must hold at least one filter",
        ),
        (
            json!({"delivery": {"retry": -1}}),
            "delivery.retry must be 0 to 1000, not -1",
        ),
        (
            json!({"delivery": {"retry": 1001}}),
            "delivery.retry must be 0 to 1000, not 1001",
        ),
        (
            json!({"delivery": {"maxInFlight": 0}}),
            "delivery.maxInFlight must be 1 to 10000, not 0",
        ),
        (
            json!({"delivery": {"rate": 0}}),
            "delivery.rate must be 0.001 to 1000000, not 0",
        ),
        (
            json!({"delivery": {"backoffDelay": "soon"}}),
            "delivery.backoffDelay must be a duration, ISO 8601",
        ),
        (
            json!({"delivery": {"timeout": "PT2H"}}),
            "delivery.timeout must be PT0.001S to PT3600S, not \"PT2H\"",
        ),
        (
            json!({"delivery": {"timeout": "PT0S"}}),
            "delivery.timeout must be PT0.001S to PT3600S",
        ),
        (
            json!({"delivery": {"deadLetterSink": {"uri": ""}}}),
            "delivery.deadLetterSink.uri is required",
        ),
    ];
    for (changes, expected) in table {
        let said = check(changes.clone())
            .expect_err(&changes.to_string())
            .to_string();
        assert!(said.starts_with(expected), "{changes}: {said}");
    }
}

#[test]
fn filters_have_a_bounded_depth_and_number() {
    let nested = |levels: usize| {
        let innermost = json!({"exact": {"type": "t"}});
        (1..levels).fold(innermost, |inner, _| json!({"not": inner}))
    };
    assert_eq!(check(json!({"filters": [nested(8)]})), Ok(()));
    assert!(
        check(json!({"filters": [nested(9)]}))
            .unwrap_err()
            .problem
            .contains("too deep")
    );

    let many = |n: usize| json!({"filters": vec![nested(1); n]});
    assert_eq!(check(many(256)), Ok(()));
    assert!(check(many(257)).unwrap_err().to_string().contains("at most 256"));
}

#[test]
fn an_unknown_dialect_is_refused_with_those_that_exist() {
    let document = json!({"name": "s", "function": "f", "filters": [{"regex": {"type": "t"}}]});

    let said = serde_json::from_value::<Subscription>(document)
        .unwrap_err()
        .to_string();

    assert!(
        said.contains("regex") && said.contains("exact") && said.contains("not"),
        "{said}"
    );
}
