//! What programs are promised that were written for somebody else: Knative's container sources, and both contracts
//! of the original Dispatch.
// A test's helper may unwrap.
#![allow(clippy::unwrap_used)]

mod support;

use std::os::unix::fs::PermissionsExt as _;

use reqwest::StatusCode;
use serde_json::{Value, json};
use support::{Hub, answer};

/// Starts a program as the driver `d`.
async fn start(hub: &Hub, folder: &std::path::Path, body: &str, extensions: Value) {
    let (aside, path) = (folder.join("aside"), folder.join("program"));
    std::fs::write(&aside, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(aside, &path).unwrap();
    let (status, said) = hub
        .post_json("/v1/event/drivertypes", &json!({"name": "t", "image": path}))
        .await;
    assert_eq!(status, StatusCode::CREATED, "{said}");
    let driver = json!({"name": "d", "type": "t", "extensions": extensions});
    let (status, said) = hub.post_json("/v1/event/drivers", &driver).await;
    assert_eq!(status, StatusCode::CREATED, "{said}");
}

async fn first_event(hub: &Hub) -> Value {
    let events = hub
        .until("/v1/events", |events| !events.as_array().unwrap().is_empty())
        .await;
    events[0].clone()
}

#[tokio::test]
async fn a_container_source_of_knative_works_as_it_is() {
    let (hub, folder) = (Hub::start().await, tempfile::tempdir().unwrap());
    let heartbeats = r#"exec python3 - <<'END'
import json, os, time, urllib.request
sink = os.environ["K_SINK"]
extensions = json.loads(os.environ.get("K_CE_OVERRIDES", "{}")).get("extensions", {})
for n in range(1000):
    headers = {"Content-Type": "application/json", "Ce-Specversion": "1.0", "Ce-Id": str(n),
        "Ce-Source": "/heartbeats", "Ce-Type": "dev.knative.eventing.samples.heartbeat"}
    headers.update({"Ce-" + name: value for name, value in extensions.items()})
    urllib.request.urlopen(urllib.request.Request(sink, json.dumps({"id": n, "extensions": extensions}).encode(), headers, method="POST"))
    time.sleep(0.2)
END"#;

    start(&hub, folder.path(), heartbeats, json!({"stage": "test"})).await;

    let event = first_event(&hub).await.to_string();
    assert!(
        event.contains("dev.knative.eventing.samples.heartbeat"),
        "{event}"
    );
    assert!(event.contains(r#""stage":"test""#), "{event}");
    hub.stop().await;
}

#[tokio::test]
async fn a_driver_of_dispatch_solo_works_as_it_is() {
    let (hub, folder) = (Hub::start().await, tempfile::tempdir().unwrap());
    let ticker = r#"ENDPOINT= ; for arg in "$@"; do case $arg in --dispatch-api-endpoint=*) ENDPOINT=${arg#*=};; esac; done
export ENDPOINT
exec python3 - <<'END'
import json, os, time, urllib.request, uuid
url = "http://%s/v1/event/ingest?authToken=%s" % (os.environ["ENDPOINT"], os.environ["AUTH_TOKEN"])
while True:
    event = {"eventType": "ticker.tick", "cloudEventsVersion": "0.1", "source": "ticker", "eventID": str(uuid.uuid4()),
        "contentType": "application/json", "data": {"n": 1}}
    headers = {"Content-Type": "application/json", "Cookie": "unset"}
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(event).encode(), headers, method="POST"))
    time.sleep(0.2)
END"#;

    start(&hub, folder.path(), ticker, json!({})).await;

    let event = first_event(&hub).await.to_string();
    assert!(event.contains("ticker.tick"), "{event}");
    let refused = hub
        .post_json("/v1/event/ingest?authToken=wrong", &json!({}))
        .await;
    assert_eq!(
        refused,
        (
            StatusCode::UNAUTHORIZED,
            json!({"code": 401, "message": "token not recognized"})
        )
    );
    hub.stop().await;
}

#[tokio::test]
async fn what_the_original_sidecar_took_is_taken_and_answered_as_it_did() {
    let hub = Hub::start().await;
    let event = |id: &str| {
        json!({"eventType": "vm.powered.on", "cloudEventsVersion": "0.1", "source": "vcenter1", "eventID": id,
            "contentType": "application/json", "data": {"n": 1}})
    };
    let post = async |body: String| answer(hub.post("/").body(body).send().await.unwrap()).await;

    let well = hub.client.get(hub.url("/")).send().await.unwrap();
    let one = post(event("a").to_string()).await;
    let several = post(json!([event("b"), event("c")]).to_string()).await;
    let lines = post(format!("{}\n{}\n", event("d"), event("e"))).await;
    let nothing = post("[]".to_owned()).await;
    let broken = post("{".to_owned()).await;
    let half = post(json!([event("f"), {"eventType": ""}]).to_string()).await;

    assert_eq!(well.status(), StatusCode::OK);
    for taken in [one, several, lines] {
        assert_eq!(taken.0, StatusCode::CREATED, "{}", taken.1);
    }
    for (refused, message) in [
        (nothing, "No events parsed"),
        (broken, "Error parsing input: "),
        (half, "Error validating event: "),
    ] {
        assert_eq!(refused.0, StatusCode::BAD_REQUEST);
        let said = refused.1["message"].as_str().unwrap();
        assert!(said.starts_with(message), "{said}");
    }
    let all = hub.get("/v1/events").await;
    assert_eq!(
        all.as_array().unwrap().len(),
        5,
        "a batch is all or nothing: {all}"
    );
    hub.stop().await;
}
