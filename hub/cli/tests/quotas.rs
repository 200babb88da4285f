//! Quotas of the real binary: what an organization has under way, and what a reload changes.
// Helpers outside #[test] functions may unwrap here: a panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::extract::State;
use axum::http::StatusCode;
use dispatch_fixtures::hub::{Hub, client};
use dispatch_fixtures::target::Target;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

const BINARY: &str = env!("CARGO_BIN_EXE_dispatch");
/// More than anything here should take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A sink that keeps every request until it may answer, and counts how many it has at once.
struct Holding {
    address: SocketAddr,
    counts: Arc<Counts>,
    server: tokio::task::JoinHandle<()>,
}

struct Counts {
    now: AtomicUsize,
    most: AtomicUsize,
    answered: AtomicUsize,
    leave: Semaphore,
}

impl Holding {
    async fn start() -> Result<Self> {
        let counts = Arc::new(Counts {
            now: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            answered: AtomicUsize::new(0),
            leave: Semaphore::new(0),
        });
        let routes = axum::Router::new().fallback(hold).with_state(counts.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Ok(Self {
            address,
            counts,
            server,
        })
    }

    fn now(&self) -> usize {
        self.counts.now.load(Ordering::SeqCst)
    }

    fn most(&self) -> usize {
        self.counts.most.load(Ordering::SeqCst)
    }

    fn answered(&self) -> usize {
        self.counts.answered.load(Ordering::SeqCst)
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn hold(State(counts): State<Arc<Counts>>) -> StatusCode {
    let now = counts.now.fetch_add(1, Ordering::SeqCst) + 1;
    counts.most.fetch_max(now, Ordering::SeqCst);
    counts.leave.acquire().await.unwrap().forget();
    counts.now.fetch_sub(1, Ordering::SeqCst);
    counts.answered.fetch_add(1, Ordering::SeqCst);
    StatusCode::NO_CONTENT
}

/// A hub with a configuration file, and somebody who talks to it.
struct World {
    hub: Hub,
    client: reqwest::Client,
    folder: tempfile::TempDir,
}

impl World {
    async fn start(config: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("hub.yaml");
        std::fs::write(&file, config)?;
        let hub = Hub::start_with(BINARY, &["--config", &file.to_string_lossy()]).await?;
        Ok(Self {
            hub,
            client: client()?,
            folder,
        })
    }

    /// Changes the file and says so.
    async fn reload(&self, config: &str) -> Result<Value> {
        std::fs::write(self.folder.path().join("hub.yaml"), config)?;
        let (status, said) = self.post("acme", "/v1/reload", "application/json", "").await?;
        ensure!(status == 200, "{said}");
        Ok(said)
    }

    async fn post(
        &self,
        organization: &str,
        path: &str,
        content_type: &str,
        body: &str,
    ) -> Result<(u16, Value)> {
        let request = self.client.post(format!("{}{path}", self.hub.url()));
        let request = request
            .header("x-dispatch-org", organization)
            .header("content-type", content_type);
        let answer = request.body(body.to_owned()).send().await?;
        let status = answer.status().as_u16();
        Ok((status, serde_json::from_str(&answer.text().await?)?))
    }

    async fn subscribe(&self, organization: &str, url: &str) -> Result<()> {
        let subscription =
            json!({"name": "all", "eventType": "t", "sink": {"uri": url}, "delivery": {"timeout": "PT1M"}});
        let path = "/v1/event/subscriptions";
        let (status, said) = self
            .post(organization, path, "application/json", &subscription.to_string())
            .await?;
        ensure!(status == 201, "{said}");
        Ok(())
    }

    /// Posts a batch and gives the status.
    async fn events(&self, organization: &str, name: &str, count: usize) -> Result<u16> {
        let event =
            |n| json!({"specversion": "1.0", "id": format!("{name}-{n}"), "source": "/test", "type": "t"});
        let events = Value::from_iter((0..count).map(event)).to_string();
        let content_type = "application/cloudevents-batch+json";
        let (status, _) = self
            .post(organization, "/v1/events", content_type, &events)
            .await?;
        Ok(status)
    }

    async fn until(&self, what: &str, condition: impl Fn() -> bool) -> Result<()> {
        self.hub.until(what, PATIENCE, |_| Ok(condition())).await
    }
}

#[tokio::test]
async fn an_organization_never_has_more_under_way_than_its_quota_and_a_reload_changes_it() -> Result<()> {
    // Given an organization that may have three deliveries under way, and another without a quota
    let world = World::start("quotas: {organizations: {acme: {in-flight: 3}}}\n").await?;
    let (held, free) = (Holding::start().await?, Target::start().await?);
    world
        .subscribe("acme", &format!("http://{}/", held.address))
        .await?;
    world.subscribe("other", &free.url()).await?;

    // When its sink does not answer and much is owed
    ensure!(world.events("acme", "a", 30).await? == 202);
    world.until("three are under way", || held.now() == 3).await?;

    // Then there are three, while the other organization goes on
    for n in 0..10 {
        ensure!(world.events("other", &format!("o{n}"), 20).await? == 202);
    }
    world
        .until("the other got all", || free.accepted().len() == 200)
        .await?;
    ensure!(held.most() == 3, "{}", held.most());

    // And three at once also while they end and others take their places
    held.counts.leave.add_permits(10);
    world
        .until("ten ended and three are under way", || {
            held.answered() == 10 && held.now() == 3
        })
        .await?;
    ensure!(held.most() == 3, "{}", held.most());

    // When the quota is raised, then more start at once
    let said = world
        .reload("quotas: {organizations: {acme: {in-flight: 7}}}\n")
        .await?;
    let changed = json!({"changed": ["quotas.organizations.acme.in-flight"], "needsRestart": []});
    ensure!(said == changed, "{said}");
    world.until("seven are under way", || held.now() == 7).await?;

    // And nothing of it was lost
    held.counts.leave.add_permits(1000);
    world.until("all have ended", || held.answered() == 30).await?;
    ensure!(held.most() == 7, "{}", held.most());
    Ok(())
}

#[tokio::test]
async fn callers_of_an_organization_s_apis_wait_in_no_greater_number_than_its_quota() -> Result<()> {
    const SLOW: &str = "import time\ndef handle(ctx, payload):\n    time.sleep(8)\n    return 'done'\n";
    // Given an organization that may have two calls under way, a function that takes its time, and no more events a
    // second than calls that are let in: those that are not cost nothing
    let world =
        World::start("quotas: {organizations: {dispatch: {in-flight: 2, events-per-second: 2}}}\n").await?;
    std::fs::write(world.hub.scratch().join("slow.py"), SLOW)?;
    for line in [
        "create base-image py any/thing:1 --language python3",
        "create image python3 py",
        "create function slow --image python3 slow.py --max-workers 4",
        "create api slow slow --path /slow",
    ] {
        world.hub.ok(&line.split(' ').collect::<Vec<_>>())?;
    }
    let ready = |hub: &Hub| Ok(hub.json(&["get", "function", "slow"])?["status"] == "READY");
    world.hub.until("it is READY", 4 * PATIENCE, ready).await?;
    let url = format!("{}/dispatch/slow", world.hub.gateway());
    let call = async || -> Result<(u16, bool, String)> {
        let answer = world.client.get(&url).timeout(4 * PATIENCE).send().await?;
        let (status, says_when) = (
            answer.status().as_u16(),
            answer.headers().contains_key("retry-after"),
        );
        Ok((status, says_when, answer.text().await?))
    };

    // When five call at once
    let answers = futures_util::future::try_join_all((0..5).map(|_| call())).await?;

    // Then two are answered, and three told to come again
    let refused: Vec<_> = answers.iter().filter(|(status, ..)| *status == 429).collect();
    ensure!(refused.len() == 3, "{answers:?}");
    for (_, says_when, said) in refused {
        let told = "organization dispatch may have 2 calls under way at once (in-flight of its quota)";
        ensure!(*says_when && said.contains(told), "{said}");
    }
    let answered = answers.iter().filter(|(status, ..)| *status == 200);
    ensure!(answered.count() == 2, "{answers:?}");

    // And those who come later get in again
    let (status, _, said) = call().await?;
    ensure!(status == 200, "{said}");
    Ok(())
}

#[tokio::test]
async fn a_reload_changes_what_an_organization_may_bring() -> Result<()> {
    let world = World::start("log: info\n").await?;
    ensure!(world.events("acme", "without", 50).await? == 202);

    let said = world
        .reload("log: info\nquotas: {default: {events-per-second: 10}}\n")
        .await?;
    let changed = json!({"changed": ["quotas.default.events-per-second"], "needsRestart": []});
    ensure!(said == changed, "{said}");
    ensure!(world.events("acme", "above", 11).await? == 413);
    let mut refused = false;
    for n in 0..100 {
        let status = world.events("acme", &format!("a{n}"), 10).await?;
        ensure!([202, 429].contains(&status), "{status}");
        refused |= status == 429;
        if refused {
            break;
        }
    }
    ensure!(refused, "the new quota does not count");

    world
        .reload("log: info\nquotas: {default: {events-per-second: 10}, organizations: {acme: {events-per-second: unlimited}}}\n")
        .await?;
    for n in 0..10 {
        ensure!(world.events("acme", &format!("free{n}"), 50).await? == 202);
    }
    Ok(())
}

#[tokio::test]
async fn a_quota_that_cannot_be_is_refused_with_its_place_and_what_is_allowed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("hub.yaml");
    std::fs::write(
        &file,
        "quotas:\n  organizations:\n    acme:\n      in-flight: many\n",
    )?;

    let config = file.to_string_lossy();
    let started = Hub::start_with(BINARY, &["--config", &config]).await;

    let said = started.err().context("it started")?.to_string();
    for part in [
        "hub.yaml",
        "quotas.organizations.acme.in-flight",
        "line 4",
        "a whole number of at least 1",
        "unlimited",
    ] {
        ensure!(said.contains(part), "{part} in {said}");
    }
    Ok(())
}
