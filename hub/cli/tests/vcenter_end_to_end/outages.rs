//! A vCenter is away, for long, while much happens there; another one is not; a password is wrong and is mended.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use dispatch_fixtures::hub::Hub;
use dispatch_fixtures::process::until;
use dispatch_fixtures::road::Road;
use dispatch_fixtures::target::Target;
use dispatch_fixtures::vcsim::{Options, Vcsim};
use serde_json::json;

use crate::{BINARY, create_driver, ready, ready_within, watch, write_secret};

/// What `make soak` makes longer.
fn or_given(variable: &str, usual: u64) -> Result<u64> {
    std::env::var(variable).map_or(Ok(usual), |text| Ok(text.parse()?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_events_of_a_vcenter_that_was_away_are_delivered() -> Result<()> {
    // Given a hub that follows a vCenter over a road that can be cut
    let Some(simulator) = Vcsim::start(Options::default()).await? else {
        return Ok(());
    };
    let away = or_given("VCENTER_OUTAGE_SECONDS", 30)?;
    let events = or_given("VCENTER_OUTAGE_EVENTS", 10_000)?;
    let road = Road::to(simulator.port()).await?;
    let hub = Hub::start(BINARY).await?;
    write_secret(&hub, "vc", &road.host(), &simulator)?;
    hub.ok(&["create", "secret", "vc", "vc.json"])?;
    let target = Target::start().await?;
    hub.subscribe("all", &target.url(), "--event-type vm.suspended")?;
    create_driver(&hub, "vc1", "vc", &simulator, "1h")?;
    ready(&hub, "vc1").await?;
    simulator.ctl("storm?n=1&type=VmSuspendedEvent").await?;
    let warm = async || Ok(target.count() == 1);
    until("the driver watches", Duration::from_secs(20), warm).await?;

    // When it is away and storms go on there
    road.cut();
    let storms = (away / 2).max(1);
    for _ in 0..storms {
        let next = tokio::time::Instant::now() + Duration::from_secs(2);
        let storm = format!("storm?n={}&type=VmSuspendedEvent", events / storms);
        simulator.ctl(&storm).await?;
        tokio::time::sleep_until(next).await;
    }
    assert_eq!(target.count(), 1, "nothing comes over a road that is cut");
    let shown = hub.json(&["get", "eventdriver", "vc1"])?;
    assert_eq!(shown["status"], "ERROR", "{shown}");
    road.mend();
    let began = Instant::now();

    // Then all of it arrives, each event under one id. The longest wait between two attempts is a minute.
    let all = 1 + usize::try_from(events / storms * storms)?;
    let patience = Duration::from_secs(120 + events / 100);
    until("all of them", patience, async || Ok(target.count() >= all)).await?;
    eprintln!(
        "{} events of {away} s without a vCenter, all delivered {:?} after its return",
        all - 1,
        began.elapsed()
    );
    assert_eq!(target.accepted().len(), all);
    assert_eq!(target.count(), all, "and none twice");
    ready(&hub, "vc1").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vcenter_that_is_away_delays_no_other_and_says_so() -> Result<()> {
    // Given two vCenters, each with its driver
    let (Some(mut first), Some(second)) = (
        Vcsim::start(Options::default()).await?,
        Vcsim::start(Options::default()).await?,
    ) else {
        return Ok(());
    };
    let hub = watch(&first).await?;
    write_secret(&hub, "other", &second.host(), &second)?;
    hub.ok(&["create", "secret", "other", "other.json"])?;
    let target = Target::start().await?;
    hub.subscribe("all", &target.url(), "--event-type vm.suspended")?;
    create_driver(&hub, "vc1", "vc", &first, "1h")?;
    create_driver(&hub, "vc2", "other", &second, "1h")?;
    let of = |simulator: &Vcsim| {
        let source = simulator.url();
        target
            .arrivals()
            .iter()
            .filter(|a| a.event.source() == source)
            .count()
    };
    for simulator in [&first, &second] {
        simulator.ctl("storm?n=10&type=VmSuspendedEvent").await?;
    }
    until("both are followed", Duration::from_secs(20), async || {
        Ok(of(&first) == 10 && of(&second) == 10)
    })
    .await?;

    // When one of them is away
    first.kill()?;
    let began = Instant::now();
    second.ctl("storm?n=500&type=VmSuspendedEvent").await?;
    until("the other's storm", Duration::from_secs(20), async || {
        Ok(of(&second) == 510)
    })
    .await?;
    eprintln!(
        "500 events of one vCenter {:?} after another's end",
        began.elapsed()
    );

    // Then its own driver says so, and goes on by itself when it is back
    hub.until("the outage is shown", Duration::from_secs(30), |hub| {
        let shown = hub.json(&["get", "eventdriver", "vc1"])?;
        let reason = shown["reason"].to_string();
        Ok(shown["status"] == "ERROR" && reason.contains("onnection refused"))
    })
    .await?;
    let shown = hub.json(&["get", "eventdriver", "vc2"])?;
    assert_eq!(shown["status"], "READY", "{shown}");
    let figures = &shown["supervision"];
    for figure in ["lastEventAge", "lag", "checkpointAge"] {
        ensure!(
            figures[figure].as_u64().is_some_and(|age| age < 60),
            "{figure}: {figures}"
        );
    }
    first.run().await?;
    // The longest wait between two attempts is a minute.
    ready_within(&hub, "vc1", Duration::from_secs(90)).await?;
    first.ctl("storm?n=10&type=VmSuspendedEvent").await?;
    until("its events again", Duration::from_secs(20), async || {
        Ok(of(&first) == 20)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_is_mended_counts_at_once() -> Result<()> {
    // Given a driver whose login is refused, and which will not try again for minutes
    let Some(simulator) = Vcsim::start(Options::default()).await? else {
        return Ok(());
    };
    let hub = watch(&simulator).await?;
    let (username, _) = simulator.credentials();
    let wrong = json!({"host": simulator.host(), "username": username, "password": "of last year"});
    std::fs::write(hub.scratch().join("old.json"), wrong.to_string())?;
    hub.ok(&["create", "secret", "rotated", "old.json"])?;
    create_driver(&hub, "vc1", "rotated", &simulator, "now")?;
    hub.until("the refusal is shown", Duration::from_secs(20), |hub| {
        let shown = hub.json(&["get", "eventdriver", "vc1"])?;
        let reason = shown["reason"].to_string();
        Ok(shown["status"] == "ERROR" && reason.contains("InvalidLogin"))
    })
    .await?;

    // When the secret is changed
    let right = json!({"kind": "Secret", "name": "rotated",
        "secrets": {"host": simulator.host(), "username": username, "password": simulator.credentials().1}});
    std::fs::write(hub.scratch().join("right.yaml"), right.to_string())?;
    hub.ok(&["update", "-f", "right.yaml"])?;

    // Then it is connected
    ready(&hub, "vc1").await
}
