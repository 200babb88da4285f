//! What the doors for events promise to whoever posts.
// A test's helper may unwrap.
#![allow(clippy::unwrap_used)]

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Hub, answer, event};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

fn ids(events: &Value) -> Vec<&str> {
    events
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["id"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn structured_binary_and_batched_events_are_taken_once() {
    let hub = Hub::start().await;

    let structured = hub.event(&event("a", "t")).await;
    let binary = hub
        .post("/v1/events")
        .header("ce-specversion", "1.0")
        .header("ce-id", "b")
        .header("ce-source", "/test")
        .header("ce-type", "t")
        .header("content-type", "image/png")
        .body(vec![0u8, 255])
        .send();
    let binary = answer(binary.await.unwrap()).await;
    let batch = json!([event("a", "t"), event("c", "t"), event("d", "t")]).to_string();
    let batch = hub
        .post("/v1/events")
        .header("content-type", BATCH)
        .body(batch)
        .send();
    let batched = answer(batch.await.unwrap()).await;
    let plain_json = answer(
        hub.post("/v1/events")
            .json(&event("e", "t"))
            .send()
            .await
            .unwrap(),
    )
    .await;

    let took = |accepted: u32, duplicates: u32| {
        (
            StatusCode::ACCEPTED,
            json!({"accepted": accepted, "duplicates": duplicates}),
        )
    };
    assert_eq!(structured, took(1, 0));
    assert_eq!(binary, took(1, 0));
    assert_eq!(batched, took(2, 1));
    assert_eq!(plain_json, took(1, 0));
    let listed = hub.get("/v1/events").await;
    assert_eq!(ids(&listed), ["a", "b", "c", "d", "e"]);
    assert_eq!(listed[1]["data_base64"], "AP8=");
    assert_eq!(listed[0]["data"], json!({"n": 1}));
    hub.stop().await;
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart_and_still_a_duplicate() {
    let hub = Hub::start().await;
    hub.event(&event("a", "t")).await;

    let hub = hub.restart().await;

    let again = hub.event(&event("a", "t")).await;
    assert_eq!(again.1, json!({"accepted": 0, "duplicates": 1}));
    assert_eq!(ids(&hub.get("/v1/events").await), ["a"]);
    hub.stop().await;
}

#[tokio::test]
async fn a_wrong_request_is_refused_by_name_and_nothing_of_it_is_kept() {
    let hub = Hub::start().await;
    let post = |content_type: &'static str, body: String| {
        let request = hub
            .post("/v1/events")
            .header("content-type", content_type)
            .body(body);
        async move { answer(request.send().await.unwrap()).await }
    };
    let good = || event("good", "t").to_string();
    let with = |name: &str, value: Value| {
        let mut event = event("bad", "t");
        event[name] = value;
        event.to_string()
    };
    let large = with("data", json!("x".repeat(2 << 20)));

    let table = [
        (
            STRUCTURED,
            with("specversion", Value::Null),
            400,
            "specversion: is required",
        ),
        (STRUCTURED, "{nope".to_owned(), 400, "body: is not JSON"),
        (STRUCTURED, String::new(), 400, "body: is empty"),
        (
            STRUCTURED,
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"*"}"#.to_owned(),
            400,
            "data_base64: ",
        ),
        (
            STRUCTURED,
            large.clone(),
            413,
            "body: is larger than 1048576 bytes",
        ),
        (
            STRUCTURED,
            with("type", json!("dispatch.run.succeeded")),
            400,
            "type: ",
        ),
        (STRUCTURED, with("time", json!("noon")), 400, "time: "),
        (
            "application/json",
            json!({"id": "1"}).to_string(),
            400,
            "specversion: is required",
        ),
        ("application/cloudevents+avro", good(), 415, "content-type: "),
        ("text/plain", good(), 415, "content-type: "),
        (
            BATCH,
            format!("[{},{},{}]", good(), good(), with("id", Value::Null)),
            400,
            "event 2 of the batch: id: is required",
        ),
        (
            BATCH,
            format!("[{},{}]", good(), with("type", json!("dispatch.x"))),
            400,
            "event 1 of the batch: type: ",
        ),
        (
            BATCH,
            format!("[{},{}]", good(), large),
            400,
            "event 1 of the batch: data: has ",
        ),
        (BATCH, good(), 400, "body: must be an array"),
        (
            BATCH,
            format!("[{}]", vec![good(); 1001].join(",")),
            400,
            "body: has 1001 events",
        ),
    ];
    for (content_type, body, status, message) in table {
        let (found, document) = post(content_type, body).await;
        assert_eq!(
            (found.as_u16(), document["code"].as_u64()),
            (status, Some(status.into())),
            "{document}"
        );
        assert!(
            document["message"].as_str().unwrap().starts_with(message),
            "{document} for {message}"
        );
    }

    assert_eq!(hub.get("/v1/events").await, json!([]));
    hub.stop().await;
}

#[tokio::test]
async fn three_hundred_headers_are_refused_with_a_message() {
    let hub = Hub::start().await;
    let with = |prefix: &'static str| {
        let request = hub
            .post("/v1/events")
            .header("content-type", STRUCTURED)
            .body(event("a", "t").to_string());
        let request = (0..300).fold(request, |request, n| request.header(format!("{prefix}{n}"), "v"));
        async move { answer(request.send().await.unwrap()).await }
    };

    let attributes = with("ce-x").await;
    let others = with("x-").await;

    assert_eq!(attributes.0, StatusCode::BAD_REQUEST);
    assert!(
        attributes.1["message"]
            .as_str()
            .unwrap()
            .contains("one attribute too many"),
        "{attributes:?}"
    );
    assert_eq!(others.0, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert!(
        others.1["message"].as_str().unwrap().starts_with("headers: "),
        "{others:?}"
    );
    hub.stop().await;
}

#[tokio::test]
async fn an_empty_batch_is_nothing_and_no_error() {
    let hub = Hub::start().await;

    let empty = hub
        .post("/v1/events")
        .header("content-type", BATCH)
        .body("[]")
        .send()
        .await
        .unwrap();

    assert_eq!(
        answer(empty).await,
        (StatusCode::ACCEPTED, json!({"accepted": 0, "duplicates": 0}))
    );
    hub.stop().await;
}

#[tokio::test]
async fn the_web_hook_handshake_is_answered() {
    let hub = Hub::start().await;

    let request = hub
        .client
        .request(Method::OPTIONS, hub.url("/v1/events"))
        .header("WebHook-Request-Origin", "eventemitter.example.com")
        .header("WebHook-Request-Rate", "120");
    let response = request.send().await.unwrap();

    assert_eq!(response.status(), StatusCode::OK);
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("WebHook-Allowed-Origin"), "eventemitter.example.com");
    assert_eq!(header("WebHook-Allowed-Rate"), "*");
    assert!(header("Allow").contains("POST"));
    hub.stop().await;
}

#[tokio::test]
async fn organizations_do_not_see_each_other() {
    let hub = Hub::start().await;
    let post = |organization: &'static str| {
        let request = hub
            .post("/v1/events")
            .header("X-Dispatch-Org", organization)
            .json(&event("a", "t"));
        async move { answer(request.send().await.unwrap()).await }
    };

    let first = post("acme").await;
    let second = post("other").await;
    let refused = post("a/b").await;

    assert_eq!(
        (first.1["accepted"].as_u64(), second.1["accepted"].as_u64()),
        (Some(1), Some(1))
    );
    assert_eq!(refused.0, StatusCode::BAD_REQUEST);
    assert!(refused.1["message"].as_str().unwrap().contains("X-Dispatch-Org"));
    assert_eq!(hub.get("/v1/events").await, json!([]));
    hub.stop().await;
}

#[tokio::test]
async fn the_old_door_takes_cloudevents_0_1_and_echoes_them() {
    let hub = Hub::start().await;
    let old = json!({"eventType": "my.event", "cloudEventsVersion": "0.1", "source": "cli", "eventID": "1",
        "contentType": "application/json", "data": {"a": 1}, "tags": []});

    let (status, echo) = hub.post_json("/v1/event/", &old).await;
    let without_slash = hub.post_json("/v1/event", &old).await;
    let mut wrong = old.clone();
    wrong["cloudEventsVersion"] = json!("1.0");
    let (refused, error) = hub.post_json("/v1/event/", &wrong).await;

    assert_eq!(status, StatusCode::OK, "{echo}");
    assert_eq!((&echo["eventID"], &echo["data"]), (&json!("1"), &json!({"a": 1})));
    assert!(echo["id"].is_string() && echo["emitted-time"].is_i64(), "{echo}");
    assert_eq!(without_slash.0, StatusCode::OK);
    assert_eq!(refused, StatusCode::BAD_REQUEST);
    let message = error["message"].as_str().unwrap();
    assert!(
        message.starts_with("Error validating event: cloudEventsVersion"),
        "{message}"
    );
    let listed = hub.get("/v1/events").await;
    assert_eq!(
        (listed.as_array().unwrap().len(), &listed[0]["type"]),
        (1, &json!("my.event"))
    );
    hub.stop().await;
}

#[tokio::test]
async fn an_old_driver_hands_its_events_over_by_its_token() {
    let (hub, folder) = (Hub::start().await, tempfile::tempdir().unwrap());
    let (script, token) = (folder.path().join("old-driver"), folder.path().join("token"));
    let body = format!(
        "#!/bin/sh\nprintf %s $AUTH_TOKEN > {}\nexec sleep 1000\n",
        token.display()
    );
    std::fs::write(&script, body).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let as_acme = |path, body: Value| hub.post(path).header("X-Dispatch-Org", "acme").json(&body).send();
    as_acme("/v1/event/drivertypes", json!({"name": "old", "image": script}))
        .await
        .unwrap();
    as_acme("/v1/event/drivers", json!({"name": "d", "type": "old"}))
        .await
        .unwrap();
    support::until("a token", || token.metadata().is_ok_and(|m| m.len() > 0)).await;
    let path = format!(
        "/v1/event/ingest?authToken={}",
        std::fs::read_to_string(&token).unwrap()
    );
    let old = |id: &str, version: &str| json!({"eventType": "old.tick", "cloudEventsVersion": version, "source": "d", "eventID": id});

    let one = hub.post_json(&path, &old("1", "0.1")).await;
    let several = hub
        .post_json(&path, &json!([old("2", "0.1"), old("3", "0.1")]))
        .await;
    let wrong = hub
        .post_json(&path, &json!([old("4", "0.1"), old("5", "9")]))
        .await;

    assert_eq!(
        (one.0, &one.1["eventID"]),
        (StatusCode::OK, &json!("1")),
        "{}",
        one.1
    );
    assert_eq!(
        (several.0, several.1.as_array().unwrap().len()),
        (StatusCode::OK, 2)
    );
    assert_eq!(wrong.0, StatusCode::BAD_REQUEST);
    let message = wrong.1["message"].as_str().unwrap();
    assert!(
        message.contains("event 1 of the batch: cloudEventsVersion"),
        "{message}"
    );
    let request = hub
        .client
        .get(hub.url("/v1/events"))
        .header("X-Dispatch-Org", "acme");
    let listed = answer(request.send().await.unwrap()).await.1;
    assert_eq!(ids(&listed), ["1", "2", "3"]);
    hub.stop().await;
}

#[tokio::test]
async fn a_token_nobody_has_is_not_recognized() {
    let hub = Hub::start().await;

    let (status, error) = hub
        .post_json("/v1/event/ingest?authToken=nobody", &json!({}))
        .await;

    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(error, json!({"code": 401, "message": "token not recognized"}));
    hub.stop().await;
}

#[tokio::test]
async fn the_live_stream_shows_what_comes_in_and_ends_with_the_hub() {
    let hub = Hub::start().await;
    hub.event(&event("before", "t")).await;
    let mut stream = hub
        .client
        .get(hub.url("/v1/events?follow=true&type=t"))
        .send()
        .await
        .unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");

    hub.event(&event("other", "u")).await;
    hub.event(&event("seen", "t")).await;
    let first = timeout(support::PATIENCE, stream.chunk())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let stopped = tokio::spawn(hub.stop());
    let rest = timeout(support::PATIENCE, async {
        while let Some(chunk) = stream.chunk().await.unwrap() {
            assert!(!chunk.starts_with(b"data: {"), "{chunk:?}");
        }
    });

    let text = String::from_utf8(first.to_vec()).unwrap();
    let record: Value = serde_json::from_str(text.strip_prefix("data: ").unwrap().trim()).unwrap();
    assert_eq!(record["id"], "seen");
    rest.await.unwrap();
    stopped.await.unwrap();
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_taken() {
    let hub = Hub::start().await;
    let address = hub.url("").replace("http://", "");
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();

    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: {STRUCTURED}\r\ncontent-length: 500\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket
        .write_all(event("a", "t").to_string().as_bytes())
        .await
        .unwrap();
    socket.shutdown().await.unwrap();
    let mut answer = Vec::new();
    timeout(Duration::from_secs(5), socket.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();

    assert!(!answer.starts_with(b"HTTP/1.1 202"));
    assert_eq!(hub.get("/v1/events").await, json!([]));
    hub.stop().await;
}
