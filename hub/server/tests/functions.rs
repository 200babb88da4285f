//! What images, functions and runs promise to those who use the API: a whole hub, python3 and node.
// A test's helper may unwrap.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Hub, answer, event, until};
use tokio::time::{sleep, timeout};

const HELLO_PY: &str = r#"
import sys
import time
def handle(ctx, payload):
    print("out")
    print("err", file=sys.stderr)
    payload = payload or {}
    time.sleep(payload.get("seconds", 0))
    return {"myField": "Hello, %s from %s" % (payload.get("name", "Noone"), payload.get("place", "Nowhere"))}
"#;
const HELLO_JS: &str = "module.exports = (context, params) => ({ context, params });";

/// Base images and images `python3` and `nodejs`, READY.
async fn seeded() -> Hub {
    let hub = Hub::start().await;
    for language in ["python3", "nodejs"] {
        let base = json!({"name": format!("{language}-base"), "dockerUrl": "x/y:1", "language": language});
        let (status, base) = hub.post_json("/v1/baseimage", &base).await;
        assert_eq!(
            (status, &base["status"]),
            (StatusCode::CREATED, &json!("INITIALIZED"))
        );
        let image = json!({"name": language, "baseImageName": format!("{language}-base")});
        let (status, image) = hub.post_json("/v1/image", &image).await;
        assert_eq!(
            (status, &image["language"]),
            (StatusCode::CREATED, &json!(language))
        );
    }
    ready(&hub, "/v1/image/python3").await;
    ready(&hub, "/v1/image/nodejs").await;
    hub
}

async fn ready(hub: &Hub, path: &str) -> Value {
    hub.until(path, |resource| resource["status"] == "READY").await
}

fn function(name: &str, image: &str, source: &str) -> Value {
    json!({"name": name, "image": image, "source": STANDARD.encode(source)})
}

async fn created(hub: &Hub, name: &str, image: &str, source: &str) -> Value {
    let (status, answer) = hub
        .post_json("/v1/function", &function(name, image, source))
        .await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    assert_eq!(answer["status"], "INITIALIZED");
    ready(hub, &format!("/v1/function/{name}")).await
}

async fn send(hub: &Hub, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
    let request = hub.client.request(method, hub.url(path)).json(&body);
    answer(request.send().await.unwrap()).await
}

fn message(status: u16, message: &str) -> (StatusCode, Value) {
    let code = StatusCode::from_u16(status).unwrap();
    (code, json!({"code": status, "message": message}))
}

#[tokio::test]
async fn a_function_is_called_by_name_and_its_run_tells_everything() {
    let hub = seeded().await;
    let hello = created(&hub, "hello-py", "python3", HELLO_PY).await;
    assert!(hello.get("source").is_none());
    assert_eq!(
        (&hello["reason"], &hello["kind"]),
        (&Value::Null, &json!("Function"))
    );

    let call = json!({"blocking": true, "input": {"name": "Jon", "place": "Winterfell"}});
    let (status, run) = hub.post_json("/v1/runs?functionName=hello-py", &call).await;

    assert_eq!(status, StatusCode::OK);
    assert_eq!(run["output"], json!({"myField": "Hello, Jon from Winterfell"}));
    assert_eq!(run["logs"], json!({"stdout": ["out"], "stderr": ["err"]}));
    assert_eq!(
        (
            &run["status"],
            &run["blocking"],
            &run["reason"],
            &run["services"],
            &run["secrets"]
        ),
        (
            &json!("READY"),
            &json!(true),
            &Value::Null,
            &Value::Null,
            &json!([])
        )
    );
    assert_eq!(
        (&run["faasId"], &run["functionId"]),
        (&hello["faasId"], &hello["id"])
    );
    let path = format!("/v1/runs/{}", run["name"].as_str().unwrap());
    assert_eq!(hub.get(&path).await, run);

    // Not waited for: taken at once, ended a little later.
    let (status, taken) = hub
        .post_json(
            "/v1/runs",
            &json!({"functionName": "hello-py", "input": {"seconds": 1}}),
        )
        .await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert!(taken.get("blocking").is_none() && taken.get("finishedTime").is_none());
    let path = format!("/v1/runs/{}", taken["name"].as_str().unwrap());
    let ended = ready(&hub, &path).await;
    assert_eq!(ended["output"], json!({"myField": "Hello, Noone from Nowhere"}));
    assert_eq!(
        hub.get("/v1/runs?functionName=hello-py")
            .await
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        hub.get("/v1/runs?functionName=hello-py&limit=1").await[0]["name"],
        taken["name"]
    );
    assert_eq!(hub.get("/v1/runs?functionName=other").await, json!([]));
    assert_eq!(hub.get("/v1/runs?since=4102444800").await, json!([]));

    let hub = hub.restart().await;
    assert_eq!(hub.get(&path).await, ended, "from the read model");
    let (status, _) = hub.post_json("/v1/runs?functionName=hello-py", &call).await;
    assert_eq!(status, StatusCode::OK, "deployed again");
    hub.stop().await;
}

#[tokio::test]
async fn an_event_calls_a_function_which_sees_it() {
    let hub = seeded().await;
    created(&hub, "hello-js", "nodejs", HELLO_JS).await;
    let subscription = json!({"name": "s", "eventType": "vm.on", "function": "hello-js"});
    let (status, _) = hub.post_json("/v1/event/subscriptions", &subscription).await;
    assert_eq!(status, StatusCode::CREATED);

    let (status, _) = hub.event(&event("1", "vm.on")).await;

    assert_eq!(status, StatusCode::ACCEPTED);
    let ended = |runs: &Value| runs[0]["status"] == "READY";
    let runs = hub.until("/v1/runs?functionName=hello-js", ended).await;
    let seen = &runs[0]["output"];
    assert_eq!(seen["params"], json!({"n": 1}));
    assert_eq!(
        (
            &seen["context"]["event"]["eventType"],
            &seen["context"]["event"]["type"]
        ),
        (&json!("vm.on"), &json!("vm.on"))
    );
    assert_eq!(
        (&runs[0]["event"]["eventID"], &runs[0]["subscription"]),
        (&json!("1"), &json!("s"))
    );
    hub.stop().await;
}

#[tokio::test]
async fn what_is_wrong_is_told_with_the_original_s_words() {
    let hub = seeded().await;
    created(&hub, "f", "python3", HELLO_PY).await;
    let broken = json!({"name": "bad", "image": "python3", "handler": "f.nothing", "source": STANDARD.encode(HELLO_PY)});
    hub.post_json("/v1/function", &broken).await;
    let bad = hub.until("/v1/function/bad", |f| f["status"] == "ERROR").await;
    let reason = bad["reason"].as_array().unwrap();
    assert!(
        reason.len() == 1
            && reason[0]
                .as_str()
                .unwrap()
                .contains("Invalid function file or handler")
    );

    let table = [
        (
            Method::POST,
            "/v1/function",
            json!({"name": "x", "image": "python3"}),
            message(400, "either source or sourceURL must be specified"),
        ),
        (
            Method::POST,
            "/v1/function",
            function("f", "python3", HELLO_PY),
            message(409, "function f already exists"),
        ),
        (
            Method::PUT,
            "/v1/function/none",
            function("none", "python3", HELLO_PY),
            message(404, "function none not found"),
        ),
        (
            Method::POST,
            "/v1/image",
            json!({"name": "x", "baseImageName": "none"}),
            message(400, "Error fetching base image none"),
        ),
        (
            Method::PUT,
            "/v1/baseimage/none",
            json!({"name": "none", "dockerUrl": "x", "language": "python3"}),
            message(404, "base image none not found"),
        ),
        (
            Method::POST,
            "/v1/runs",
            json!({}),
            message(400, "Bad Request: No function specified"),
        ),
        (
            Method::POST,
            "/v1/runs?functionName=none",
            json!({}),
            message(404, "function none not found"),
        ),
        (
            Method::POST,
            "/v1/runs?functionName=bad",
            json!({}),
            message(409, "function bad is not READY"),
        ),
        (
            Method::GET,
            "/v1/runs/nonsense",
            Value::Null,
            message(404, "run nonsense not found"),
        ),
        (
            Method::GET,
            "/v1/runs?tags=role=x",
            Value::Null,
            message(400, "tags: is \"role=x\"; must be application=NAME or app=NAME"),
        ),
    ];
    for (method, path, body, wanted) in table {
        assert_eq!(
            send(&hub, method.clone(), path, body).await,
            wanted,
            "{method} {path}"
        );
    }
    let garbage = hub.post("/v1/runs?functionName=f").body("{");
    let (status, body) = answer(garbage.send().await.unwrap()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(
        body["message"]
            .as_str()
            .unwrap()
            .starts_with("Bad Request: Invalid Payload")
    );
    hub.stop().await;
}

#[tokio::test]
async fn lists_are_narrowed_and_deleting_a_function_deletes_its_runs() {
    let hub = seeded().await;
    let mut tagged = function("tagged", "python3", HELLO_PY);
    tagged["tags"] = json!([{"key": "Application", "value": "shop"}]);
    hub.post_json("/v1/function", &tagged).await;
    ready(&hub, "/v1/function/tagged").await;
    created(&hub, "plain", "python3", HELLO_PY).await;
    let names = |list: Value| -> Vec<String> {
        let names = list.as_array().unwrap().iter();
        names.map(|r| r["name"].as_str().unwrap().to_owned()).collect()
    };

    assert_eq!(
        names(hub.get("/v1/function?tags=application=shop").await),
        ["tagged"]
    );
    assert_eq!(
        names(hub.get("/v1/function?state=READY").await),
        ["plain", "tagged"]
    );
    assert_eq!(names(hub.get("/v1/function?state=ERROR").await).len(), 0);
    assert_eq!(names(hub.get("/v1/image?language=nodejs").await), ["nodejs"]);

    for name in ["plain", "tagged"] {
        let path = format!("/v1/runs?functionName={name}");
        hub.post_json(&path, &json!({"blocking": true})).await;
    }
    let before = hub.get("/v1/function/plain").await;
    let (status, updating) = send(&hub, Method::PUT, "/v1/function/plain", tagged_as("plain")).await;
    assert_eq!(
        (status, &updating["status"]),
        (StatusCode::OK, &json!("UPDATING"))
    );
    let after = ready(&hub, "/v1/function/plain").await;
    assert_ne!(after["faasId"], before["faasId"]);
    assert_eq!(after["tags"][0]["key"], "role");

    let (status, gone) = send(&hub, Method::DELETE, "/v1/function/plain", Value::Null).await;
    assert_eq!((status, &gone["name"]), (StatusCode::OK, &json!("plain")));
    // Now and later: runs that the read model had not written yet must not come back.
    for later in [Duration::ZERO, Duration::from_millis(1200)] {
        sleep(later).await;
        assert_eq!(hub.get("/v1/runs?functionName=plain").await, json!([]));
        assert_eq!(hub.get("/v1/runs").await.as_array().unwrap().len(), 1);
    }
    for path in [
        "/v1/image/python3",
        "/v1/image/nodejs",
        "/v1/baseimage/python3-base",
        "/v1/baseimage/nodejs-base",
    ] {
        assert_eq!(
            send(&hub, Method::DELETE, path, Value::Null).await.0,
            StatusCode::OK
        );
    }
    assert_eq!(
        (hub.get("/v1/image").await, hub.get("/v1/baseimage").await),
        (json!([]), json!([]))
    );
    hub.stop().await;
}

fn tagged_as(name: &str) -> Value {
    json!({"name": name, "image": "python3", "tags": [{"key": "role", "value": "test"}]})
}

#[tokio::test]
async fn followers_see_each_run_of_their_function() {
    let hub = seeded().await;
    created(&hub, "f", "python3", HELLO_PY).await;
    created(&hub, "g", "python3", HELLO_PY).await;
    let follow = hub.client.get(hub.url("/v1/runs?follow=true&functionName=f"));
    let mut followed = follow.send().await.unwrap();
    assert_eq!(followed.headers()["content-type"], "text/event-stream");

    for name in ["g", "f"] {
        let path = format!("/v1/runs?functionName={name}");
        hub.post_json(&path, &json!({"blocking": true})).await;
    }

    let chunk = timeout(support::PATIENCE, followed.chunk())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let text = String::from_utf8(chunk.to_vec()).unwrap();
    let run: Value = serde_json::from_str(text.trim().strip_prefix("data:").unwrap()).unwrap();
    assert_eq!(
        (&run["functionName"], &run["status"]),
        (&json!("f"), &json!("READY"))
    );
    hub.stop().await;
}

#[tokio::test]
async fn a_stopped_hub_leaves_no_worker() {
    let hub = seeded().await;
    created(
        &hub,
        "pid",
        "python3",
        "import os\ndef handle(c, p): return os.getpid()\n",
    )
    .await;
    let (_, run) = hub
        .post_json("/v1/runs?functionName=pid", &json!({"blocking": true}))
        .await;
    let process = std::path::PathBuf::from(format!("/proc/{}", run["output"]));
    assert!(process.exists());

    hub.stop().await;

    until("no worker", || !process.exists()).await;
}
