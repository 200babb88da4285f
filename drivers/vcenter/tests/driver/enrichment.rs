//! What of an event's object is looked up: there when it can be had, and never in the way.

use std::time::{Duration, Instant};

use anyhow::Result;
use dispatch_contract::Event;
use dispatch_fixtures::driver_hub::DriverHub;
use serde_json::json;

use crate::driving::{SOON, Setting, data};

fn of_type(hub: &DriverHub, ty: &str) -> Vec<Event> {
    hub.events().into_iter().filter(|e| e.ty() == ty).collect()
}

#[tokio::test]
async fn an_event_says_where_its_object_hangs_and_what_people_wrote_on_it() -> Result<()> {
    let Some(setting) = Setting::new(&[]).await? else {
        return Ok(());
    };
    setting.client.mark("DC0_H0_VM0")?;
    let mut driver = setting.driver(&["--enrich=path,attributes,tags"])?;
    setting.ready(&mut driver).await?;

    // It is looked up while it is there.
    for (count, name) in [(1, "DC0_H0_VM0"), (2, "DC0_H0_VM1")] {
        setting.client.power_off(name)?;
        let are_off = |hub: &DriverHub| of_type(hub, "vm.powered.off").len() == count;
        setting.until(&driver, "a power-off", are_off).await?;
    }
    setting.client.remove("DC0_H0_VM0")?;

    let removed = |hub: &DriverHub| !of_type(hub, "vm.removed").is_empty();
    setting.until(&driver, "the removal", removed).await?;
    let off = of_type(&setting.hub, "vm.powered.off");
    assert_eq!(off[0].attribute("inventorypath"), Some("/DC0/vm/DC0_H0_VM0"));
    assert_eq!(off[0].attribute("tagenvironment"), Some("prod"));
    let want = json!({"path": "/DC0/vm/DC0_H0_VM0", "attributes": {"owner": "team a"}, "tags": {"Environment": ["prod"]}});
    assert_eq!(data(&off[0])["_inventory"], want);
    assert_eq!(data(&off[1])["_inventory"], json!({"path": "/DC0/vm/DC0_H0_VM1"}));
    assert_eq!(off[1].attribute("tagenvironment"), None);
    let gone = &of_type(&setting.hub, "vm.removed")[0];
    assert_eq!(data(gone)["_inventory"], want, "as it was last known");
    assert!(driver.terminate(SOON).await?.success());
    assert!(!driver.stderr().contains("s3cret"));
    Ok(())
}

#[tokio::test]
async fn lookups_that_hang_cost_no_event_and_little_time() -> Result<()> {
    let Some((setting, driver)) = Setting::reading(&[], &["--enrich=path"]).await? else {
        return Ok(());
    };
    setting
        .vcenter
        .ctl("spoil?how=hang&n=1000&method=RetrievePropertiesEx")
        .await?;
    let began = Instant::now();
    setting.vcenter.ctl("storm?n=500&type=VmSuspendedEvent").await?;
    let all = |hub: &DriverHub| of_type(hub, "vm.suspended").len() == 500;
    setting.until(&driver, "the storm", all).await?;

    let took = began.elapsed();
    println!("500 events in {took:?} although nothing can be looked up");
    assert!(took < Duration::from_secs(10), "{took:?}");
    let hub = &setting.hub;
    assert!(
        of_type(hub, "vm.suspended")
            .iter()
            .all(|e| data(e).get("_inventory").is_none())
    );
    let log = driver.stderr();
    assert_eq!(log.matches("which cannot be read").count(), 1, "said once");
    Ok(())
}

#[tokio::test]
async fn an_esxi_host_that_knows_no_tags_costs_nothing() -> Result<()> {
    let Some((setting, driver)) = Setting::reading(&["-esx"], &["--enrich=path,attributes,tags"]).await?
    else {
        return Ok(());
    };

    setting.vcenter.ctl("storm?n=3&type=VmPoweredOffEvent").await?;

    let all = |hub: &DriverHub| of_type(hub, "vm.powered.off").len() == 3;
    setting.until(&driver, "the events", all).await
}
