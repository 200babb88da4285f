//! What proxies, full servers, odd clocks and missing rights do to a driver: it says so, and loses nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use dispatch_fixtures::driver_hub::DriverHub;
use dispatch_fixtures::process::{peak_kib, until};

use crate::driving::{SOON, Setting, data, id};

/// Longer than the server may keep us waiting, and then some.
const VERY_LONG: Duration = Duration::from_secs(90);

fn count_of(hub: &DriverHub, ty: &str) -> usize {
    hub.events().iter().filter(|e| e.ty() == ty).count()
}

fn logins(setting: &Setting) -> usize {
    setting.vcenter.log().matches("<Login ").count()
}

/// What the driver told the hub of its troubles.
fn reasons(hub: &DriverHub) -> Vec<String> {
    let health = hub.health();
    let reasons = health.iter().filter_map(|h| h["reason"].as_str());
    reasons.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_collector_that_is_gone_is_made_again_and_the_session_is_kept() -> Result<()> {
    let Some((setting, driver)) = Setting::reading(&["-trace"], &[]).await? else {
        return Ok(());
    };

    for round in 1..=3 {
        setting.vcenter.ctl("lose").await?;
        setting.vcenter.ctl("storm?n=50&type=VmSuspendedEvent").await?;
        setting
            .until(&driver, "what was posted after the loss", |hub| {
                count_of(hub, "vm.suspended") == round * 50
            })
            .await?;
    }

    assert_eq!(logins(&setting), 1, "the session was still good");
    assert!(driver.stderr().contains("a collector is gone"));
    Ok(())
}

#[tokio::test]
async fn a_proxy_s_page_and_answers_that_break_off_cost_no_event() -> Result<()> {
    let Some((setting, driver)) = Setting::reading(&["-trace"], &[]).await? else {
        return Ok(());
    };

    for (round, how) in [(1, "html"), (2, "cut"), (3, "reset")] {
        let spoil = format!("spoil?how={how}&n=2&method=ReadNextEvents");
        setting.vcenter.ctl(&spoil).await?;
        setting.vcenter.ctl("storm?n=100&type=VmSuspendedEvent").await?;
        setting
            .until(&driver, how, |hub| count_of(hub, "vm.suspended") == round * 100)
            .await?;
    }

    assert_eq!(logins(&setting), 1, "the session was still good");
    let events = setting.hub.events();
    let ids: BTreeSet<&str> = events.iter().map(|e| e.id()).collect();
    assert_eq!(ids.len(), events.len());
    assert_eq!(
        count_of(&setting.hub, "unreadable"),
        0,
        "all of it could be read in the end"
    );
    Ok(())
}

#[tokio::test]
async fn a_server_that_stops_answering_is_noticed_and_nothing_is_lost() -> Result<()> {
    let Some((setting, mut driver)) = Setting::reading(&[], &[]).await? else {
        return Ok(());
    };

    setting
        .vcenter
        .ctl("spoil?how=hang&n=1&method=WaitForUpdatesEx")
        .await?;
    setting.vcenter.ctl("storm?n=1&type=VmSuspendedEvent").await?;
    let hangs = async || Ok(setting.vcenter.ctl("left").await? == "0");
    until("the driver waits for an answer", SOON, hangs).await?;
    setting.vcenter.ctl("storm?n=20&type=VmSuspendedEvent").await?;

    let all = |hub: &DriverHub| count_of(hub, "vm.suspended") == 21;
    setting.hub.until("the events", VERY_LONG, all).await?;
    assert!(
        reasons(&setting.hub)
            .iter()
            .any(|r| r.contains("no answer to WaitForUpdatesEx")),
        "{:?}",
        reasons(&setting.hub)
    );
    assert!(driver.terminate(SOON).await?.success());
    Ok(())
}

#[tokio::test]
async fn a_user_who_may_only_read_is_enough() -> Result<()> {
    let Some(setting) = Setting::new(&[]).await? else {
        return Ok(());
    };
    setting.vcenter.ctl("forbid?what=sessions").await?;
    let ca = format!("--ca={}", setting.vcenter.ca().display());
    let mut tried = setting.driver_with(&["--test", &ca], setting.vcenter.credentials().1)?;
    assert!(tried.ended(SOON).await?.success(), "{}", tried.stderr());
    assert!(
        tried.stdout().contains("sessions  not seen"),
        "{}",
        tried.stdout()
    );

    let mut driver = setting.driver(&[])?;
    setting.ready(&mut driver).await?;
    setting.vcenter.ctl("storm?n=5&type=VmSuspendedEvent").await?;

    setting
        .until(&driver, "the events", |hub| count_of(hub, "vm.suspended") == 5)
        .await?;
    assert!(driver.terminate(SOON).await?.success());
    Ok(())
}

#[tokio::test]
async fn a_right_that_is_missing_is_named_and_used_as_soon_as_it_is_given() -> Result<()> {
    let Some(setting) = Setting::new(&["-trace"]).await? else {
        return Ok(());
    };
    setting.vcenter.ctl("forbid?what=events").await?;
    let lacks = "the user lacks the privilege System.View on Folder group-d1";
    let ca = format!("--ca={}", setting.vcenter.ca().display());
    let mut tried = setting.driver_with(&["--test", &ca], setting.vcenter.credentials().1)?;
    assert_eq!(tried.ended(SOON).await?.code(), Some(1));
    assert!(tried.stderr().contains(lacks), "{}", tried.stderr());

    let driver = setting.driver(&["--start=1h"])?;
    let told = |hub: &DriverHub| reasons(hub).iter().any(|r| r.contains(lacks));
    setting.until(&driver, "what is missing", told).await?;
    setting.vcenter.ctl("storm?n=5&type=VmSuspendedEvent").await?;
    let before = logins(&setting);
    setting.vcenter.ctl("forbid?what=").await?;

    setting
        .until(&driver, "the events", |hub| count_of(hub, "vm.suspended") == 5)
        .await?;
    assert_eq!(logins(&setting), before, "no login for a right");
    Ok(())
}

#[tokio::test]
async fn the_server_s_clock_counts_however_wrong_ours_is() -> Result<()> {
    for (clock, said) in [
        ("2h", "s ahead of this machine"),
        ("-2h", "s behind this machine"),
    ] {
        let Some(setting) = Setting::new(&["-clock", clock]).await? else {
            return Ok(());
        };
        let ca = format!("--ca={}", setting.vcenter.ca().display());
        let mut tried = setting.driver_with(&["--test", &ca], setting.vcenter.credentials().1)?;
        assert!(tried.ended(SOON).await?.success(), "{}", tried.stderr());
        assert!(tried.stdout().contains(said), "{}", tried.stdout());
        let mut driver = setting.driver(&[])?;
        setting.ready(&mut driver).await?;

        setting.vcenter.ctl("storm?n=3&type=VmSuspendedEvent").await?;
        setting
            .until(&driver, clock, |hub| count_of(hub, "vm.suspended") == 3)
            .await?;
        driver.kill()?;
        setting.vcenter.ctl("storm?n=3&type=VmSuspendedEvent").await?;
        let again = setting.driver(&[])?;

        setting
            .until(&again, clock, |hub| count_of(hub, "vm.suspended") == 6)
            .await?;
        assert_eq!(
            count_of(&setting.hub, "datacenter.created"),
            0,
            "from before the start"
        );
    }
    Ok(())
}

#[tokio::test]
async fn events_of_one_instant_are_all_read_over_a_kill() -> Result<()> {
    let Some((setting, mut driver)) = Setting::reading(&[], &["--start=1h"]).await? else {
        return Ok(());
    };
    // As some hosts write it: without a fraction of the second.
    let instant = chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ");
    let storm = format!("storm?n=800&at={instant}&type=VmSuspendedEvent");
    let until_some = setting.until(&driver, "a part of them", |hub| count_of(hub, "vm.suspended") > 0);
    let (stormed, some) = tokio::join!(setting.vcenter.ctl(&storm), until_some);
    stormed?;
    some?;
    driver.kill()?;
    setting.vcenter.ctl(&storm).await?;

    let _driver = setting.driver(&["--start=1h"])?;

    let seen = setting.complete(Duration::from_secs(30)).await?;
    let suspended: BTreeSet<String> = seen
        .iter()
        .filter(|s| s.data["createdTime"]["micros"].as_i64() == Some(s.micros))
        .map(id)
        .collect();
    assert!(suspended.len() >= 1600);
    assert_eq!(count_of(&setting.hub, "vm.suspended"), 1600, "each once");
    Ok(())
}

#[tokio::test]
async fn a_server_that_shows_only_the_newest_of_many_events_hides_none() -> Result<()> {
    let Some(setting) = Setting::new(&[]).await? else {
        return Ok(());
    };
    setting.vcenter.ctl("coalesce").await?;
    let mut driver = setting.driver(&[])?;
    setting.ready(&mut driver).await?;

    setting.vcenter.ctl("storm?n=2000&type=VmSuspendedEvent").await?;

    setting
        .until(&driver, "all of the storm", |hub| {
            count_of(hub, "vm.suspended") == 2000
        })
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_driver_s_memory_is_bounded_by_pages_not_by_storms() -> Result<()> {
    let Some(setting) = Setting::new(&[]).await? else {
        return Ok(());
    };
    setting.vcenter.ctl("storm?n=12000&type=VmSuspendedEvent").await?;

    let driver = setting.driver(&["--start=beginning"])?;

    let all = |hub: &DriverHub| hub.count() >= 12_000;
    setting.hub.until("all of the storm", VERY_LONG, all).await?;
    let most = peak_kib(driver.pid())?;
    println!("12000 events in one driver of at most {most} KiB");
    // Two pages of a thousand, as text, as elements and as events, in an unoptimized build.
    assert!(most < 200 * 1024, "{most} KiB");
    assert!(data(&setting.hub.events()[0]).is_object());
    Ok(())
}
