//! The driver's executable between a simulated vCenter and a hub in memory.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use dispatch_contract::Event;
use dispatch_fixtures::driver_hub::DriverHub;
use dispatch_fixtures::process::Process;
use dispatch_fixtures::pyvmomi::{Pyvmomi, Seen};
use dispatch_fixtures::vcsim::{Options, Vcsim};

/// Long enough for everything that should be quick.
pub(crate) const SOON: Duration = Duration::from_secs(15);
/// Long enough for a storm on a busy machine.
const LONG: Duration = Duration::from_secs(30);

/// A simulator and a hub; drivers are started between them.
pub(crate) struct Setting {
    pub(crate) vcenter: Vcsim,
    pub(crate) hub: DriverHub,
    pub(crate) client: Pyvmomi,
}

impl Setting {
    /// `None`, visibly, where the simulator or the client cannot be had.
    pub(crate) async fn new(flags: &[&str]) -> Result<Option<Self>> {
        let options = Options {
            flags: flags.iter().map(|f| (*f).to_owned()).collect(),
            ..Options::default()
        };
        let Some(vcenter) = Vcsim::start(options).await? else {
            return Ok(None);
        };
        let Some(client) = Pyvmomi::new(&vcenter)? else {
            return Ok(None);
        };
        let hub = DriverHub::start().await?;
        Ok(Some(Self { vcenter, hub, client }))
    }

    /// The same with a driver that reads.
    pub(crate) async fn reading(flags: &[&str], args: &[&str]) -> Result<Option<(Self, Process)>> {
        let Some(setting) = Self::new(flags).await? else {
            return Ok(None);
        };
        let mut driver = setting.driver(args)?;
        setting.ready(&mut driver).await?;
        Ok(Some((setting, driver)))
    }

    /// Starts a driver with the simulator's password in its environment, trusting the simulator's authority.
    pub(crate) fn driver(&self, args: &[&str]) -> Result<Process> {
        let ca = format!("--ca={}", self.vcenter.ca().display());
        let mut all = vec![ca.as_str()];
        all.extend(args);
        self.driver_with(&all, self.vcenter.credentials().1)
    }

    /// Starts a driver that is told nothing but where the simulator is.
    pub(crate) fn driver_with(&self, args: &[&str], password: &str) -> Result<Process> {
        self.driver_by(&self.vcenter.host(), args, password)
    }

    /// Starts a driver that finds the simulator at another address.
    pub(crate) fn driver_by(&self, host: &str, args: &[&str], password: &str) -> Result<Process> {
        self.driver_in(&[], host, args, password)
    }

    /// The same with more variables in its environment.
    pub(crate) fn driver_in(
        &self,
        more: &[(&str, &str)],
        host: &str,
        args: &[&str],
        password: &str,
    ) -> Result<Process> {
        let sink = self.hub.sink();
        let mut environment = vec![
            ("HOST", host),
            ("USERNAME", self.vcenter.credentials().0),
            ("PASSWORD", password),
            ("K_SINK", &sink),
            ("DISPATCH_TOKEN", "token-of-the-driver"),
            ("RUST_LOG", "trace,hyper=info"),
        ];
        environment.extend(more);
        Process::start(
            Path::new(env!("CARGO_BIN_EXE_dispatch-driver-vcenter")),
            args,
            &environment,
        )
    }

    /// Waits until the driver reads.
    pub(crate) async fn ready(&self, driver: &mut Process) -> Result<()> {
        driver
            .until("the driver is connected", SOON, |d| {
                d.stderr().contains(" connected to VMware").then_some(())
            })
            .await
    }

    /// Waits until the hub is as it should be; when it does not become so, says what the driver logged.
    pub(crate) async fn until(
        &self,
        driver: &Process,
        what: &str,
        holds: impl Fn(&DriverHub) -> bool,
    ) -> Result<()> {
        let waited = self.hub.until(what, LONG, holds).await;
        waited.with_context(|| {
            let log = driver.stderr();
            let tail: Vec<&str> = log.lines().filter(|l| !l.contains("hyper")).collect();
            tail[tail.len().saturating_sub(40)..].join("\n")
        })
    }

    /// Waits until the hub has every event that pyvmomi sees, and gives these.
    pub(crate) async fn complete(&self, within: Duration) -> Result<Vec<Seen>> {
        let seen = self.client.events()?;
        let wanted: Vec<String> = seen.iter().map(id).collect();
        let what = format!("all {} events are at the hub", wanted.len());
        let arrived = |hub: &DriverHub| {
            let ids: std::collections::HashSet<String> =
                hub.events().iter().map(|e| e.id().to_owned()).collect();
            wanted.iter().all(|id| ids.contains(id))
        };
        self.hub.until(&what, within, arrived).await?;
        Ok(seen)
    }
}

/// The id an event must have.
pub(crate) fn id(seen: &Seen) -> String {
    format!("{}-{}", seen.key, seen.micros)
}

/// The payload of an event.
pub(crate) fn data(event: &Event) -> serde_json::Value {
    serde_json::from_slice(event.data().unwrap().bytes).unwrap()
}
