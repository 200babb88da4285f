//! The checks: one promise each, in the order they are run, at one hub that lives through all of them.
//!
//! A check that cannot be made says why it does not apply. A failed one says what was seen; those behind it run all
//! the same, with the driver started anew.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::hub::{DriverHub, Mood};
use crate::program::Running;
use crate::soon;
use crate::world::World;

/// How long a driver may take to stop.
const GRACE: Duration = Duration::from_secs(5);
/// How long the hub refuses, keeps silent or is away.
const TROUBLE: Duration = Duration::from_secs(4);
/// What a full hub says in `Retry-After`.
const RETRY_AFTER: u32 = 1;
/// Events that happen while the hub is full.
const STORM: usize = 50;

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The promise held.
    Pass,
    /// It did not; what was seen instead.
    Fail(String),
    /// It cannot be asked of this driver; why.
    NotApplicable(String),
}

/// One check and its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Name, for instance `stable-ids`.
    pub check: &'static str,
    /// The promise in words.
    pub promise: &'static str,
    /// Whether it held.
    pub verdict: Verdict,
}

const CHECKS: [(&str, &str); 9] = [
    ("valid-events", "what it sends are CloudEvents 1.0"),
    ("stops-on-sigterm", "it stops within 5 s of SIGTERM"),
    (
        "stops-without-hub",
        "it stops within 5 s when its standard input ends",
    ),
    (
        "stable-ids",
        "killed before the answer and started again, it sends the same events",
    ),
    (
        "nothing-early",
        "nothing is committed before the hub has the event",
    ),
    ("sends-again", "what the hub refused with 503 it sends again"),
    (
        "full-hub",
        "a full hub is asked no sooner than it said, and nothing is skipped",
    ),
    ("reconnects", "it goes on when the hub comes back"),
    ("malformed", "a malformed record blocks nobody"),
];

/// Runs every check. `patience` is how long an event may take from upstream to the hub, waits between repetitions
/// included: what is lost is missed only then.
pub async fn check(world: impl World, patience: Duration) -> Result<Vec<Finding>> {
    let hub = DriverHub::start().await?;
    let mut bench = Bench {
        hub,
        world,
        driver: None,
        patience,
    };
    let mut findings = Vec::new();
    for (check, promise) in CHECKS {
        let ended = match check {
            "valid-events" => bench.valid_events().await,
            "stops-on-sigterm" => bench.stops(true).await,
            "stops-without-hub" => bench.stops(false).await,
            "stable-ids" => bench.stable_ids().await,
            "nothing-early" => bench.nothing_early().await,
            "sends-again" => bench.sends_again().await,
            "full-hub" => bench.full_hub().await,
            "reconnects" => bench.reconnects().await,
            _ => bench.malformed().await,
        };
        let verdict = match ended {
            Ok(None) => Verdict::Pass,
            Ok(Some(why)) => Verdict::NotApplicable(why.to_owned()),
            Err(error) => Verdict::Fail(bench.told(&error)),
        };
        if matches!(verdict, Verdict::Fail(_)) {
            bench.tidy().await?;
        }
        findings.push(Finding {
            check,
            promise,
            verdict,
        });
    }
    Ok(findings)
}

struct Bench<W> {
    hub: DriverHub,
    world: W,
    driver: Option<Running>,
    patience: Duration,
}

/// `Some` says why a check does not apply.
type Ended = Result<Option<&'static str>>;
type Name = (String, String);

impl<W: World> Bench<W> {
    async fn valid_events(&mut self) -> Ended {
        self.happens(3).await?;
        self.hub_has(3).await?;
        let problems = self.hub.problems();
        match problems.first() {
            None => Ok(None),
            Some(first) => bail!("{} requests were wrong, the first: {first}", problems.len()),
        }
    }

    async fn stops(&mut self, by_signal: bool) -> Ended {
        self.at_work().await?;
        let mut driver = self.driver.take().context("no driver runs")?;
        let ended = match by_signal {
            true => driver.terminate(GRACE).await,
            false => driver.close_stdin(GRACE).await,
        };
        ended.map(|_| None)
    }

    async fn stable_ids(&mut self) -> Ended {
        self.at_work().await?;
        self.hub.be(Mood::Silent);
        let held = self.held(1).await?;
        self.kill().await?;
        self.hub.be(Mood::Takes);

        self.start().await?;
        self.arrive(&held).await.map(|()| None)
    }

    /// While the hub keeps silent about events it takes checkpoints, so that one sent too early is seen.
    async fn nothing_early(&mut self) -> Ended {
        self.at_work().await?;
        let checkpoint = self.hub.checkpoint();
        let acknowledged = self.world.acknowledged().await?;
        self.hub.be(Mood::Silent);
        let held = self.held(1).await?;
        tokio::time::sleep(TROUBLE).await;
        let early = self.hub.checkpoint() != checkpoint;
        let acknowledged_early = self.world.acknowledged().await? != acknowledged;
        self.kill().await?;
        self.hub.be(Mood::Takes);

        ensure!(!early, "it stored a checkpoint before the hub had the event");
        ensure!(
            !acknowledged_early,
            "it acknowledged upstream before the hub had the event"
        );
        self.start().await?;
        self.arrive(&held).await.map(|()| None)
    }

    async fn sends_again(&mut self) -> Ended {
        self.at_work().await?;
        self.hub.refuse(Some(axum::http::StatusCode::SERVICE_UNAVAILABLE));
        let held = self.held(3).await?;
        tokio::time::sleep(TROUBLE / 2).await;
        self.hub.be(Mood::Takes);

        self.arrive(&held).await.map(|()| None)
    }

    async fn full_hub(&mut self) -> Ended {
        self.at_work().await?;
        let (before, from) = (self.hub.count(), self.hub.attempts(0).len());
        self.hub.be(Mood::Full(RETRY_AFTER));
        let since = Instant::now();
        self.happens(STORM).await?;
        self.attempted(from).await?;
        tokio::time::sleep(TROUBLE).await;
        let attempts = self.hub.attempts(from);
        let most = since.elapsed().as_secs() / u64::from(RETRY_AFTER) + 3;
        self.hub.be(Mood::Takes);

        let mut times = BTreeMap::<&Name, u64>::new();
        for event in attempts.iter().flat_map(|attempt| &attempt.events) {
            *times.entry(event).or_default() += 1;
        }
        if let Some((event, times)) = times.iter().find(|(_, times)| **times > most) {
            bail!(
                "it sent {} {times} times in {} s though the hub said Retry-After: {RETRY_AFTER}",
                event.1,
                since.elapsed().as_secs()
            );
        }
        let seen: BTreeSet<Name> = attempts.into_iter().flat_map(|a| a.events).collect();
        self.arrive(&seen).await?;
        if self.happens(1).await? {
            self.hub_has(before + STORM + 1).await?;
        }
        Ok(None)
    }

    async fn reconnects(&mut self) -> Ended {
        self.at_work().await?;
        self.hub.be(Mood::Silent);
        let held = self.held(1).await?;
        self.hub.go_away().await;
        tokio::time::sleep(TROUBLE).await;
        self.hub.be(Mood::Takes);
        self.hub.come_back().await?;

        self.arrive(&held).await?;
        let before = self.hub.count();
        self.happens(1).await?;
        self.hub_has(before + 1).await.map(|()| None)
    }

    async fn malformed(&mut self) -> Ended {
        self.at_work().await?;
        if !self.world.malformed(&self.hub).await? {
            return Ok(Some("nothing malformed can happen here, or nobody said how"));
        }
        let (before, wrong) = (self.hub.count(), self.hub.problems().len());
        self.happens(1).await?;
        self.hub_has(before + 1).await?;
        ensure!(
            self.driver()?.ended()?.is_none(),
            "it ended because of the malformed record"
        );
        match self.hub.problems().get(wrong) {
            None => Ok(None),
            Some(problem) => bail!("it sent the hub something wrong: {problem}"),
        }
    }

    /// A driver that runs and just brought an event.
    async fn at_work(&mut self) -> Result<()> {
        let before = self.hub.count();
        self.happens(1).await?;
        self.hub_has(before + 1).await
    }

    async fn start(&mut self) -> Result<()> {
        self.driver = Some(self.world.program().start(&self.hub)?);
        self.world.started(&self.hub).await
    }

    async fn kill(&mut self) -> Result<()> {
        self.driver.take().context("no driver runs")?.kill().await
    }

    fn driver(&mut self) -> Result<&mut Running> {
        self.driver.as_mut().context("no driver runs")
    }

    /// Starts the driver if none runs, then makes events happen.
    async fn happens(&mut self, count: usize) -> Result<bool> {
        let runs = match &mut self.driver {
            Some(driver) => driver.ended()?.is_none(),
            None => false,
        };
        if !runs {
            self.start().await?;
        }
        self.world.happen(count, &self.hub).await
    }

    /// Makes events happen that the hub does not take, and says what the driver sent of them.
    async fn held(&mut self, count: usize) -> Result<BTreeSet<Name>> {
        let from = self.hub.attempts(0).len();
        self.happens(count).await?;
        self.attempted(from).await?;
        let attempts = self.hub.attempts(from);
        let held: BTreeSet<Name> = attempts.into_iter().flat_map(|a| a.events).collect();
        Ok(held)
    }

    async fn attempted(&mut self, from: usize) -> Result<()> {
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

    async fn hub_has(&mut self, count: usize) -> Result<()> {
        let (hub, mut driver) = (&self.hub, self.driver.as_mut());
        let mut ended = false;
        let all = soon(self.patience, || {
            ended = hub.count() < count && has_ended(driver.as_deref_mut());
            ended || hub.count() >= count
        });
        let all = all.await;
        ensure!(
            !ended,
            "it ended with {} events at the hub; {count} were expected",
            hub.count()
        );
        ensure!(
            all,
            "{} events were at the hub after {} s; {count} were expected",
            hub.count(),
            self.patience.as_secs()
        );
        Ok(())
    }

    /// Waits until the hub has all of these.
    async fn arrive(&mut self, events: &BTreeSet<Name>) -> Result<()> {
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

    /// What was seen, with the driver's last words.
    fn told(&self, error: &anyhow::Error) -> String {
        match &self.driver {
            Some(driver) => format!("{error:#}; its last line: {}", driver.last_line()),
            None => format!("{error:#}"),
        }
    }

    /// For the next check: a hub that takes events, and no driver.
    async fn tidy(&mut self) -> Result<()> {
        if let Some(mut driver) = self.driver.take() {
            driver.kill().await?;
        }
        self.hub.be(Mood::Takes);
        self.hub.go_away().await;
        self.hub.come_back().await
    }
}

fn has_ended(driver: Option<&mut Running>) -> bool {
    driver.is_some_and(|driver| driver.ended().is_ok_and(|ended| ended.is_some()))
}
