//! A hub with its gateway, a sink that takes everything, and a driver that listens.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use dispatch_contract::Event;
use dispatch_fixtures::hub::Hub;
use dispatch_fixtures::process::peak_kib;
use dispatch_fixtures::target::Target;
use dispatch_fixtures::webhooks::Header;
use dispatch_fixtures::wire::flood;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_dispatch");
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);
const FIVE_GB: usize = 5 << 30;
/// What hub and driver may grow by while somebody sends five gigabytes.
const FLAT_KIB: u64 = 24 << 10;

/// The hub and where its events go.
pub(crate) struct Stage {
    pub(crate) hub: Hub,
    pub(crate) target: Target,
    client: reqwest::Client,
}

/// A driver that listens.
pub(crate) struct Listening {
    pub(crate) name: String,
    /// As `get eventdriver` shows it.
    pub(crate) url: String,
}

impl Stage {
    pub(crate) async fn start() -> Result<Self> {
        let (hub, target) = (Hub::start(BINARY).await?, Target::start().await?);
        let all = r#"--filter {"not":{"exact":{"type":"none"}}}"#;
        hub.subscribe("all", &target.url(), all)?;
        let client = dispatch_fixtures::hub::client()?;
        Ok(Self { hub, target, client })
    }

    /// Makes a driver with a secret of its own name, and waits until it shows where it listens.
    pub(crate) async fn listen(
        &self,
        ty: &str,
        name: &str,
        secret: &Value,
        settings: &[&str],
    ) -> Result<Listening> {
        let file = format!("{name}.json");
        std::fs::write(self.hub.scratch().join(&file), secret.to_string())?;
        self.hub.ok(&["create", "secret", name, &file])?;
        let mut args = vec!["create", "eventdriver", ty, "--name", name, "--secret", name];
        for setting in settings {
            args.extend(["--set", setting]);
        }
        self.hub.ok(&args)?;
        let mut url = None;
        self.hub
            .until(&format!("{name} listens"), PATIENCE, |hub| {
                let driver = hub.json(&["get", "eventdriver", name])?;
                url = driver["url"].as_str().map(str::to_owned);
                Ok(url.is_some())
            })
            .await?;
        Ok(Listening {
            name: name.to_owned(),
            url: url.context("a url")?,
        })
    }

    /// Replaces the driver's secret, which starts it again.
    pub(crate) fn rotate(&self, driver: &Listening, secret: &Value) -> Result<()> {
        let document = json!({"kind": "Secret", "name": driver.name, "secrets": secret});
        let file = format!("{}.yaml", driver.name);
        std::fs::write(self.hub.scratch().join(&file), document.to_string())?;
        self.hub.ok(&["update", "-f", &file])?;
        Ok(())
    }

    /// Sends once, to the driver's place or below; the status of the answer.
    pub(crate) async fn post(
        &self,
        driver: &Listening,
        below: &str,
        headers: &[Header],
        body: &str,
    ) -> Result<u16> {
        let mut request = self
            .client
            .post(format!("{}{below}", driver.url))
            .body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let says_when = answer.headers().contains_key("retry-after");
        ensure!(status != 503 || says_when, "503 without Retry-After");
        Ok(status)
    }

    /// Sends five gigabytes in chunks, without proof; the answer, which may be lost with the connection, and how much hub and
    /// driver grew by, in KiB.
    pub(crate) async fn flood(&self, driver: &Listening) -> Result<(Option<u16>, u64)> {
        let url = reqwest::Url::parse(&driver.url)?;
        let at: SocketAddr = url.socket_addrs(|| None)?[0];
        let hub = self.hub.pid().context("the hub runs")?;
        let process = self.process_of(driver)?;
        let peaks = || -> Result<u64> { Ok(peak_kib(hub)? + peak_kib(process)?) };
        let before = peaks()?;
        let (status, taken) = flood(at, url.path(), FIVE_GB).await?;
        ensure!(taken < FIVE_GB / 10, "{taken} bytes were taken");
        let grown = peaks()? - before;
        ensure!(grown < FLAT_KIB, "{grown} KiB more");
        Ok((status, grown))
    }

    /// The driver's process, found by its environment among the hub's children.
    fn process_of(&self, driver: &Listening) -> Result<u32> {
        let hub = self.hub.pid().context("the hub runs")?.to_string();
        let children = std::process::Command::new("pgrep").args(["-P", &hub]).output()?;
        let name = format!("DISPATCH_DRIVER_NAME={}\0", driver.name);
        let pids = String::from_utf8(children.stdout)?;
        let mut pids = pids.lines().filter_map(|line| line.parse::<u32>().ok());
        pids.find(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            String::from_utf8_lossy(&environment).contains(&name)
        })
        .with_context(|| format!("{} runs", driver.name))
    }

    /// Waits until exactly these ids arrived at the sink, and gives the events in the order of arrival.
    pub(crate) async fn arrived(&self, ids: &[&str]) -> Result<Vec<Event>> {
        let ids: BTreeSet<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        self.target.wait_for_exactly(&ids, PATIENCE).await?;
        let arrivals = self.target.arrivals();
        ensure!(arrivals.len() == ids.len(), "{} deliveries", arrivals.len());
        Ok(arrivals.into_iter().map(|arrival| arrival.event).collect())
    }
}

/// Unix seconds.
pub(crate) fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}
