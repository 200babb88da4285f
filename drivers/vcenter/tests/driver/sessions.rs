//! Sessions end, servers go away, passwords are wrong: the driver goes on where it can, and harms nobody.

use std::time::Duration;

use anyhow::Result;
use axum::http::StatusCode;
use dispatch_fixtures::driver_hub::DriverHub;
use dispatch_fixtures::process::until;

use crate::driving::{SOON, Setting};

fn has_type(ty: &str) -> impl Fn(&DriverHub) -> bool {
    move |hub| hub.events().iter().any(|e| e.ty() == ty)
}

#[tokio::test]
async fn a_session_ended_during_a_storm_is_made_again_and_nothing_is_lost() -> Result<()> {
    let Some((setting, driver)) = Setting::reading(&[], &["--start=beginning"]).await? else {
        return Ok(());
    };

    for _ in 0..4 {
        let (storm, ended) = tokio::join!(
            setting.vcenter.ctl("storm?n=300"),
            setting.vcenter.ctl("terminate")
        );
        storm.and(ended)?;
        let logins = setting.hub.count();
        setting
            .until(&driver, "the storm and the new login", |hub| hub.count() > logins)
            .await?;
    }

    setting.complete(SOON).await?;
    let sessions = setting.client.sessions()?;
    assert!(sessions.len() <= 2, "{sessions:?}");
    Ok(())
}

#[tokio::test]
async fn a_session_that_ended_while_nothing_happened_costs_no_event() -> Result<()> {
    let Some((setting, driver)) = Setting::reading(&[], &[]).await? else {
        return Ok(());
    };

    setting.vcenter.ctl("terminate").await?;
    setting.vcenter.ctl("storm?n=1&type=VmSuspendedEvent").await?;

    setting
        .until(&driver, "the event after the end", has_type("vm.suspended"))
        .await?;
    Ok(())
}

#[tokio::test]
async fn an_idle_session_may_expire() -> Result<()> {
    let Some((setting, driver)) = Setting::reading(&["-session-idle", "1s"], &[]).await? else {
        return Ok(());
    };

    tokio::time::sleep(Duration::from_secs(2)).await;
    setting.vcenter.ctl("storm?n=10&type=VmSuspendedEvent").await?;

    let all = |hub: &DriverHub| hub.events().iter().filter(|e| e.ty() == "vm.suspended").count() == 10;
    setting.until(&driver, "the events after the pause", all).await?;
    Ok(())
}

#[tokio::test]
async fn a_refused_login_is_tried_once_and_said() -> Result<()> {
    let Some(setting) = Setting::new(&["-trace"]).await? else {
        return Ok(());
    };
    let ca = format!("--ca={}", setting.vcenter.ca().display());
    let mut driver = setting.driver_with(&[&ca], "wr&ng")?;

    let refused =
        |d: &dispatch_fixtures::process::Process| d.stderr().contains("login refused").then_some(());
    driver.until("the refusal is logged", SOON, refused).await?;
    setting
        .until(&driver, "the hub knows", |hub| !hub.health().is_empty())
        .await?;
    // Long enough for what a driver with ordinary backoff would do three times.
    tokio::time::sleep(Duration::from_secs(4)).await;

    assert_eq!(setting.vcenter.log().matches("<Login ").count(), 1);
    let health = &setting.hub.health()[0];
    assert!(
        health["reason"].as_str().unwrap().contains("InvalidLogin"),
        "{health}"
    );
    assert!(driver.terminate(Duration::from_secs(5)).await?.success());
    Ok(())
}

#[tokio::test]
async fn no_session_is_left_after_the_end() -> Result<()> {
    let Some((setting, mut driver)) = Setting::reading(&[], &[]).await? else {
        return Ok(());
    };
    assert_eq!(setting.client.sessions()?.len(), 1);

    let status = driver.terminate(Duration::from_secs(5)).await?;

    assert!(status.success(), "{status}");
    assert_eq!(setting.client.sessions()?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn no_session_is_left_even_when_the_hub_does_not_listen() -> Result<()> {
    let Some((setting, mut driver)) = Setting::reading(&[], &[]).await? else {
        return Ok(());
    };
    setting.hub.refuse(Some(StatusCode::SERVICE_UNAVAILABLE));
    setting.vcenter.ctl("storm?n=300").await?;
    setting
        .until(&driver, "a refusal", |hub| hub.refused() > 0)
        .await?;

    let status = driver.terminate(Duration::from_secs(5)).await?;

    assert!(status.success(), "{status}");
    assert_eq!(setting.client.sessions()?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_server_that_was_away_is_found_again_and_the_outage_is_told() -> Result<()> {
    let Some(mut setting) = Setting::new(&[]).await? else {
        return Ok(());
    };
    let mut driver = setting.driver(&[])?;
    setting.ready(&mut driver).await?;

    setting.vcenter.kill()?;
    setting
        .until(&driver, "the outage is told", has_type("vcenter.disconnected"))
        .await?;
    setting.vcenter.run().await?;
    setting
        .until(&driver, "its end is told", has_type("vcenter.connected"))
        .await?;
    setting.vcenter.ctl("storm?n=5&type=VmSuspendedEvent").await?;

    setting
        .until(
            &driver,
            "events with keys that started over",
            has_type("vm.suspended"),
        )
        .await?;
    let log = driver.stderr();
    assert_eq!(
        log.matches("no connection, trying until there is one").count(),
        1,
        "one line for one change"
    );
    Ok(())
}

#[tokio::test]
async fn one_bad_answer_is_survived_without_a_new_login() -> Result<()> {
    let Some((setting, driver)) = Setting::reading(&["-trace"], &[]).await? else {
        return Ok(());
    };

    setting.vcenter.ctl("status?code=503").await?;
    setting.vcenter.ctl("storm?n=5&type=VmSuspendedEvent").await?;

    setting
        .until(&driver, "the events", has_type("vm.suspended"))
        .await?;
    assert_eq!(
        setting.vcenter.log().matches("<Login ").count(),
        1,
        "the session was still good"
    );
    Ok(())
}

#[tokio::test]
async fn a_damaged_checkpoint_is_said_and_set_aside() -> Result<()> {
    let Some(setting) = Setting::new(&[]).await? else {
        return Ok(());
    };
    setting.hub.set_checkpoint("{\"version\":1,\"sour");
    let mut driver = setting.driver(&["--start=beginning"])?;

    setting.ready(&mut driver).await?;
    setting.complete(SOON).await?;

    assert!(
        driver
            .stderr()
            .contains("the checkpoint cannot be used and is set aside")
    );
    let checkpoint: serde_json::Value = serde_json::from_slice(&setting.hub.checkpoint().unwrap())?;
    assert_eq!(checkpoint["setAside"], "{\"version\":1,\"sour");
    Ok(())
}

#[tokio::test]
async fn the_password_is_in_no_log_no_event_and_no_checkpoint() -> Result<()> {
    let Some((setting, mut driver)) = Setting::reading(&[], &["--start=beginning"]).await? else {
        return Ok(());
    };
    setting.complete(SOON).await?;
    setting.vcenter.ctl("terminate").await?;
    setting.vcenter.ctl("storm?n=1&type=VmSuspendedEvent").await?;
    setting
        .until(
            &driver,
            "the event after a second login",
            has_type("vm.suspended"),
        )
        .await?;
    driver.terminate(SOON).await?;

    let checkpoint = setting.hub.checkpoint().unwrap_or_default();
    let events: Vec<u8> = setting.hub.events().iter().flat_map(|e| e.to_json()).collect();
    let all = [
        driver.stdout(),
        driver.stderr(),
        String::from_utf8_lossy(&checkpoint).into_owned(),
        String::from_utf8_lossy(&events).into_owned(),
    ];
    assert!(driver.stderr().contains("TRACE"), "at the loudest level");
    for text in all {
        assert!(!text.contains("s3cret"));
    }
    Ok(())
}

#[tokio::test]
async fn an_esxi_host_is_as_good_as_a_vcenter() -> Result<()> {
    let Some((setting, mut driver)) = Setting::reading(&["-esx"], &[]).await? else {
        return Ok(());
    };

    setting.vcenter.ctl("storm?n=3&type=VmPoweredOffEvent").await?;

    setting
        .until(&driver, "the events", has_type("vm.powered.off"))
        .await?;
    until("no session is left", SOON, async || {
        Ok(driver.terminate(SOON).await?.success())
    })
    .await
}
