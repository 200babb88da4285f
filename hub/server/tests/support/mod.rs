//! A whole hub in this process: its own data folder, a free port, a client.

// Each test binary uses some of it, and a test's helper may unwrap.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use dispatch_server::{Exit, Limits, Server, ServerConfig, start};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

/// More than anything here should take.
pub const PATIENCE: Duration = Duration::from_secs(15);
/// How long a stop may take: much on a busy machine, yet less than is waited for it.
const DRAIN: Duration = Duration::from_secs(12);

/// A running hub.
pub struct Hub {
    server: Server,
    folder: TempDir,
    pub client: Client,
}

impl Hub {
    pub async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    pub async fn start_in(folder: TempDir) -> Self {
        let config = config(folder.path());
        Self::start_with(folder, config).await
    }

    pub async fn start_with(folder: TempDir, config: ServerConfig) -> Self {
        dispatch_fixtures::crypto();
        let server = start(config).await.unwrap();
        Self {
            server,
            folder,
            client: Client::builder().timeout(PATIENCE).build().unwrap(),
        }
    }

    /// Stops it and starts it again on the same data.
    pub async fn restart(self) -> Self {
        let folder = self.stop().await;
        Self::start_in(folder).await
    }

    pub async fn stop(self) -> TempDir {
        let (exit, folder) = self.end().await;
        assert_eq!(exit, Exit::Drained);
        folder
    }

    /// Stops it, however that ends.
    pub async fn end(self) -> (Exit, TempDir) {
        let exit = timeout(PATIENCE, self.server.stop()).await.unwrap();
        (exit, self.folder)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address())
    }

    pub fn gateway(&self) -> std::net::SocketAddr {
        self.server.gateway()
    }

    pub fn data(&self) -> std::path::PathBuf {
        config(self.folder.path()).data
    }

    pub async fn get(&self, path: &str) -> Value {
        let response = self.client.get(self.url(path)).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(self.url(path))
    }

    /// Posts a document and gives status and answer.
    pub async fn post_json(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        answer(self.post(path).json(body).send().await.unwrap()).await
    }

    /// Posts one event in structured mode.
    pub async fn event(&self, event: &Value) -> (StatusCode, Value) {
        let request = self
            .post("/v1/events")
            .header("content-type", "application/cloudevents+json");
        answer(request.body(event.to_string()).send().await.unwrap()).await
    }

    /// Asks again until the answer is as wanted.
    pub async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let value = self.get(path).await;
            if wanted(&value) {
                return value;
            }
            assert!(Instant::now() < end, "{path} is not as it should be: {value}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// A subscription on a type, delivered to a URL.
    pub async fn subscribe(&self, name: &str, ty: &str, uri: &str, delivery: Value) {
        let subscription = json!({"name": name, "eventType": ty, "sink": {"uri": uri}, "delivery": delivery});
        let (status, answer) = self.post_json("/v1/event/subscriptions", &subscription).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
    }
}

/// The least a test needs.
pub fn config(folder: &Path) -> ServerConfig {
    ServerConfig {
        data: folder.join("data"),
        port: 0,
        gateway_port: 0,
        limits: Limits {
            drain: DRAIN,
            ..Limits::default()
        },
        ..ServerConfig::default()
    }
}

/// An event in structured mode.
pub fn event(id: &str, ty: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/test", "type": ty, "data": {"n": 1}})
}

pub async fn answer(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// Waits until the condition holds.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "not in time: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
