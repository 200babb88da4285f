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
