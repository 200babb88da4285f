//! What surrounds runs: schemas of payloads, applications, the key of the secrets.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::until;
use crate::{ECHO, create, exec, seeded, send};

#[tokio::test]
async fn payloads_that_do_not_fit_their_schemas_are_somebody_s_fault() {
    let hub = seeded().await;
    let schema = json!({"schema": {
        "in": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
        "out": {"type": "string"}}});
    create(
        &hub,
        "greet",
        "def handle(ctx, payload): return 7 if payload['name'] == 'seven' else payload['name']\n",
        schema.clone(),
    )
    .await;

    let call = |input: Value| exec(&hub, "greet", json!({"blocking": true, "input": input}));
    let fine = call(json!({"name": "Jon"})).await;
    let missing = call(json!({})).await;
    let wrong = call(json!({"name": "seven"})).await;

    assert_eq!(
        (&fine["status"], &fine["output"]),
        (&json!("READY"), &json!("Jon"))
    );
    assert_eq!(
        (&missing["error"]["type"], &missing["error"]["message"]),
        (
            &json!("InputError"),
            &json!("Input invalid against schema: validation failure list: \"name\" is a required property")
        )
    );
    assert_eq!(wrong["error"]["type"], "FunctionError");
    let bad = json!({"name": "bad", "image": "python3", "source": STANDARD.encode(ECHO), "schema": {"in": {"type": "objct"}}});
    let (status, body) = hub.post_json("/v1/function", &bad).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(
        body["message"]
            .as_str()
            .unwrap()
            .starts_with("schema.in: is not a JSON Schema at /type"),
        "{body}"
    );
    // And they are still known after a restart.
    let hub = hub.restart().await;
    hub.until("/v1/function/greet", |f| {
        f["status"] == "READY" && f["schema"] == schema["schema"]
    })
    .await;
    let missing = exec(&hub, "greet", json!({"blocking": true})).await;
    assert_eq!(missing["error"]["type"], "InputError");
    hub.stop().await;
}

#[tokio::test]
async fn an_application_is_a_label_over_all_kinds() {
    let hub = seeded().await;
    let (status, shop) = hub.post_json("/v1/application/", &json!({"name": "shop"})).await;
    assert_eq!(
        (status, &shop["status"], &shop["kind"]),
        (StatusCode::OK, &json!("READY"), &json!("Application"))
    );
    let tags = json!([{"key": "Application", "value": "shop"}]);
    create(&hub, "f", ECHO, json!({"tags": tags})).await;
    create(&hub, "g", ECHO, json!({})).await;
    let secret = json!({"name": "s", "secrets": {"a": "b"}, "tags": tags});
    hub.post_json("/v1/secret/", &secret).await;
    let subscription = json!({"name": "sub", "eventType": "t", "function": "f", "tags": tags});
    hub.post_json("/v1/event/subscriptions", &subscription).await;

    for (list, count) in [
        ("function", 1),
        ("secret/", 1),
        ("event/subscriptions", 1),
        ("image", 0),
        ("event/drivers", 0),
    ] {
        let found = hub.get(&format!("/v1/{list}?tags=application=shop")).await;
        assert_eq!(found.as_array().unwrap().len(), count, "{list}");
    }
    let (status, gone) = send(&hub, Method::DELETE, "/v1/application/shop", Value::Null).await;
    assert_eq!((status, &gone["name"]), (StatusCode::OK, &json!("shop")));
    assert_eq!(
        hub.get("/v1/function?tags=app=shop").await[0]["name"],
        "f",
        "what belonged to it stays"
    );
    assert_eq!(hub.get("/v1/application").await, json!([]));
    hub.stop().await;
}

#[tokio::test]
async fn the_secret_key_is_rotated_while_functions_use_their_secrets() {
    let hub = seeded().await;
    hub.post_json(
        "/v1/secret/",
        &json!({"name": "s", "secrets": {"password": "OpenSesame"}}),
    )
    .await;
    create(
        &hub,
        "f",
        "def handle(ctx, payload): return ctx['secrets']['password']\n",
        json!({"secrets": ["s"]}),
    )
    .await;
    let key = hub.data().join("secret.key");
    let before = std::fs::read_to_string(&key).unwrap();

    let (status, rotated) = hub.post_json("/v1/secretkey/rotate", &Value::Null).await;

    assert_eq!(
        (status, &rotated["wrapped"]),
        (StatusCode::OK, &json!(1)),
        "{rotated}"
    );
    assert_ne!(std::fs::read_to_string(&key).unwrap(), before);
    assert_eq!(
        exec(&hub, "f", json!({"blocking": true})).await["output"],
        "OpenSesame"
    );
    let hub = hub.restart().await;
    assert_eq!(
        exec(&hub, "f", json!({"blocking": true})).await["output"],
        "OpenSesame"
    );
    until("the key's file is whole", || key.exists()).await;
    hub.stop().await;
}
