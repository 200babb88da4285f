//! A driver between the hub and its world: started, fed, killed, waited for. What the checks are written with.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::hub::{DriverHub, Mood};
use crate::program::Running;
use crate::soon;
use crate::world::{Upstream, World};

/// How often upstream is asked again.
const ASK: Duration = Duration::from_millis(100);

/// `(source, id)` of an event.
pub(crate) type Name = (String, String);

/// Everything a check needs.
pub(crate) struct Bench<W> {
    pub(crate) hub: DriverHub,
    pub(crate) world: W,
    pub(crate) driver: Option<Running>,
    /// How long an event may take from upstream to the hub.
    pub(crate) patience: Duration,
    complaint: Option<String>,
}

impl<W: World> Bench<W> {
    /// A hub that takes events, and no driver yet.
    pub(crate) async fn new(world: W, patience: Duration) -> Result<Self> {
        let hub = DriverHub::start().await?;
        Ok(Self {
            hub,
            world,
            driver: None,
            patience,
            complaint: None,
        })
    }

    /// A driver that runs and just brought an event.
    pub(crate) async fn at_work(&mut self) -> Result<()> {
        self.brings(1).await
    }

    /// Makes events happen and waits until the hub has as many more.
    pub(crate) async fn brings(&mut self, count: usize) -> Result<()> {
        let before = self.hub.count();
        self.happens(count).await?;
        self.hub_has(before + count).await
    }

    pub(crate) async fn start(&mut self) -> Result<()> {
        self.driver = Some(self.world.program().start(&self.hub)?);
        self.world.started(&self.hub).await
    }

    pub(crate) async fn kill(&mut self) -> Result<()> {
        self.driver.take().context("no driver runs")?.kill().await
    }

    pub(crate) fn runs(&mut self) -> Result<bool> {
        match &mut self.driver {
            Some(driver) => Ok(driver.ended()?.is_none()),
            None => Ok(false),
        }
    }

    /// Starts the driver if none runs, then makes events happen.
    pub(crate) async fn happens(&mut self, count: usize) -> Result<bool> {
        if !self.runs()? {
            self.start().await?;
        }
        self.world.happen(count, &self.hub).await
    }

    /// Makes events happen that the hub does not take, and says what the driver sent of them: POSTs from the
    /// `from`-th on.
    pub(crate) async fn held(&mut self, from: usize, count: usize) -> Result<BTreeSet<Name>> {
        self.happens(count).await?;
        self.attempted(from).await?;
        let attempts = self.hub.attempts(from);
        Ok(attempts.into_iter().flat_map(|a| a.events).collect())
    }

    /// Waits for a POST of events.
    pub(crate) async fn attempted(&mut self, from: usize) -> Result<()> {
        let (hub, mut driver) = (&self.hub, self.driver.as_mut());
        let mut ended = false;
        let sent = soon(self.patience, || {
            ended = has_ended(driver.as_deref_mut());
            ended || !hub.attempts(from).is_empty()
        });
        let sent = sent.await;
        ensure!(!ended, "it ended");
        ensure!(sent, "it sent nothing within {} s", self.patience.as_secs());
        Ok(())
    }

    /// Waits until the hub has so many events.
    pub(crate) async fn hub_has(&mut self, count: usize) -> Result<()> {
        let (hub, mut driver) = (&self.hub, self.driver.as_mut());
        let mut ended = false;
        let all = soon(self.patience, || {
            ended = hub.count() < count && has_ended(driver.as_deref_mut());
            ended || hub.count() >= count
        });
        let all = all.await;
        let has = hub.count();
        ensure!(
            !ended,
            "it ended with {has} events at the hub; {count} were expected"
        );
        ensure!(
            all,
            "{has} events were at the hub after {} s; {count} were expected",
            self.patience.as_secs()
        );
        Ok(())
    }

    /// Waits until the hub has all of these.
    pub(crate) async fn arrive(&mut self, events: &BTreeSet<Name>) -> Result<()> {
        let hub = &self.hub;
        let all = soon(self.patience, || events.iter().all(|event| hub.has(event)));
        if !all.await {
            let lost: Vec<&str> = events
                .iter()
                .filter(|e| !hub.has(e))
                .map(|e| e.1.as_str())
                .collect();
            bail!(
                "{} of {} events were not sent again within {} s with the same source and id: {}",
                lost.len(),
                events.len(),
                self.patience.as_secs(),
                lost[..lost.len().min(3)].join(", ")
            );
        }
        Ok(())
    }

    /// What upstream heard; `None` where it hears nothing.
    pub(crate) async fn upstream(&mut self) -> Result<Option<Upstream>> {
        let upstream = self.world.upstream().await?;
        if let Some(complaint) = upstream.as_ref().and_then(|u| u.complaint.clone()) {
            self.complaint.get_or_insert(complaint);
        }
        Ok(upstream)
    }

    /// Waits until upstream heard this; holds at once where it hears nothing.
    pub(crate) async fn heard(&mut self, holds: impl Fn(&Upstream) -> bool) -> Result<bool> {
        let deadline = tokio::time::Instant::now() + self.patience;
        while let Some(upstream) = self.upstream().await?
            && !holds(&upstream)
        {
            if tokio::time::Instant::now() >= deadline {
                return Ok(false);
            }
            tokio::time::sleep(ASK).await;
        }
        Ok(true)
    }

    /// What upstream complained of during the check that ends.
    pub(crate) async fn complained(&mut self) -> Result<()> {
        self.upstream().await?;
        match self.complaint.take() {
            Some(complaint) => bail!("a sender heard what makes it give up: {complaint}"),
            None => Ok(()),
        }
    }

    /// What was seen, with the driver's last words.
    pub(crate) fn told(&self, error: &anyhow::Error) -> String {
        match &self.driver {
            Some(driver) => format!("{error:#}; its last line: {}", driver.last_line()),
            None => format!("{error:#}"),
        }
    }

    /// For the next check: a hub that takes events, and no driver.
    pub(crate) async fn tidy(&mut self) -> Result<()> {
        if let Some(mut driver) = self.driver.take() {
            driver.kill().await?;
        }
        self.complaint = None;
        self.hub.be(Mood::Takes);
        self.hub.go_away().await?;
        self.hub.come_back().await
    }
}

fn has_ended(driver: Option<&mut Running>) -> bool {
    driver.is_some_and(|driver| driver.ended().is_ok_and(|ended| ended.is_some()))
}
