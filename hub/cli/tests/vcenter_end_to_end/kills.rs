//! Hub, driver and vCenter are killed at any moment.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dispatch_fixtures::hub::Hub;
use dispatch_fixtures::pyvmomi::Pyvmomi;
use dispatch_fixtures::target::Target;
use dispatch_fixtures::vcsim::{Options, Vcsim};

use crate::{start_driver, watch};

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
    hub.until("one driver, one session", Duration::from_secs(20), |_| {
        Ok(pyvmomi.sessions()?.len() == 1)
    })
    .await?;
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
