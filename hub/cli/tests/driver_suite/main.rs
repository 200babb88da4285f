//! What every driver promises, on every driver of this workspace and on the three of the page on writing one.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod examples;
mod worlds;

use std::path::Path;

use anyhow::{Result, ensure};
use dispatch_driver_suite::{Verdict, World, check};

/// Drivers with a world in `worlds.rs` and a test below.
const CHECKED: &[&str] = &["cron", "files", "vcenter"];

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// Drivers that have no world yet; their own tests hold what the suite would.
const OWED: &[&str] = &["aws", "eventgrid", "webhook"];

async fn holds(world: impl World) -> Result<()> {
    let findings = check(world, PATIENCE).await?;
    let failed: Vec<_> = findings
        .iter()
        .filter(|f| matches!(f.verdict, Verdict::Fail(_)))
        .collect();
    ensure!(failed.is_empty(), "{failed:#?}");
    Ok(())
}

#[test]
fn no_driver_escapes_the_suite() {
    let drivers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../drivers");

    let mut escaped: Vec<String> = std::fs::read_dir(drivers)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|folder| folder.join("src/main.rs").exists())
        .map(|folder| folder.file_name().unwrap().to_string_lossy().into_owned())
        .filter(|name| !CHECKED.contains(&name.as_str()) && !OWED.contains(&name.as_str()))
        .collect();
    escaped.sort();

    assert!(escaped.is_empty(), "no world in worlds.rs for {escaped:?}");
}

#[tokio::test]
async fn cron_keeps_what_every_driver_promises() -> Result<()> {
    holds(worlds::Cron::new()?).await
}

#[tokio::test]
async fn files_keeps_what_every_driver_promises() -> Result<()> {
    holds(worlds::Files::new()?).await
}

#[tokio::test]
async fn vcenter_keeps_what_every_driver_promises() -> Result<()> {
    match worlds::Vcenter::new().await? {
        Some(world) => holds(world).await,
        None => Ok(()),
    }
}
