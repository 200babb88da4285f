//! A vCenter admin's night: a VM powers off, a function runs; storms and kills in between lose nothing.
// Helpers outside #[test] functions may unwrap here: a panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use dispatch_fixtures::hub::Hub;
use dispatch_fixtures::pyvmomi::Pyvmomi;
use dispatch_fixtures::target::Target;
use dispatch_fixtures::vcsim::{Options, Vcsim};
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_dispatch");
const ECHO: &str = "def handle(ctx, payload):\n    return {'payload': payload, 'event': ctx['event']}\n";

/// A hub with the driver `vc1` on the simulator.
async fn watch(simulator: &Vcsim) -> Result<Hub> {
    let hub = Hub::start(BINARY).await?;
    let (username, password) = simulator.credentials();
    let secret = json!({"host": simulator.host(), "username": username, "password": password});
    std::fs::write(hub.scratch().join("vc.json"), secret.to_string())?;
    hub.ok(&["create", "secret", "vc", "vc.json"])?;
    Ok(hub)
}

async fn start_driver(hub: &Hub, simulator: &Vcsim, start: &str) -> Result<()> {
    let (ca, start) = (
        format!("ca={}", simulator.ca().display()),
        format!("start={start}"),
    );
    let args = [
        "create",
        "eventdriver",
        "vcenter",
        "--name",
        "vc1",
        "--secret",
        "vc",
        "--set",
        &ca,
        "--set",
        &start,
    ];
    hub.ok(&args)?;
    hub.until("the driver is READY", Duration::from_secs(20), |hub| {
        Ok(hub.json(&["get", "eventdriver", "vc1"])?["status"] == "READY")
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vm_that_powers_off_runs_a_function_within_two_seconds() -> Result<()> {
    // Given a vCenter, and a function that waits for a power-off
    let Some(simulator) = Vcsim::start(Options::default()).await? else {
        return Ok(());
    };
    let Some(pyvmomi) = Pyvmomi::new(&simulator)? else {
        return Ok(());
    };
    let hub = watch(&simulator).await?;
    std::fs::write(hub.scratch().join("echo.py"), ECHO)?;
    hub.ok(&[
        "create",
        "base-image",
        "python3-base",
        "dispatchframework/python3-base:0.0.13",
        "--language",
        "python3",
    ])?;
    hub.ok(&["create", "image", "python3", "python3-base"])?;
    hub.ok(&["create", "function", "on-off", "--image", "python3", "./echo.py"])?;
    hub.ok(&[
        "create",
        "subscription",
        "on-off",
        "--event-type",
        "vm.powered.off",
    ])?;
    hub.until("the function is READY", Duration::from_secs(30), |hub| {
        Ok(hub.json(&["get", "function", "on-off"])?["status"] == "READY")
    })
    .await?;
    start_driver(&hub, &simulator, "now").await?;
    // READY says the driver runs; that it watches is seen by its first event.
    let warm = pyvmomi.power_off("DC0_H0_VM1")?;
    hub.until(
        &format!("{} is seen", warm.moref),
        Duration::from_secs(20),
        |hub| {
            Ok(hub
                .json(&["get", "runs", "on-off"])?
                .as_array()
                .is_some_and(|r| !r.is_empty()))
        },
    )
    .await?;

    // When a VM powers off
    let powered = pyvmomi.power_off("DC0_H0_VM0")?;

    // Then its run is READY within two seconds and names the VM
    let subject = format!("VirtualMachine/{}", powered.moref);
    let mut run = serde_json::Value::Null;
    hub.until("the run is READY", Duration::from_secs(10), |hub| {
        let runs = hub.json(&["get", "runs", "on-off"])?;
        let of = |r: &&serde_json::Value| {
            r["output"]["event"]["subject"] == subject.as_str() && r["status"] == "READY"
        };
        run = runs
            .as_array()
            .and_then(|r| r.iter().find(of))
            .cloned()
            .unwrap_or_default();
        Ok(!run.is_null())
    })
    .await?;
    let finished =
        SystemTime::UNIX_EPOCH + Duration::from_nanos(run["finishedTime"].as_u64().context("finishedTime")?);
    let took = finished.duration_since(powered.started())?;
    eprintln!("power-off to READY: {took:?}");
    ensure!(took < Duration::from_secs(2), "took {took:?}");
    let vm = &run["output"]["payload"]["vm"];
    assert_eq!(
        (&vm["name"], &vm["vm"]["value"]),
        (&json!(powered.name), &json!(powered.moref)),
        "{run}"
    );
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
    dispatch_fixtures::process::until("all events arrived", Duration::from_secs(60), async || {
        Ok(target.accepted().len() >= 5000 + before)
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

fn data(arrival: &dispatch_fixtures::target::Arrival) -> serde_json::Value {
    arrival
        .event
        .data()
        .and_then(|d| serde_json::from_slice(d.bytes).ok())
        .unwrap_or_default()
}

fn key(arrival: &dispatch_fixtures::target::Arrival) -> Result<i64> {
    data(arrival)["key"].as_i64().context("a vCenter event has a key")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_of_hub_driver_and_vcenter_during_storms_lose_nothing_and_keep_every_id() -> Result<()> {
    let options = Options {
        keeps_history: true,
        ..Options::default()
    };
    let Some(mut simulator) = Vcsim::start(options).await? else {
        return Ok(());
    };
    let Some(pyvmomi) = Pyvmomi::new(&simulator)? else {
        return Ok(());
    };
    let mut hub = watch(&simulator).await?;
    let target = Target::start().await?;
    hub.subscribe("all", &target.url(), "--filter prefix:type=vm.")?;
    start_driver(&hub, &simulator, "beginning").await?;
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut moments = fastrand::Rng::with_seed(seed);

    for round in 0..20 {
        let storm = tokio::time::timeout(Duration::from_secs(30), simulator.asked("storm?n=300"));
        let moment = Duration::from_millis(moments.u64(0..700));
        // A storm is quick; the vCenter's own end is to come in the middle of it.
        let moment = if round % 3 == 2 { moment / 50 } else { moment };
        let kill = async {
            tokio::time::sleep(moment).await;
            match round % 3 {
                0 => hub.kill(),
                1 => kill_driver(&hub),
                _ => simulator.kill(),
            }
        };
        let (storm, kill) = tokio::join!(storm, kill);
        kill?;
        match round % 3 {
            0 => hub.run().await?,
            1 => {}
            // What the storm had posted by then is in the history; the request's own answer is not.
            _ => simulator.run().await?,
        }
        let storm = storm.context("the simulator stopped answering")?;
        ensure!(storm.is_ok() || round % 3 == 2, "{storm:?}");
    }

    // Only events of VMs: pyvmomi's own session makes others while it looks.
    let of_vms = pyvmomi.events()?.into_iter().filter(|e| e.data["vm"].is_object());
    let ids: BTreeSet<String> = of_vms.map(|e| format!("{}-{}", e.key, e.micros)).collect();
    ensure!(ids.len() >= 14 * 300, "{} events in the simulator", ids.len());
    target.wait_for_exactly(&ids, Duration::from_secs(120)).await?;
    let sessions = pyvmomi.sessions()?;
    ensure!(sessions.len() == 1, "one driver, one session: {sessions:?}");
    hub.ok(&["delete", "eventdriver", "vc1"])?;
    hub.until("no session is left over", Duration::from_secs(20), |_| {
        Ok(pyvmomi.sessions()?.is_empty())
    })
    .await?;
    eprintln!("{} events, none lost, no session left over", ids.len());
    Ok(())
}

/// `kill -9` of the driver's process, found by its name among the hub's children.
fn kill_driver(hub: &Hub) -> Result<()> {
    let parent = hub.pid().context("the hub runs")?.to_string();
    // No match is fine: the driver may be between two lives.
    std::process::Command::new("pkill")
        .args(["-9", "-P", &parent, "-f", "dispatch-driver-vcenter"])
        .status()?;
    Ok(())
}
