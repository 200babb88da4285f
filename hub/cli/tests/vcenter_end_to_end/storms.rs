//! Storms: thousands of events at once, all of them at the sink, in order, and soon.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use dispatch_fixtures::process::until;
use dispatch_fixtures::pyvmomi::Pyvmomi;
use dispatch_fixtures::target::Target;
use dispatch_fixtures::vcsim::{Options, Vcsim};

use crate::{data, key, start_driver, watch};

const STORM: usize = 5000;
/// A release build on two cores keeps five seconds. An unoptimized one beside other tests gets this.
const IN_TIME: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_events_of_two_seconds_are_at_the_sink_soon_after() -> Result<()> {
    let Some(simulator) = Vcsim::start(Options::default()).await? else {
        return Ok(());
    };
    let hub = watch(&simulator).await?;
    let target = Target::start().await?;
    hub.subscribe("storm", &target.url(), "--event-type vm.suspended")?;
    start_driver(&hub, &simulator, "1h").await?;
    simulator.ctl("storm?n=1&type=VmSuspendedEvent").await?;
    let warm = async || Ok(target.count() == 1);
    until("the driver watches", Duration::from_secs(20), warm).await?;

    let began = SystemTime::now();
    simulator
        .ctl(&format!("storm?n={STORM}&type=VmSuspendedEvent"))
        .await?;
    let posted = began.elapsed()?;
    let all = async || Ok(target.count() > STORM);
    until("all events arrived", Duration::from_secs(60), all).await?;

    let arrivals = target.arrivals();
    let last = arrivals.iter().map(|a| a.at).max().context("the last arrival")?;
    let took = last.duration_since(began)?;
    eprintln!("{STORM} events posted in {posted:?}: all at the sink {took:?} after the storm began");
    assert_eq!(target.accepted().len(), STORM + 1, "each under one id");
    ensure!(took < IN_TIME, "took {took:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_5000_events_arrives_in_order_and_nothing_twice_under_another_id() -> Result<()> {
    let Some(simulator) = Vcsim::start(Options::default()).await? else {
        return Ok(());
    };
    let hub = watch(&simulator).await?;
    let target = Target::start().await?;
    let url = target.url();
    let one_by_one = ["--filter", "prefix:type=vm.", "--max-in-flight", "1"];
    let mut args = vec!["create", "subscription", "--name", "storm", "--sink", &url];
    args.extend(one_by_one);
    hub.ok(&args)?;
    start_driver(&hub, &simulator, "beginning").await?;

    let before = target_vm_count(&simulator).await?;
    simulator.ctl("storm?n=5000").await?;
    until("all events arrived", Duration::from_secs(60), async || {
        Ok(target.count() >= STORM + before)
    })
    .await?;

    let arrivals = target.arrivals();
    let keys: Vec<i64> = arrivals.iter().map(key).collect::<Result<_>>()?;
    ensure!(
        keys.windows(2).all(|k| k[0] < k[1]),
        "events arrived out of order, or twice"
    );
    let storm = arrivals.iter().filter(|a| {
        data(a)["vm"]["name"]
            .as_str()
            .is_some_and(|n| n.starts_with("storm-"))
    });
    assert_eq!(storm.count(), 5000);
    Ok(())
}

/// Events of the inventory whose type begins with `vm.`; the storm comes on top.
async fn target_vm_count(simulator: &Vcsim) -> Result<usize> {
    match Pyvmomi::new(simulator)? {
        Some(pyvmomi) => Ok(pyvmomi
            .events()?
            .iter()
            .filter(|e| e.data["vm"].is_object())
            .count()),
        None => Ok(0),
    }
}
