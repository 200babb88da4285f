//! Order by key through the real binary: 20,000 keys, one of them poisoned.
// Helpers outside #[test] functions may unwrap here: a panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use dispatch_fixtures::hub::{Hub, client};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_dispatch");
const KEYS: usize = 20_000;
const ROUNDS: usize = 2;
const BATCH: usize = 1000;
const POISON: &str = "poison";
const PATIENCE: Duration = Duration::from_secs(150);

/// A web hook that refuses one key until it is mended, and keeps what it took, by key.
#[derive(Default)]
struct Hook {
    mended: AtomicBool,
    taken: Mutex<HashMap<String, Vec<usize>>>,
}

impl Hook {
    fn taken<T>(&self, of: impl FnOnce(&HashMap<String, Vec<usize>>) -> T) -> T {
        of(&self.taken.lock().unwrap_or_else(PoisonError::into_inner))
    }
    fn count(&self) -> usize {
        self.taken(|taken| taken.values().map(Vec::len).sum())
    }
    fn of(&self, key: &str) -> Vec<usize> {
        self.taken(|taken| taken.get(key).cloned().unwrap_or_default())
    }
}

async fn take(State(hook): State<Arc<Hook>>, headers: HeaderMap) -> StatusCode {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
    };
    let (key, id) = (text("ce-partitionkey"), text("ce-id"));
    let Some(n) = id.rsplit('-').next().and_then(|n| n.parse().ok()) else {
        return StatusCode::BAD_REQUEST;
    };
    if key == POISON && !hook.mended.load(Ordering::SeqCst) {
        return StatusCode::UNPROCESSABLE_ENTITY;
    }
    let mut taken = hook.taken.lock().unwrap_or_else(PoisonError::into_inner);
    taken.entry(key.to_owned()).or_default().push(n);
    StatusCode::NO_CONTENT
}

fn event(key: &str, n: usize) -> Value {
    json!({"specversion": "1.0", "id": format!("{key}-{n}"), "source": "/order", "type": "test.happened", "partitionkey": key})
}

async fn post(hub: &Hub, client: &reqwest::Client, events: &[Value]) -> Result<()> {
    let answer = client
        .post(format!("{}/v1/events", hub.url()))
        .header("content-type", "application/cloudevents-batch+json")
        .body(serde_json::to_string(events)?)
        .send()
        .await?;
    ensure!(
        answer.status() == 202,
        "{}: {}",
        answer.status(),
        answer.text().await?
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poisoned_key_among_20_000_is_parked_and_goes_on_in_order_when_it_is_unparked() -> Result<()> {
    // Given a subscription that keeps order, to a web hook that refuses one key
    let hook = Arc::new(Hook::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    let app = Router::new().fallback(take).with_state(hook.clone());
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let hub = Hub::start(BINARY).await?;
    hub.subscribe("s", &url, "--event-type test.happened --order key --retry 2")?;

    // When every key gets its events, one round after the other, and the poisoned one some in between
    let client = client()?;
    let mut poisoned = 0;
    for round in 0..ROUNDS {
        for keys in (0..KEYS).collect::<Vec<_>>().chunks(BATCH - 1) {
            let mut events: Vec<Value> = keys.iter().map(|key| event(&format!("k{key}"), round)).collect();
            events.push(event(POISON, poisoned));
            poisoned += 1;
            post(&hub, &client, &events).await?;
        }
    }

    // Then the others flow, and it is visible that one waits for somebody
    let state = hub
        .until("the others to flow", PATIENCE, |hub| {
            let shown = hub.json(&["get", "subscription", "s"])?;
            let state = &shown["deliveries"];
            Ok(hook.count() == KEYS * ROUNDS && state["behindKeys"] == poisoned && state["parkedKeys"] == 1)
        })
        .await;
    state.with_context(|| format!("{} taken", hook.count()))?;
    ensure!(hook.of(POISON).is_empty());
    let owed = hub.json(&["get", "deliveries", "--subscription", "s"])?;
    ensure!(
        owed.as_array().is_some_and(|owed| owed.len() == poisoned),
        "{owed}"
    );
    ensure!(owed[0]["state"] == "parked" && owed[0]["key"] == POISON, "{owed}");
    ensure!(owed[0]["reason"].to_string().contains("422"), "{owed}");
    ensure!(
        owed[1]["state"] == "behind" && owed[1]["eventId"] == "poison-1",
        "{owed}"
    );
    let figures = client
        .get(format!("{}/metrics", hub.url()))
        .send()
        .await?
        .text()
        .await?;
    let parked = r#"dispatch_parked_keys{organization="dispatch",subscription="s"} 1"#;
    ensure!(figures.contains(parked), "{figures}");

    // When the first is skipped and the web hook is mended
    hook.mended.store(true, Ordering::SeqCst);
    assert_eq!(
        hub.ok(&["unpark", "s", "--key", POISON, "--skip"])?,
        "unparked: 1\n"
    );

    // Then the rest of the key follows, in order
    hub.until("the rest of the key", PATIENCE, |_| {
        Ok(hook.of(POISON).len() + 1 == poisoned)
    })
    .await?;
    assert_eq!(hook.of(POISON), (1..poisoned).collect::<Vec<_>>());
    hook.taken(|taken| {
        for (key, order) in taken.iter().filter(|(key, _)| *key != POISON) {
            assert_eq!(*order, (0..ROUNDS).collect::<Vec<_>>(), "{key}");
        }
    });
    let letters = hub.json(&["get", "deadletters"])?;
    ensure!(letters.as_array().is_some_and(|l| l.len() == 1), "{letters}");
    ensure!(letters[0]["event"]["id"] == "poison-0", "{letters}");
    server.abort();
    Ok(())
}
