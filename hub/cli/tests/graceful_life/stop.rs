//! Signals: draining, running out of time, stopping at once.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use dispatch_fixtures::hub::{Hub, client};
use dispatch_fixtures::process::until;
use dispatch_fixtures::target::Target;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::{BINARY, PATIENCE, get, subscribe};

#[tokio::test]
async fn sigterm_drains_and_the_log_says_so() -> Result<()> {
    let target = Target::start().await?;
    let mut hub = Hub::start(BINARY).await?;
    subscribe(&hub, &target.url())?;
    let client = client()?;
    let ids: BTreeSet<String> = (0..50).map(|n| n.to_string()).collect();
    for id in &ids {
        ensure!(hub.post(&client, id, "test.happened", &json!({})).await);
    }

    let (status, log) = hub.stop(PATIENCE).await?;

    ensure!(status.code() == Some(0), "{status}: {log}");
    ensure!(log.matches("drained and stopped").count() == 1, "{log}");
    hub.run().await?;
    target.wait_for_exactly(&ids, PATIENCE).await?;
    let twice = target.accepted().into_values().filter(|times| *times > 1).count();
    ensure!(twice == 0, "{twice} were delivered again after a clean stop");
    Ok(())
}

#[tokio::test]
async fn a_stop_that_runs_out_of_time_names_what_is_left_and_ends_well() -> Result<()> {
    // Given a web hook that never answers
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    let mut hub = Hub::start_with(BINARY, &["--drain-timeout", "1s"]).await?;
    subscribe(&hub, &format!("http://{}/", silent.local_addr()?))?;
    ensure!(hub.post(&client()?, "a", "test.happened", &json!({})).await);
    let _held = timeout(PATIENCE, silent.accept()).await??;

    // When it is told to stop
    let began = Instant::now();
    let (status, log) = hub.stop(PATIENCE).await?;
    let took = began.elapsed();

    // Then it does in time, and the next start delivers again
    ensure!(status.code() == Some(0), "{status}: {log}");
    ensure!(took < Duration::from_secs(4), "{took:?}");
    let line = log
        .lines()
        .find(|line| line.contains("ran out of time and stopped"));
    ensure!(line.is_some_and(|line| line.contains("deliveries=1")), "{log}");
    hub.run().await?;
    timeout(PATIENCE, silent.accept()).await??;
    Ok(())
}

#[tokio::test]
async fn a_second_signal_stops_at_once_and_what_was_acknowledged_is_delivered_later() -> Result<()> {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        // Given a delivery that would hold up the stop for a minute
        let silent = TcpListener::bind("127.0.0.1:0").await?;
        let mut hub = Hub::start_with(BINARY, &["--drain-timeout", "60s"]).await?;
        subscribe(&hub, &format!("http://{}/", silent.local_addr()?))?;
        ensure!(hub.post(&client()?, "a", "test.happened", &json!({})).await);
        let _held = timeout(PATIENCE, silent.accept()).await??;

        // When signals come until it has ended
        hub.process()?.signal("TERM")?;
        let began = Instant::now();
        until("the end", PATIENCE, async || {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let process = hub.process()?;
            let running = process.is_running()?;
            if running {
                process.signal(name)?;
            }
            Ok(!running)
        })
        .await?;
        let took = began.elapsed();
        let (status, log) = hub.ended(PATIENCE).await?;

        // Then it ended at once, by that signal, and has lost nothing
        ensure!(status.code() == Some(code), "{status}: {log}");
        ensure!(took < Duration::from_secs(10), "{took:?}");
        ensure!(log.contains("stopped at once"), "{log}");
        hub.run().await?;
        timeout(PATIENCE, silent.accept()).await??;
    }
    Ok(())
}

#[tokio::test]
async fn readiness_says_no_before_the_doors_close() -> Result<()> {
    // Given a hub that gives notice, and says yes to all probes
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("hub.yaml");
    std::fs::write(&file, "limits: {notice: 12s}\n")?;
    let mut hub = Hub::start_with(BINARY, &["--config", &file.to_string_lossy()]).await?;
    let client = client()?;
    for probe in ["livez", "readyz", "startupz"] {
        let (status, said) = get(&client, &format!("{}/{probe}", hub.url())).await?;
        ensure!(status == 200 && said["ok"] == true, "{probe}: {status} {said}");
    }

    // When it is told to stop
    hub.process()?.signal("TERM")?;
    let url = format!("{}/readyz", hub.url());
    until("readiness is refused", PATIENCE, async || {
        Ok(get(&client, &url).await?.0 == 503)
    })
    .await?;

    // Then it says why, is alive, and still takes events
    let (_, said) = get(&client, &url).await?;
    ensure!(said["checks"][0]["reason"] == "the hub is stopping", "{said}");
    let (status, _) = get(&client, &format!("{}/livez", hub.url())).await?;
    ensure!(status == 200, "{status}");
    ensure!(hub.post(&client, "late", "test.happened", &json!({})).await);
    let (status, log) = hub.ended(PATIENCE).await?;
    ensure!(status.code() == Some(0), "{status}: {log}");
    Ok(())
}
