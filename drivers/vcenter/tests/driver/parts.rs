//! Several parts of the inventory, read as one history.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use dispatch_contract::Event;
use dispatch_fixtures::driver_hub::DriverHub;

use crate::driving::{SOON, Setting};

const TWO: &str = "--within=/DC0/vm/DC0_H0_VM1,/DC0/vm/DC0_C0_RP0_VM1";
/// The two, as storms name them; another is not asked for.
const FIRST: &str = "vm-60";
const SECOND: &str = "vm-66";
const OTHER: &str = "vm-57";

/// Ids of the events that a storm made of one machine.
fn stormed(hub: &DriverHub, vm: &str) -> BTreeSet<String> {
    let of = format!("VirtualMachine/{vm}");
    let is_of = |event: &&Event| {
        event.subject() == Some(&*of) && matches!(event.ty(), "vm.migrated" | "vm.suspended")
    };
    let events = hub.events();
    events
        .iter()
        .filter(is_of)
        .map(|event| event.id().to_owned())
        .collect()
}

#[tokio::test]
async fn events_of_several_parts_of_the_inventory_are_read_and_no_others() -> Result<()> {
    let Some((setting, mut driver)) = Setting::reading(&[], &[TWO]).await? else {
        return Ok(());
    };

    for name in ["DC0_H0_VM0", "DC0_H0_VM1", "DC0_C0_RP0_VM1"] {
        setting.client.power_off(name)?;
    }

    let off = |hub: &DriverHub| -> BTreeSet<String> {
        let events = hub.events();
        let off = events.iter().filter(|event| event.ty() == "vm.powered.off");
        off.map(|event| event.attribute("vmname").unwrap_or_default().to_owned())
            .collect()
    };
    let wanted = BTreeSet::from(["DC0_H0_VM1", "DC0_C0_RP0_VM1"].map(str::to_owned));
    setting
        .until(&driver, "the events of both", |hub| off(hub) == wanted)
        .await?;
    assert!(
        !driver.stderr().contains("shows events"),
        "nothing is awaited that is not wanted"
    );
    assert!(driver.terminate(SOON).await?.success());
    assert_eq!(setting.client.sessions()?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_long_history_of_one_part_is_not_overtaken_by_a_short_one_of_another_over_kills() -> Result<()> {
    // Given much that happened in one part and then little in another
    let Some(setting) = Setting::new(&[]).await? else {
        return Ok(());
    };
    let hours_ago = |hours: u32| hours * 3600;
    for (vm, count, late, ty) in [
        (FIRST, 1500, hours_ago(2), "VmMigratedEvent"),
        (OTHER, 5, hours_ago(1), "VmSuspendedEvent"),
        (SECOND, 30, 0, "VmSuspendedEvent"),
    ] {
        let storm = format!("storm?n={count}&late={late}&vm={vm}&type={ty}");
        setting.vcenter.ctl(&storm).await?;
    }

    // When drivers are killed after each new page, and the last one is left alone
    // What made the machines happened later than what is said of one of them: nothing of that is read.
    let args = [TWO, "--start=beginning", "--types=vm.migrated,vm.suspended"];
    for _ in 0..3 {
        let before = setting.hub.count();
        let mut driver = setting.driver(&args)?;
        setting
            .until(&driver, "some events", |hub| hub.count() > before)
            .await?;
        driver.kill()?;
        if stormed(&setting.hub, FIRST).len() == 1500 {
            break;
        }
    }
    let driver = setting.driver(&args)?;

    // Then all is there that was asked for
    let within = Duration::from_secs(60);
    let all = |hub: &DriverHub| stormed(hub, FIRST).len() == 1500 && stormed(hub, SECOND).len() == 30;
    let waited = setting.hub.until("all events of both", within, all).await;
    let (first, second) = (stormed(&setting.hub, FIRST), stormed(&setting.hub, SECOND));
    assert!(
        waited.is_ok(),
        "{} of 1500, {} of 30: {}",
        first.len(),
        second.len(),
        driver.stderr().lines().last().unwrap_or_default()
    );
    assert_eq!(stormed(&setting.hub, OTHER), BTreeSet::new());
    Ok(())
}

#[tokio::test]
async fn a_part_stuck_behind_invisible_events_goes_on_although_another_went_past_it() -> Result<()> {
    // Given much in one part that this user may not see, then some that may be seen, and then something in another part
    let Some((setting, driver)) = Setting::reading(&[], &[TWO]).await? else {
        return Ok(());
    };
    setting.vcenter.ctl("hide?type=VmResettingEvent").await?;
    let hidden = format!("storm?n=1500&vm={FIRST}&type=VmResettingEvent");
    setting.vcenter.ctl(&hidden).await?;

    for (vm, count) in [(FIRST, 5), (SECOND, 1)] {
        for _ in 0..count {
            let storm = format!("storm?n=1&vm={vm}&type=VmSuspendedEvent");
            setting.vcenter.ctl(&storm).await?;
        }
    }

    setting
        .until(&driver, "what may be seen of both", |hub| {
            stormed(hub, FIRST).len() == 5 && stormed(hub, SECOND).len() == 1
        })
        .await
}

#[tokio::test]
async fn a_server_that_takes_nothing_back_still_hears_that_the_session_ends() -> Result<()> {
    let many = "--within=/DC0/vm/DC0_H0_VM0,/DC0/vm/DC0_H0_VM1,/DC0/vm/DC0_C0_RP0_VM0,/DC0/vm/DC0_C0_RP0_VM1";
    for is_last in [false, true] {
        let Some((setting, mut driver)) = Setting::reading(&[], &[many]).await? else {
            return Ok(());
        };
        setting
            .vcenter
            .ctl("spoil?how=hang&n=1000&method=DestroyCollector")
            .await?;

        let status = driver.terminate(SOON).await?;

        assert!(status.success(), "{status}");
        // A busy machine may let a farewell take too long, but not twice.
        if driver.stderr().contains("could not log out") {
            assert!(!is_last, "{}", driver.stderr());
            continue;
        }
        assert_eq!(setting.client.sessions()?, Vec::<String>::new());
        break;
    }
    Ok(())
}
