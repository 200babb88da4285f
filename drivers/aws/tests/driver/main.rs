//! The executable against real queues: what reaches the hub, what is deleted and when, how it lives.
#![allow(
    clippy::unwrap_used,
    reason = "outside #[test] functions too a panic is how a test fails"
)]

mod delivering;
mod destination;
mod living;
mod making;
mod sns;

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use dispatch_fixtures::aws::{Aws, CREDENTIALS, Emulator, REGION};
use dispatch_fixtures::driver_hub::DriverHub;
use dispatch_fixtures::process::Process;

/// For every wait: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often something is sent that must be taken.
const TRIES: usize = 5;
const BOTH: [Emulator; 2] = [Emulator::Ministack, Emulator::Moto];

/// The driver with these settings, besides endpoint and region.
fn start(aws: &Aws, hub: &DriverHub, settings: &[&str]) -> Result<Process> {
    let url = aws.url();
    start_at(&url, hub, settings)
}

fn start_at(url: &str, hub: &DriverHub, settings: &[&str]) -> Result<Process> {
    let fixed = [format!("--endpoint-url={url}"), format!("--region={REGION}")];
    let args = fixed.into_iter().chain(settings.iter().map(|s| (*s).to_owned()));
    let sink = hub.sink();
    let mut environment = CREDENTIALS.to_vec();
    environment.push(("K_SINK", &sink));
    Process::start(
        Path::new(env!("CARGO_BIN_EXE_dispatch-driver-aws")),
        args,
        &environment,
    )
}

/// Sends what must be taken: again while the hub is slow, as on a busy machine. Of every other 503 the driver logs why.
async fn taken(driver: &Process, send: impl AsyncFn() -> Result<u16>) -> Result<u16> {
    let reasons = || driver.stderr().matches("is told to come again").count();
    for _ in 1..TRIES {
        let before = reasons();
        let status = send().await?;
        if status != 503 || reasons() > before {
            return Ok(status);
        }
    }
    send().await
}
