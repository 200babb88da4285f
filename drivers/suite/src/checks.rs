//! The checks: one promise each, in the order they are run, at one hub that lives through all of them.
//!
//! A check that cannot be made says why it does not apply. A failed one says what was seen; those behind it run all
//! the same, with the driver started anew.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use axum::http::StatusCode;

use crate::bench::{Bench, Name};
use crate::hub::Mood;
use crate::world::World;

/// How long a driver may take to stop.
const GRACE: Duration = Duration::from_secs(5);
/// How long the hub refuses, keeps silent or is away.
const TROUBLE: Duration = Duration::from_secs(4);
/// By when everything that belongs to earlier events is said.
const SETTLED: Duration = Duration::from_millis(500);
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
        "nothing is committed or acknowledged before the hub has the event",
    ),
    ("sends-again", "what the hub refused with 503 it sends again"),
    (
        "full-hub",
        "a full hub is asked no sooner than it said, and nothing is skipped",
    ),
    ("reconnects", "it goes on when the hub comes back"),
    ("malformed", "a malformed record blocks nobody"),
];

/// The checks there are, in their order.
pub fn names() -> [&'static str; CHECKS.len()] {
    CHECKS.map(|(check, _)| check)
}

/// Runs every check. `patience` is how long an event may take from upstream to the hub, waits between repetitions
/// included: what is lost is missed only then.
pub async fn check(world: impl World, patience: Duration) -> Result<Vec<Finding>> {
    check_only(&names(), world, patience).await
}

/// Runs the checks of these names.
pub async fn check_only<S: AsRef<str>>(
    only: &[S],
    world: impl World,
    patience: Duration,
) -> Result<Vec<Finding>> {
    let mut bench = Bench::new(world, patience).await?;
    let wanted = |check: &str| only.iter().any(|name| name.as_ref() == check);
    let mut findings = Vec::new();
    for (check, promise) in CHECKS.into_iter().filter(|(check, _)| wanted(check)) {
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
        let ended = match ended {
            Ok(ended) => bench.complained().await.map(|()| ended),
            Err(error) => Err(error),
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

/// `Some` says why a check does not apply.
type Ended = Result<Option<&'static str>>;

impl<W: World> Bench<W> {
    async fn valid_events(&mut self) -> Ended {
        let brought = self.brings(3).await;
        let problems = self.hub.problems();
        match problems.first() {
            None => brought.map(|()| None),
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
        let from = self.hub.be(Mood::Silent);
        let held = self.held(from, 1).await?;
        self.kill().await?;
        self.hub.be(Mood::Takes);

        self.start().await?;
        self.arrive(&held).await.map(|()| None)
    }

    /// While the hub keeps silent about events it takes checkpoints, so that one sent too early is seen.
    async fn nothing_early(&mut self) -> Ended {
        self.at_work().await?;
        tokio::time::sleep(SETTLED).await;
        let all = self.heard(|upstream| upstream.waiting == 0).await?;
        ensure!(all, "it never acknowledged upstream what the hub has");
        let from = self.hub.be(Mood::Silent);
        let checkpoint = self.hub.checkpoint();
        let held = self.held(from, 1).await?;
        tokio::time::sleep(TROUBLE).await;
        let early = self.hub.checkpoint() != checkpoint;
        let still = self.upstream().await?;
        self.kill().await?;
        self.hub.be(Mood::Takes);

        ensure!(!early, "it stored a checkpoint before the hub had the event");
        ensure!(
            still.is_none_or(|upstream| upstream.waiting > 0),
            "it acknowledged upstream before the hub had the event"
        );
        self.start().await?;
        self.arrive(&held).await.map(|()| None)
    }

    async fn sends_again(&mut self) -> Ended {
        self.at_work().await?;
        let from = self.hub.be(Mood::Refuses(StatusCode::SERVICE_UNAVAILABLE));
        let held = self.held(from, 3).await?;
        tokio::time::sleep(TROUBLE / 2).await;
        self.hub.be(Mood::Takes);

        self.arrive(&held).await.map(|()| None)
    }

    async fn full_hub(&mut self) -> Ended {
        self.at_work().await?;
        let before = self.hub.count();
        let told = self.upstream().await?.and_then(|upstream| upstream.told_later);
        let since = Instant::now();
        let from = self.hub.be(Mood::Full(RETRY_AFTER));
        self.happens(STORM).await?;
        self.attempted(from).await?;
        tokio::time::sleep(TROUBLE).await;
        let later = match told {
            Some(told) => self.heard(|upstream| upstream.told_later > Some(told)).await?,
            None => true,
        };
        let attempts = self.hub.attempts(from);
        let lasted = since.elapsed().as_secs();
        self.hub.be(Mood::Takes);

        ensure!(later, "no sender was told to come again later");
        let mut times = BTreeMap::<&Name, u64>::new();
        for event in attempts.iter().flat_map(|attempt| &attempt.events) {
            *times.entry(event).or_default() += 1;
        }
        let most = lasted / u64::from(RETRY_AFTER) + 3;
        if let Some((event, times)) = times.iter().find(|(_, times)| **times > most) {
            bail!(
                "it sent {} {times} times in {lasted} s though the hub said Retry-After: {RETRY_AFTER}",
                event.1,
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
        let from = self.hub.be(Mood::Silent);
        let held = self.held(from, 1).await?;
        self.hub.go_away().await?;
        tokio::time::sleep(TROUBLE).await;
        self.hub.be(Mood::Takes);
        self.hub.come_back().await?;

        ensure!(self.runs()?, "it ended because the hub was away");
        self.arrive(&held).await?;
        self.at_work().await.map(|()| None)
    }

    /// More than one event comes behind it, in case the driver makes an event of the malformed record.
    async fn malformed(&mut self) -> Ended {
        self.at_work().await?;
        let wrong = self.hub.problems().len();
        if !self.world.malformed(&self.hub).await? {
            return Ok(Some("nothing malformed can happen here, or nobody said how"));
        }
        self.brings(3).await?;
        ensure!(self.runs()?, "it ended because of the malformed record");
        match self.hub.problems().get(wrong) {
            None => Ok(None),
            Some(problem) => bail!("it sent the hub something wrong: {problem}"),
        }
    }
}
