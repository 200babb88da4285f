//! A clock that is set, forward and back, by an hour and over the changes of summer time, while hub and driver are killed:
//! every tick reaches the subscription, and none twice.
//!
//! The hub and the driver are the real ones; the driver alone sees the clock that is set.
// Helpers outside #[test] functions may unwrap here: a panic is how a test fails.
// It prints what it measured.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use dispatch_fixtures::faketime::Clock;
use dispatch_fixtures::hub::Hub;
use dispatch_fixtures::process::until;
use dispatch_fixtures::target::Target;
use serde_json::{Map, Value};

const BINARY: &str = env!("CARGO_BIN_EXE_dispatch");
const PATIENCE: Duration = Duration::from_secs(40);

struct Stage {
    hub: Hub,
    target: Target,
}

impl Stage {
    async fn start() -> Result<Self> {
        let (hub, target) = (Hub::start(BINARY).await?, Target::start().await?);
        hub.subscribe("ticks", &target.url(), "--filter prefix:type=cron.")?;
        Ok(Self { hub, target })
    }

    /// A clock, and the secret that shows it to a driver.
    fn clock(&self, name: &str, shows: &str) -> Result<Option<Clock>> {
        let Some(clock) = Clock::new(self.hub.scratch().join(format!("{name}.clock")))? else {
            return Ok(None);
        };
        set(&clock, shows)?;
        let variable =
            |(name, value): (&str, String)| (name.to_lowercase().replace('_', "-"), Value::String(value));
        let secret: Map<String, Value> = clock.environment().into_iter().map(variable).collect();
        std::fs::write(
            self.hub.scratch().join("clock.json"),
            serde_json::to_vec(&secret)?,
        )?;
        self.hub.ok(&["create", "secret", name, "clock.json"])?;
        Ok(Some(clock))
    }

    /// A driver that catches up with all it missed, and has begun: what its clock shows now is where it starts.
    async fn driver(&self, name: &str, clock: &str, cron: &str) -> Result<()> {
        let cron = format!("cron={cron}");
        let mut args = vec!["create", "eventdriver", "cron", "--name", name, "--secret", clock];
        for setting in [&cron, "timezone=Europe/Berlin", "missed=all"] {
            args.extend(["--set", setting]);
        }
        self.hub.ok(&args)?;
        let began = format!("{name} has begun");
        self.hub
            .until(&began, PATIENCE, |hub| {
                let driver = hub.json(&["get", "eventdriver", name])?;
                Ok(!driver["supervision"]["checkpointAge"].is_null())
            })
            .await
    }

    /// A second of a driver's clock has passed, as a driver that is made for it shows.
    async fn a_second_passes(&self, clock: &str) -> Result<()> {
        let name = format!("witness-{}", self.target.arrivals().len());
        self.driver(&name, clock, "@every 1s").await?;
        until("the clock goes on", PATIENCE, async || {
            Ok(self.ticks(&name).len() > 1)
        })
        .await?;
        self.hub.ok(&["delete", "eventdriver", &name])?;
        Ok(())
    }

    /// What arrived of a driver, by its time and without date and seconds: `09:10`. Deliveries overtake one another, and a hub that is
    /// killed may repeat one: an event counts once.
    fn ticks(&self, name: &str) -> Vec<String> {
        let source = format!("/dispatch/cron/{name}");
        let arrivals = self.target.arrivals();
        let of_it = arrivals.iter().filter(|arrival| arrival.event.source() == source);
        let events: BTreeSet<_> = of_it
            .map(|arrival| (arrival.event.time().unwrap(), arrival.event.id().to_owned()))
            .collect();
        events
            .iter()
            .map(|(time, _)| time.format("%H:%M").to_string())
            .collect()
    }

    /// Waits for exactly these ticks.
    async fn has(&self, name: &str, expected: &[&str]) -> Result<()> {
        let enough = until("all ticks", PATIENCE, async || {
            Ok(self.ticks(name).len() >= expected.len())
        });
        enough
            .await
            .with_context(|| format!("{name}: {:?}", self.ticks(name)))?;
        ensure!(self.ticks(name) == expected, "{name}: {:?}", self.ticks(name));
        Ok(())
    }

    /// `kill -9` of all drivers, found by their name among the hub's children; they are started again.
    fn kill_drivers(&self) -> Result<()> {
        let parent = self.hub.pid().context("the hub runs")?.to_string();
        let killed = std::process::Command::new("pkill")
            .args(["-KILL", "-P", &parent, "-f", "dispatch-driver-cron"])
            .status()?;
        ensure!(killed.success(), "no driver runs");
        Ok(())
    }
}

fn set(clock: &Clock, shows: &str) -> Result<()> {
    let time: DateTime<Utc> = shows.parse()?;
    clock.set(SystemTime::from(time))
}
fn jump(clock: &Clock, minutes: i64) -> Result<()> {
    let shown = DateTime::<Utc>::from(clock.now()?);
    clock.set(SystemTime::from(shown + TimeDelta::minutes(minutes)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_an_hour_forward_and_back_loses_no_tick_and_repeats_none() -> Result<()> {
    // Given a driver that ticks every ten minutes
    let mut stage = Stage::start().await?;
    let Some(clock) = stage.clock("utc", "2026-06-01T08:55:00Z")? else {
        return Ok(());
    };
    stage.driver("tens", "utc", "*/10 * * * *").await?;

    // When its clock goes on, and jumps an hour forward, each tick arrives
    set(&clock, "2026-06-01T08:59:58Z")?;
    stage.has("tens", &["09:00"]).await?;
    jump(&clock, 60)?;
    let mut expected = vec!["09:00", "09:10", "09:20", "09:30", "09:40", "09:50", "10:00"];
    stage.has("tens", &expected).await?;

    // When it jumps back an hour, the driver is killed meanwhile, and the hour passes again, none is repeated
    jump(&clock, -60)?;
    stage.a_second_passes("utc").await?;
    stage.kill_drivers()?;
    set(&clock, "2026-06-01T09:49:59Z")?;
    stage.a_second_passes("utc").await?;
    set(&clock, "2026-06-01T10:09:58Z")?;
    expected.push("10:10");
    stage.has("tens", &expected).await?;

    // When hub and driver are killed, and an hour is gone when they are back, its ticks are made up for
    stage.hub.kill()?;
    jump(&clock, 60)?;
    stage.hub.run().await?;
    expected.extend(["10:20", "10:30", "10:40", "10:50", "11:00", "11:10"]);
    stage.has("tens", &expected).await?;

    // When the clock was wrong by more than an hour, the driver goes on from where it is, under the same ids
    jump(&clock, -150)?;
    stage
        .hub
        .until("the driver says so", PATIENCE, |hub| {
            let driver = hub.json(&["get", "eventdriver", "tens"])?;
            let lines = driver["supervision"]["lines"].to_string();
            Ok(lines.contains("was the clock set back?"))
        })
        .await?;
    set(&clock, "2026-06-01T11:19:58Z")?;
    // Where it is then lies before its first tick, so there is one that never was.
    expected.insert(0, "08:50");
    expected.push("11:20");
    stage.has("tens", &expected).await?;
    stage.a_second_passes("utc").await?;
    stage.has("tens", &expected).await?;
    println!("{} ticks, each once: {}", expected.len(), expected.join(" "));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_change_to_summer_time_fires_each_tick_once_whether_it_passes_or_is_jumped_over() -> Result<()> {
    // 1:00 and 1:30 CET, then 3:00 and 3:30 CEST. What is fixed at 2:30 fires at 3:00.
    change("2026-03-29", &["01:00"], &["00:00", "00:30", "01:00", "01:30"]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_change_to_winter_time_fires_each_tick_once_whether_it_passes_or_is_jumped_over() -> Result<()> {
    // 1:00 to 2:30 CEST, then 2:00 to 3:30 CET. What is fixed at 2:30 fires at the first.
    let wild = [
        "23:00", "23:30", "00:00", "00:30", "01:00", "01:30", "02:00", "02:30",
    ];
    change("2026-10-25", &["00:30"], &wild).await
}

/// The night before that day in Berlin, for a job at a fixed time and one with a wildcard, whose ticks are these.
async fn change(day: &str, fixed: &[&str], wild: &[&str]) -> Result<()> {
    // Given drivers that begin in the evening before, on two clocks
    let stage = Stage::start().await?;
    let midnight: DateTime<Utc> = format!("{day}T00:00:00Z").parse()?;
    let show = |time: DateTime<Utc>| time.to_rfc3339();
    let (evening, morning) = (
        show(midnight - TimeDelta::hours(2)),
        show(midnight + TimeDelta::hours(6)),
    );
    let (Some(jumping), Some(passing)) = (
        stage.clock("jumping", &evening)?,
        stage.clock("passing", &evening)?,
    ) else {
        return Ok(());
    };
    for clock in ["jumping", "passing"] {
        stage
            .driver(&format!("{clock}-fixed"), clock, "30 2 * * *")
            .await?;
        stage
            .driver(&format!("{clock}-wild"), clock, "*/30 1-3 * * *")
            .await?;
    }

    // When one clock jumps over the change, and back and forward again while all drivers are killed
    set(&jumping, &morning)?;
    stage.has("jumping-fixed", fixed).await?;
    stage.has("jumping-wild", wild).await?;
    set(&jumping, &evening)?;
    stage.a_second_passes("jumping").await?;
    stage.kill_drivers()?;
    set(&jumping, &morning)?;
    stage.a_second_passes("jumping").await?;

    // When the other comes to each tick by itself
    for (n, tick) in wild.iter().enumerate() {
        let minutes = |text: &str| text.parse::<i64>().unwrap();
        let of_day = minutes(&tick[..2]) * 60 + minutes(&tick[3..]);
        let of_night = if tick.starts_with("23") {
            of_day - 24 * 60
        } else {
            of_day
        };
        set(
            &passing,
            &show(midnight + TimeDelta::minutes(of_night) - TimeDelta::seconds(1)),
        )?;
        stage.has("passing-wild", &wild[..=n]).await?;
    }
    stage.a_second_passes("passing").await?;

    // Then each tick arrived once
    for clock in ["jumping", "passing"] {
        stage.has(&format!("{clock}-fixed"), fixed).await?;
        stage.has(&format!("{clock}-wild"), wild).await?;
    }
    println!(
        "{day}: fixed {}, wildcard {}, each once on either clock",
        fixed.join(" "),
        wild.join(" ")
    );
    Ok(())
}
