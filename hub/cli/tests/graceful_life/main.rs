//! How a hub stops, what it says of itself meanwhile, and how it learns a new configuration: from outside.
// Helpers outside #[test] functions may unwrap here: a panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod reload;
mod restart;
mod stop;

use std::time::Duration;

use anyhow::Result;
use dispatch_fixtures::hub::Hub;
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_dispatch");
/// More than anything here should take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks and gives status and document.
async fn get(client: &reqwest::Client, url: &str) -> Result<(u16, Value)> {
    let answer = client.get(url).send().await?;
    let status = answer.status().as_u16();
    Ok((status, serde_json::from_str(&answer.text().await?)?))
}

/// A subscription for every event of the tests.
fn subscribe(hub: &Hub, url: &str) -> Result<()> {
    hub.subscribe("all", url, "--event-type test.happened")?;
    Ok(())
}
