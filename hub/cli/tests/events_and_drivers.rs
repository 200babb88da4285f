//! What the first Dispatch's own suite asked of events, subscriptions and drivers, from outside, by the command line.
// Helpers outside #[test] functions may unwrap here: a panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use anyhow::{Result, ensure};
use dispatch_fixtures::hub::{self, Hub};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(90);

const DEBUG_PY: &str =
    "def handle(ctx, payload):\n    return {'context': {'event': ctx.get('event')}, 'params': payload}\n";

/// A driver as anybody may write one: a tick every so many seconds, which says what it was told.
const TICKER: &str = r#"#!/usr/bin/env python3
import json, os, sys, time, urllib.request, uuid
seconds = [a.split("=")[1] for a in sys.argv[1:] if a.startswith("--seconds=")][0]
while True:
    event = {"specversion": "1.0", "id": str(uuid.uuid4()), "source": "/ticker", "type": "ticker.tick",
             "datacontenttype": "application/json", "data": {"seconds": seconds, "eager": "--eager" in sys.argv}}
    headers = {"Content-Type": "application/cloudevents+json", "Authorization": "Bearer " + os.environ["DISPATCH_TOKEN"]}
    urllib.request.urlopen(urllib.request.Request(os.environ["K_SINK"], json.dumps(event).encode(), headers, method="POST"))
    time.sleep(float(seconds) / 10)
"#;

/// A hub with the function `debug`, READY.
async fn with_debug() -> Result<Hub> {
    let hub = Hub::start(env!("CARGO_BIN_EXE_dispatch")).await?;
    std::fs::write(hub.scratch().join("debug.py"), DEBUG_PY)?;
    hub.ok(&["create", "base-image", "py", "x/y:1", "--language", "python3"])?;
    hub.ok(&["create", "image", "py", "py"])?;
    hub.ok(&["create", "function", "debug", "debug.py", "--image", "py"])?;
    hub.until("debug is READY", PATIENCE, |hub| {
        Ok(hub.json(&["get", "function", "debug"])?["status"] == "READY")
    })
    .await?;
    Ok(hub)
}

fn subscribe(hub: &Hub, name: &str, event_type: &str) -> Result<String> {
    hub.ok(&[
        "create",
        "subscription",
        "debug",
        "--name",
        name,
        "--event-type",
        event_type,
    ])
}

fn emit(hub: &Hub, event_type: &str, data: &str) -> Result<String> {
    let json = ["--content-type", "application/json"];
    hub.ok(&[&["emit", event_type, "--data", data], &json[..]].concat())
}

/// Runs that ended well, of events of this type.
fn runs_of(hub: &Hub, event_type: &str) -> Result<Vec<Value>> {
    let runs = hub.json(&["get", "runs", "debug"])?;
    let mine = |run: &&Value| run["event"]["eventType"] == event_type && run["status"] == "READY";
    Ok(runs
        .as_array()
        .into_iter()
        .flatten()
        .filter(mine)
        .cloned()
        .collect())
}

async fn until_runs(hub: &Hub, event_type: &str, count: usize) -> Result<Vec<Value>> {
    let what = format!("{count} runs by {event_type}");
    hub.until(
        &what,
        PATIENCE,
        |hub| Ok(runs_of(hub, event_type)?.len() >= count),
    )
    .await?;
    runs_of(hub, event_type)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_runs_the_functions_that_are_subscribed_to_its_type_now() -> Result<()> {
    let mut hub = with_debug().await?;
    assert_eq!(
        subscribe(&hub, "first", "test.event")?,
        "created subscription: first\n"
    );
    assert_eq!(hub.json(&["get", "subscription", "first"])?["status"], "READY");

    // What was emitted is what the function sees
    emit(&hub, "test.event", r#"{"name": "Jon"}"#)?;
    let run = until_runs(&hub, "test.event", 1).await?[0].clone();
    assert_eq!(
        (&run["functionName"], &run["status"]),
        (&json!("debug"), &json!("READY"))
    );
    assert_eq!(run["output"]["context"]["event"]["eventType"], "test.event");
    assert_eq!(run["output"]["params"], json!({"name": "Jon"}));

    // Two subscriptions of a type are two runs
    subscribe(&hub, "second", "test.event")?;
    emit(&hub, "test.event", "{}")?;
    let runs = until_runs(&hub, "test.event", 3).await?;
    let by = |name: &str| runs.iter().filter(|run| run["subscription"] == name).count();
    assert_eq!((by("first"), by("second")), (2, 1));

    // A subscription with another type gets that and not the one before
    let other = "kind: Subscription\nname: second\nfunction: debug\neventType: other.event\n";
    std::fs::write(hub.scratch().join("second.yaml"), other)?;
    assert_eq!(
        hub.ok(&["update", "-f", "second.yaml"])?,
        "Updated Subscription: second\n"
    );
    emit(&hub, "test.event", "{}")?;
    emit(&hub, "other.event", "{}")?;
    let others = until_runs(&hub, "other.event", 1).await?;
    assert_eq!(others[0]["subscription"], "second");
    until_runs(&hub, "test.event", 4).await?;

    // A restart keeps both, and what they said
    hub.kill()?;
    hub.run().await?;
    emit(&hub, "test.event", "{}")?;
    emit(&hub, "other.event", "{}")?;
    assert_eq!(until_runs(&hub, "other.event", 2).await?.len(), 2);
    let runs = until_runs(&hub, "test.event", 5).await?;
    let second = runs.iter().filter(|run| run["subscription"] == "second").count();
    assert_eq!(
        (runs.len(), second),
        (5, 1),
        "one before the change, none after it"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_of_anybodys_making_ticks_as_it_is_told_and_told_anew() -> Result<()> {
    let hub = with_debug().await?;
    let ticker = hub.scratch().join("ticker.py");
    std::fs::write(&ticker, TICKER)?;
    std::fs::set_permissions(&ticker, std::fs::Permissions::from_mode(0o755))?;
    assert_eq!(
        hub.ok(&["create", "eventdrivertype", "ticker", "./ticker.py"])?,
        "Created event driver type: ticker\n"
    );
    subscribe(&hub, "ticks", "ticker.tick")?;
    // `--set KEY` alone is a flag without a value.
    let create = ["create", "eventdriver", "ticker", "--name", "ticker-1"];
    let created = hub.json(&[&create[..], &["--set", "seconds=2", "--set", "eager"]].concat())?;
    assert_eq!(created["status"], "CREATING", "{created}");

    let ready = |hub: &Hub| Ok(hub.json(&["get", "eventdriver", "ticker-1"])?["status"] == "READY");
    hub.until("the driver is READY", PATIENCE, ready).await?;
    let run = until_runs(&hub, "ticker.tick", 1).await?[0].clone();
    assert_eq!(run["output"]["params"], json!({"seconds": "2", "eager": true}));

    let file = "kind: Driver\nname: ticker-1\ntype: ticker\nconfig:\n- {key: seconds, value: '5'}\n";
    std::fs::write(hub.scratch().join("ticker.yaml"), file)?;
    assert_eq!(
        hub.ok(&["update", "-f", "ticker.yaml"])?,
        "Updated Driver: ticker-1\n"
    );
    let told = hub.json(&["get", "eventdriver", "ticker-1"])?;
    assert_eq!(told["config"][0]["value"], "5", "{told}");
    hub.until("a tick of the changed driver", PATIENCE, |hub| {
        let anew = json!({"seconds": "5", "eager": false});
        Ok(runs_of(hub, "ticker.tick")?
            .iter()
            .any(|run| run["output"]["params"] == anew))
    })
    .await?;
    hub.until("the changed driver is READY", PATIENCE, ready).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_without_a_program_is_in_error_and_says_what_was_looked_for() -> Result<()> {
    let hub = Hub::start(env!("CARGO_BIN_EXE_dispatch")).await?;
    hub.ok(&["create", "eventdrivertype", "missing", "missing/image:latest"])?;

    let created = hub.json(&["create", "eventdriver", "missing", "--name", "unavailable"])?;

    assert_eq!(created["status"], "CREATING", "{created}");
    let driver = ["get", "eventdriver", "unavailable"];
    hub.until("the driver is in ERROR", PATIENCE, |hub| {
        Ok(hub.json(&driver)?["status"] == "ERROR")
    })
    .await?;
    let reason = hub.json(&driver)?["reason"].to_string();
    ensure!(reason.contains("image"), "{reason}");

    for name in ["testDriver-1", "test_driver-1", "-driver", "driver."] {
        let refused = hub.cli(&["create", "eventdriver", "missing", &format!("--name={name}")])?;
        let said = String::from_utf8(refused.stderr)?;
        ensure!(refused.status.code() == Some(1), "{name}: {said}");
        ensure!(said.starts_with("[Code: 400] name"), "{name}: {said}");
    }
    assert_eq!(
        hub.json(&["get", "eventdrivers"])?.as_array().map(Vec::len),
        Some(1)
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_no_drivers_token_hands_nothing_over() -> Result<()> {
    let hub = Hub::start(env!("CARGO_BIN_EXE_dispatch")).await?;
    let old = json!({
        "namespace": "x", "event-type": "forged.event", "event-type-version": "1", "cloud-events-version": "0.1",
        "source-type": "x", "source-id": "x", "event-id": "1", "content-type": "application/json", "data": "{}",
    });
    let url = format!("{}/v1/event/ingest?authToken=nobody", hub.url());

    let refused = hub::client()?.post(url).json(&old).send().await?;

    assert_eq!(refused.status(), 401);
    let said: Value = refused.json().await?;
    assert_eq!(said, json!({"code": 401, "message": "token not recognized"}));
    assert_eq!(hub.json(&["get", "events"])?, json!([]));
    Ok(())
}
