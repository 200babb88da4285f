//! Starting, stopping, and AWS being away.

use std::time::{Duration, Instant};

use anyhow::Result;
use axum::http::StatusCode;
use dispatch_fixtures::aws::{Aws, Emulator};
use dispatch_fixtures::driver_hub::DriverHub;
use dispatch_fixtures::hub::free_port;
use serde_json::json;

use crate::{PATIENCE, start, start_at};

#[tokio::test]
async fn it_stops_at_once_in_the_middle_of_everything_and_gives_back_what_it_holds() -> Result<()> {
    // Given a driver that holds messages for a hub that is full
    let Some(aws) = Aws::start(Emulator::Ministack).await? else {
        return Ok(());
    };
    let hub = DriverHub::start().await?;
    let queue = aws.make_queue("orders", json!({})).await?;
    let settings = [&*format!("--queue-url={queue}"), "--visibility-timeout=1h"];
    aws.send_messages(&queue, &["one".to_owned(), "two".to_owned()])
        .await?;
    hub.refuse(Some(StatusCode::SERVICE_UNAVAILABLE));
    let mut driver = start(&aws, &hub, &settings)?;
    hub.until("it holds them", PATIENCE, |hub| hub.refused() > 0)
        .await?;

    // When it is told to stop
    let began = Instant::now();
    let status = driver.terminate(PATIENCE).await?;

    // Then it does, and the next one need not wait an hour for them
    assert!(status.success(), "{status}: {}", driver.stderr());
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "took {:?}",
        began.elapsed()
    );
    hub.refuse(None);
    let _next = start(&aws, &hub, &settings)?;
    hub.until("the next one brings both", PATIENCE, |hub| hub.count() == 2)
        .await
}

#[tokio::test]
async fn it_stops_at_once_in_a_long_poll() -> Result<()> {
    let Some(aws) = Aws::start(Emulator::Ministack).await? else {
        return Ok(());
    };
    let hub = DriverHub::start().await?;
    let queue = aws.make_queue("orders", json!({})).await?;
    let mut driver = start(&aws, &hub, &[&format!("--queue-url={queue}")])?;
    hub.until("it is ready", PATIENCE, |hub| !hub.health().is_empty())
        .await?;

    let began = Instant::now();
    assert!(driver.terminate(PATIENCE).await?.success());
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "took {:?}",
        began.elapsed()
    );
    Ok(())
}

#[tokio::test]
async fn while_aws_is_away_it_says_so_and_why() -> Result<()> {
    let hub = DriverHub::start().await?;
    let url = format!("http://127.0.0.1:{}", free_port()?);

    let mut driver = start_at(&url, &hub, &[&format!("--queue-url={url}/000000000000/orders")])?;

    hub.until("it says so", PATIENCE, |hub| !hub.health().is_empty())
        .await?;
    let said = &hub.health()[0];
    assert_eq!(said["status"], "ERROR");
    let reason = said["reason"].as_str().unwrap_or_default();
    assert!(
        reason.starts_with("cannot read the queue's attributes: "),
        "{reason}"
    );
    assert!(driver.is_running()?, "it goes on trying");
    assert!(driver.terminate(PATIENCE).await?.success());
    Ok(())
}

#[tokio::test]
async fn wrong_settings_end_it_with_their_name_and_exit_code_1() -> Result<()> {
    let hub = DriverHub::start().await?;
    for (settings, message) in [
        (&["--mode=classic"][..], "--queue-url: is required"),
        (
            &["--queue-url=https://x/1/q", "--source=a b"],
            "--source: \"a b\"",
        ),
        (&["--queue=x"], "there is no setting --queue"),
    ] {
        let mut driver = start_at("http://127.0.0.1:1", &hub, settings)?;
        assert_eq!(driver.ended(PATIENCE).await?.code(), Some(1), "{settings:?}");
        assert!(driver.stderr().contains(message), "{}", driver.stderr());
    }
    Ok(())
}
