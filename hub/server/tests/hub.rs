//! What a hub promises as a whole: how it starts, what it tells of itself, what it does with paths nobody serves.
// A test's helper may unwrap.
#![allow(clippy::unwrap_used)]

mod support;

use dispatch_server::{ServerConfig, start};
use reqwest::{Method, StatusCode};
use serde_json::json;
use support::{Hub, answer, config, event};

async fn refusal(config: ServerConfig) -> String {
    match start(config).await {
        Ok(_) => panic!("it started"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn health_and_version_tell_the_release() {
    let hub = Hub::start().await;

    let health = hub.get("/healthz").await;
    let version = hub.get("/v1/version").await;

    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(health["version"], version);
    hub.stop().await;
}

#[tokio::test]
async fn what_nobody_serves_is_an_error_document() {
    let hub = Hub::start().await;

    let unknown = hub.client.get(hub.url("/v1/nothing?x=1")).send().await.unwrap();
    let of_the_original = hub.client.get(hub.url("/v1/iam/policy")).send().await.unwrap();
    let method = hub
        .client
        .request(Method::PATCH, hub.url("/v1/events"))
        .send()
        .await
        .unwrap();
    let query = hub
        .client
        .get(hub.url("/v1/events?limit=many"))
        .send()
        .await
        .unwrap();
    let slash = hub.client.get(hub.url("/v1/version/")).send().await.unwrap();

    let expected = json!({"code": 404, "message": "resource does not exist"});
    assert_eq!(answer(unknown).await, (StatusCode::NOT_FOUND, expected));
    let (status, document) = answer(method).await;
    assert_eq!(
        (status.as_u16(), &document["code"]),
        (405, &json!(405)),
        "{document}"
    );
    let (status, document) = answer(query).await;
    assert_eq!(
        (status.as_u16(), &document["code"]),
        (400, &json!(400)),
        "{document}"
    );
    assert_eq!(slash.status(), StatusCode::OK);
    assert_eq!(of_the_original.status(), StatusCode::NOT_IMPLEMENTED);
    hub.stop().await;
}

#[tokio::test]
async fn the_api_describes_every_route_it_serves() {
    let hub = Hub::start().await;

    let document = hub.get("/openapi.json").await;

    assert!(
        document["openapi"].as_str().unwrap().starts_with("3.1"),
        "{}",
        document["openapi"]
    );
    let paths = document["paths"].as_object().unwrap();
    let expected = [
        ("/healthz", "get"),
        ("/livez", "get"),
        ("/readyz", "get"),
        ("/startupz", "get"),
        ("/v1/reload", "post"),
        ("/metrics", "get"),
        ("/v1/version", "get"),
        ("/v1/events", "post"),
        ("/v1/events", "get"),
        ("/v1/events", "options"),
        ("/v1/event/", "post"),
        ("/v1/event/ingest", "post"),
        ("/v1/deadletters", "get"),
        ("/v1/deadletters", "delete"),
        ("/v1/deadletters/{id}", "get"),
        ("/v1/deadletters/{id}", "delete"),
        ("/v1/deadletters/redrive", "post"),
        ("/v1/deliveries", "get"),
        ("/v1/baseimage", "post"),
        ("/v1/baseimage/{baseImageName}", "put"),
        ("/v1/image", "get"),
        ("/v1/image/{imageName}", "delete"),
        ("/v1/function", "post"),
        ("/v1/function/{functionName}", "get"),
        ("/v1/runs", "post"),
        ("/v1/runs", "get"),
        ("/v1/runs/{runName}", "get"),
        ("/v1/runs/{runName}", "delete"),
        ("/v1/runs/{runName}/rerun", "post"),
        ("/v1/application/", "post"),
        ("/v1/application/{application}", "put"),
        ("/v1/secretkey/rotate", "post"),
        ("/v1/secret/", "post"),
        ("/v1/secret/{secretName}", "put"),
        ("/v1/event/drivertypes", "post"),
        ("/v1/event/drivertypes/{driverTypeName}", "get"),
        (
            "/v1/event/drivertypes/{driverTypeName}/schemas/{eventType}",
            "get",
        ),
        ("/v1/event/drivers", "post"),
        ("/v1/event/drivers/{driverName}", "delete"),
        ("/v1/event/subscriptions", "post"),
        ("/v1/event/subscriptions/{subscriptionName}", "put"),
    ];
    for (path, method) in expected {
        assert!(
            paths.get(path).is_some_and(|p| p.get(method).is_some()),
            "{method} {path} of {:?}",
            paths.keys()
        );
    }
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            assert!(operation["operationId"].is_string(), "{method} {path}");
            assert!(operation["summary"].is_string(), "{method} {path}");
            let of_the_hub = operation["tags"][0] == "hub" || method == "options";
            let organization = operation["parameters"].to_string().contains("X-Dispatch-Org");
            assert_ne!(of_the_hub, organization, "{method} {path}");
        }
    }
    hub.stop().await;
}

#[tokio::test]
async fn the_figures_count_what_the_door_took() {
    let hub = Hub::start().await;
    for _ in 0..2 {
        let request = hub
            .post("/v1/events")
            .header("X-Dispatch-Org", "figures")
            .json(&event("a", "t"));
        request.send().await.unwrap();
    }

    let text = hub
        .client
        .get(hub.url("/metrics"))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();

    for line in [
        "dispatch_events_received_total{organization=\"figures\"} 2",
        "dispatch_events_duplicate_total{organization=\"figures\"} 1",
        "# TYPE dispatch_queue_depth gauge",
        "# TYPE dispatch_oldest_undelivered_seconds gauge",
        "# TYPE dispatch_journal_fsync_seconds histogram",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_hub_that_cannot_start_names_the_setting_in_one_line() {
    let hub = Hub::start().await;
    let folder = tempfile::tempdir().unwrap();
    let fresh = || config(folder.path());
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let port = hub.url("").rsplit(':').next().unwrap().parse().unwrap();

    let table = [
        (
            ServerConfig { port, ..fresh() },
            "is in use: choose another with --port",
        ),
        (
            ServerConfig {
                data: hub.data(),
                ..fresh()
            },
            "in use by another hub: stop that one, or choose another with --data",
        ),
        (
            ServerConfig {
                data: file.join("x"),
                ..fresh()
            },
            "(--data)",
        ),
        (
            ServerConfig {
                host: "0.0.0.0".into(),
                ..fresh()
            },
            "--insecure-no-auth",
        ),
        (
            ServerConfig {
                host: "no such host".into(),
                ..fresh()
            },
            "--host no such host",
        ),
    ];

    for (config, part) in table {
        let said = refusal(config).await;
        assert!(said.contains(part), "{said}");
        assert!(!said.contains('\n'), "{said}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn others_are_let_in_only_if_the_operator_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let open = ServerConfig {
        host: "0.0.0.0".into(),
        insecure_no_auth: true,
        ..config(folder.path())
    };

    let server = start(open).await.unwrap();

    assert!(server.address().ip().is_unspecified());
    server.stop().await;
}
