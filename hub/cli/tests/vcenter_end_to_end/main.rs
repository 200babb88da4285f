//! A vCenter admin's hub: VMs power off and functions run; storms, kills and outages lose nothing; one vCenter that is away
//! delays no other.
// Helpers outside #[test] functions may unwrap here: a panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod kills;
mod night;
mod outages;
mod storms;
mod trying;

use std::time::Duration;

use anyhow::{Context, Result};
use dispatch_fixtures::hub::Hub;
use dispatch_fixtures::target::Arrival;
use dispatch_fixtures::vcsim::Vcsim;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_dispatch");

/// A hub that knows the simulator's password as the secret `vc`.
async fn watch(simulator: &Vcsim) -> Result<Hub> {
    let hub = Hub::start(BINARY).await?;
    write_secret(&hub, "vc", &simulator.host(), simulator)?;
    hub.ok(&["create", "secret", "vc", "vc.json"])?;
    Ok(hub)
}

/// Writes `NAME.json` into the hub's folder.
fn write_secret(hub: &Hub, name: &str, host: &str, simulator: &Vcsim) -> Result<()> {
    let (username, password) = simulator.credentials();
    let secret = json!({"host": host, "username": username, "password": password});
    Ok(std::fs::write(
        hub.scratch().join(format!("{name}.json")),
        secret.to_string(),
    )?)
}

/// The driver `vc1` with the secret `vc`, READY.
async fn start_driver(hub: &Hub, simulator: &Vcsim, start: &str) -> Result<()> {
    create_driver(hub, "vc1", "vc", simulator, start)?;
    ready(hub, "vc1").await
}

fn create_driver(hub: &Hub, name: &str, secret: &str, simulator: &Vcsim, start: &str) -> Result<String> {
    let ca = format!("ca={}", simulator.ca().display());
    let start = format!("start={start}");
    let command = ["create", "eventdriver", "vcenter", "--name", name];
    let settings = ["--secret", secret, "--set", &ca, "--set", &start];
    hub.ok(&[&command[..], &settings[..]].concat())
}

async fn ready(hub: &Hub, driver: &str) -> Result<()> {
    ready_within(hub, driver, Duration::from_secs(20)).await
}

async fn ready_within(hub: &Hub, driver: &str, patience: Duration) -> Result<()> {
    hub.until(&format!("{driver} is READY"), patience, |hub| {
        Ok(hub.json(&["get", "eventdriver", driver])?["status"] == "READY")
    })
    .await
}

fn data(arrival: &Arrival) -> Value {
    let data = arrival.event.data();
    data.and_then(|d| serde_json::from_slice(d.bytes).ok())
        .unwrap_or_default()
}

fn key(arrival: &Arrival) -> Result<i64> {
    data(arrival)["key"].as_i64().context("a vCenter event has a key")
}
