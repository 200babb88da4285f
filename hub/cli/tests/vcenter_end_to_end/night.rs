//! In the night: a VM powers off, however it comes to, and a function runs.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use dispatch_fixtures::hub::Hub;
use dispatch_fixtures::pyvmomi::{Powered, Pyvmomi};
use dispatch_fixtures::target::Target;
use dispatch_fixtures::vcsim::{Options, Vcsim};
use serde_json::{Value, json};

use crate::{start_driver, watch};

const ECHO: &str = "def handle(ctx, payload):\n    return {'payload': payload, 'event': ctx['event']}\n";

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
    // Not from now on: it would begin when it has logged in, which may be after the first event.
    start_driver(&hub, &simulator, "1h").await?;
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

    // When VMs power off, one after the other
    let mut took = Vec::new();
    for name in ["DC0_H0_VM0", "DC0_C0_RP0_VM0", "DC0_C0_RP0_VM1"] {
        let powered = pyvmomi.power_off(name)?;
        let run = run_of(&hub, &powered).await?;

        // Then the run of each names its VM
        let vm = &run["output"]["payload"]["vm"];
        assert_eq!(
            (&vm["name"], &vm["vm"]["value"]),
            (&json!(powered.name), &json!(powered.moref)),
            "{run}"
        );
        let finished = Duration::from_nanos(run["finishedTime"].as_u64().context("finishedTime")?);
        took.push((SystemTime::UNIX_EPOCH + finished).duration_since(powered.started())?);
    }

    // And is READY within two seconds; a busy machine may hold up one
    took.sort_unstable();
    eprintln!("power-off to READY: {took:?}");
    ensure!(took[1] < Duration::from_secs(2), "took {took:?}");
    Ok(())
}

/// The run of a power-off, READY.
async fn run_of(hub: &Hub, powered: &Powered) -> Result<Value> {
    let subject = format!("VirtualMachine/{}", powered.moref);
    let mut run = Value::Null;
    hub.until("the run is READY", Duration::from_secs(10), |hub| {
        let runs = hub.json(&["get", "runs", "on-off"])?;
        let of = |r: &&Value| r["output"]["event"]["subject"] == subject.as_str() && r["status"] == "READY";
        run = runs
            .as_array()
            .and_then(|r| r.iter().find(of))
            .cloned()
            .unwrap_or_default();
        Ok(!run.is_null())
    })
    .await?;
    Ok(run)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_a_power_on_gets_those_of_drs_and_ha_too() -> Result<()> {
    // Given somebody who wants power-ons, and somebody who wants plain ones only
    let Some(simulator) = Vcsim::start(Options::default()).await? else {
        return Ok(());
    };
    let hub = watch(&simulator).await?;
    let (any, plain) = (Target::start().await?, Target::start().await?);
    hub.subscribe("any", &any.url(), "--event-type vm.powered.on")?;
    hub.subscribe("plain", &plain.url(), "--filter exact:type=vm.powered.on")?;
    start_driver(&hub, &simulator, "1h").await?;

    // When VMs are powered on by a user, by DRS and by HA, and one is powered off
    let classes = [
        "DrsVmPoweredOnEvent",
        "VmRestartedOnAlternateHostEvent",
        "VmPoweredOffEvent",
        "VmPoweredOnEvent",
    ];
    let count = |target: &Target, ty: &str| target.arrivals().iter().filter(|a| a.event.ty() == ty).count();
    let before = count(&plain, "vm.powered.on");
    for class in classes {
        simulator.ctl(&format!("storm?n=1&type={class}")).await?;
    }

    // Then the first gets all three, the second the plain one
    let types = ["drs.vm.powered.on", "vm.restarted.on.alternate.host"];
    hub.until("the power-ons", Duration::from_secs(20), |_| {
        let special = types.iter().all(|ty| count(&any, ty) == 1);
        Ok(special && count(&any, "vm.powered.on") > before && count(&plain, "vm.powered.on") > before)
    })
    .await?;
    assert_eq!(count(&any, "vm.powered.off"), 0);
    assert!(plain.arrivals().iter().all(|a| a.event.ty() == "vm.powered.on"));
    Ok(())
}
