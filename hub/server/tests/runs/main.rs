//! What runs promise to those who use the API: listed in pages, cancelled, made once more, and events themselves.
// A test's helper may unwrap.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod calls;
mod rest;
mod results;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Hub, answer};

const ECHO: &str = "def handle(ctx, payload): return [payload, ctx.get('event', {}).get('id')]\n";

/// A hub with the image `python3`, READY.
async fn seeded() -> Hub {
    let hub = Hub::start().await;
    let base = json!({"name": "python3-base", "dockerUrl": "x/y:1", "language": "python3"});
    hub.post_json("/v1/baseimage", &base).await;
    let image = json!({"name": "python3", "baseImageName": "python3-base"});
    hub.post_json("/v1/image", &image).await;
    hub.until("/v1/image/python3", |image| image["status"] == "READY")
        .await;
    hub
}

async fn create(hub: &Hub, name: &str, source: &str, more: Value) {
    let mut function = json!({"name": name, "image": "python3", "source": STANDARD.encode(source)});
    function
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let (status, answer) = hub.post_json("/v1/function", &function).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    hub.until(&format!("/v1/function/{name}"), |f| f["status"] == "READY")
        .await;
}

async fn subscribe(hub: &Hub, ty: &str, function: &str, delivery: Value) {
    let subscription = json!({"name": format!("{function}-on-{}", ty.replace('.', "-")), "eventType": ty, "function": function, "delivery": delivery});
    let (status, answer) = hub.post_json("/v1/event/subscriptions", &subscription).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
}

async fn exec(hub: &Hub, function: &str, call: Value) -> Value {
    let (status, run) = hub
        .post_json(&format!("/v1/runs?functionName={function}"), &call)
        .await;
    assert!(status.is_success(), "{run}");
    run
}

async fn send(hub: &Hub, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
    let request = hub.client.request(method, hub.url(path)).json(&body);
    answer(request.send().await.unwrap()).await
}

fn path(run: &Value) -> String {
    format!("/v1/runs/{}", run["name"].as_str().unwrap())
}

fn names(runs: &Value) -> Vec<&str> {
    runs.as_array()
        .unwrap()
        .iter()
        .map(|run| run["name"].as_str().unwrap())
        .collect()
}
