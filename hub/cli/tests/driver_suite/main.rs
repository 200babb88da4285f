//! What every driver promises, on every driver of this workspace and on the three of the page on writing one; and that
//! each check fails for a driver that breaks its promise.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]
#![allow(clippy::print_stdout, reason = "what a check saw, beside its verdict")]

mod careless;
mod doors;
mod examples;
mod topic;
mod trials;
mod worlds;

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use dispatch_driver_suite::{Finding, Verdict, World, check};
use dispatch_fixtures::aws::Emulator;

const PATIENCE: Duration = Duration::from_secs(60);

async fn holds(world: Option<impl World>) -> Result<()> {
    // Said visibly where the world is made: what it needs cannot be had here.
    let Some(world) = world else { return Ok(()) };
    let findings = check(world, PATIENCE).await?;
    for finding in &findings {
        if let Verdict::NotApplicable(why) = &finding.verdict {
            println!("{}: {why}", finding.check);
        }
    }
    let is_failure = |finding: &&Finding| matches!(finding.verdict, Verdict::Fail(_));
    let failed: Vec<_> = findings.iter().filter(is_failure).collect();
    ensure!(failed.is_empty(), "{failed:#?}");
    Ok(())
}

/// A test for each driver, and the list of them: nobody is on it without a test.
macro_rules! checked {
    ($($driver:ident: $world:expr,)*) => {
        const CHECKED: &[&str] = &[$(stringify!($driver)),*];
        $(mod $driver {
            use super::*;

            #[tokio::test]
            async fn keeps_what_every_driver_promises() -> Result<()> {
                holds($world).await
            }
        })*
    };
}

checked! {
    aws: worlds::Sqs::new(Emulator::Ministack).await?,
    cron: Some(worlds::Cron::new()?),
    eventgrid: Some(doors::event_grid()?),
    files: Some(worlds::Files::new()?),
    vcenter: worlds::Vcenter::new().await?,
    webhook: Some(doors::webhook()?),
}

#[tokio::test]
async fn aws_keeps_it_with_another_emulator_too() -> Result<()> {
    holds(worlds::Sqs::new(Emulator::Moto).await?).await
}

#[tokio::test]
async fn aws_keeps_it_as_an_api_destination_too() -> Result<()> {
    holds(Some(doors::api_destination()?)).await
}

#[tokio::test]
async fn aws_keeps_it_as_a_subscriber_of_sns_too() -> Result<()> {
    holds(Some(topic::Topic::new().await?)).await
}

#[tokio::test]
async fn eventgrid_keeps_it_when_it_pulls_too() -> Result<()> {
    holds(Some(worlds::Pull::new().await?)).await
}

#[test]
fn no_driver_escapes_the_suite() {
    let drivers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../drivers");

    let mut executables: Vec<String> = std::fs::read_dir(drivers)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|folder| folder.join("src/main.rs").exists())
        .map(|folder| folder.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    executables.sort();

    assert_eq!(executables, CHECKED, "a driver needs a world in this folder");
}
