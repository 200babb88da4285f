//! The executable: what Event Grid hears at its web hook, and what becomes of events of a namespace.
#![allow(
    clippy::unwrap_used,
    reason = "outside #[test] functions too a panic is how a test fails"
)]

mod door;
mod outage;
mod pull;
mod token;
mod trying;

use std::path::Path;
use std::time::Duration;

use dispatch_fixtures::driver_hub::DriverHub;
use dispatch_fixtures::eventgrid::Sent;
use dispatch_fixtures::process::Process;

/// For every wait: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often something is delivered that must be taken.
const TRIES: usize = 5;

/// The driver with these settings and this more in its environment.
fn spawn(hub: &DriverHub, settings: &[&str], environment: &[(&str, &str)]) -> Process {
    let sink = hub.sink();
    let mut all = vec![("K_SINK", sink.as_str()), ("PORT", "")];
    all.extend(environment);
    let program = Path::new(env!("CARGO_BIN_EXE_dispatch-driver-eventgrid"));
    Process::start(program, settings, &all).unwrap()
}

/// Where it listens, once it says so.
async fn address(hub: &DriverHub, process: &Process) -> String {
    let listens = |hub: &DriverHub| {
        hub.health()
            .last()
            .is_some_and(|health| health["listen"].is_string())
    };
    hub.until("the driver listens", PATIENCE, listens)
        .await
        .unwrap_or_else(|e| panic!("{e:#}: {}", process.stderr()));
    let health = hub.health();
    let listen = health.last().unwrap()["listen"].as_str().unwrap();
    format!("http://{listen}/")
}

/// Delivers what must be taken: again while the hub is slow, as on a busy machine. Of every other 503 the driver logs why.
async fn taken(process: &Process, deliver: impl AsyncFn() -> Sent) -> Sent {
    let reasons = || process.stderr().matches("is told to come again").count();
    for _ in 1..TRIES {
        let before = reasons();
        let sent = deliver().await;
        if sent != Sent::Later(503) || reasons() > before {
            return sent;
        }
    }
    deliver().await
}
