//! A disk filled to the last byte: events are refused at once, what was accepted is delivered and settled, and when
//! there is space again events are taken again, without a restart.
// Helpers outside #[test] functions may unwrap here: a panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use dispatch_fixtures::hub::{Hub, client};
use dispatch_fixtures::target::Target;
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_dispatch");

/// A small disk, gone with the test.
struct Mount(PathBuf);

impl Mount {
    /// `None` where that is not allowed.
    fn tmpfs(at: &Path, size: &str) -> Option<Self> {
        let options = format!("size={size}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(at)
            .output();
        mounted
            .is_ok_and(|o| o.status.success())
            .then(|| Self(at.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let gone = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(gone.is_ok_and(|s| s.success()), "a small disk is left behind");
    }
}

/// Writes to a file until nothing more fits.
fn fill(path: &Path) {
    let mut file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    for part in [1 << 20, 4096, 1] {
        while file.write_all(&vec![b'x'; part]).is_ok() {}
    }
}

async fn post(client: &reqwest::Client, hub: &Hub, id: &str) -> Result<(u16, Option<String>, Duration)> {
    let event = json!({
        "specversion": "1.0", "id": id, "source": "/test", "type": "test.happened",
        "data": "x".repeat(10_000),
    });
    let started = Instant::now();
    let answer = client
        .post(format!("{}/v1/events", hub.url()))
        .header("content-type", "application/cloudevents+json")
        .body(event.to_string())
        .send()
        .await?;
    let retry_after = answer.headers().get("retry-after");
    let retry_after = retry_after.and_then(|v| v.to_str().ok()).map(str::to_owned);
    Ok((answer.status().as_u16(), retry_after, started.elapsed()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_filled_to_the_last_byte_refuses_events_goes_on_delivering_and_recovers() -> Result<()> {
    // Given a hub on a disk of 64 MiB, half of it taken, and a sink that does not answer well yet
    let mut hub = Hub::start(BINARY).await?;
    hub.stop(Duration::from_secs(20)).await?;
    std::fs::remove_dir_all(hub.data())?;
    std::fs::create_dir(hub.data())?;
    let Some(mount) = Mount::tmpfs(&hub.data(), "64m") else {
        eprintln!("SKIPPED: mounting a tmpfs is not allowed here");
        return Ok(());
    };
    let filler = mount.0.join("filler");
    std::fs::write(&filler, vec![b'x'; 32 << 20])?;
    hub.run().await?;
    let target = Target::start().await?;
    target.answer(503);
    let patient = "--event-type test.happened --retry 1000 --backoff-policy linear --backoff-delay PT0.2S";
    hub.subscribe("all", &target.url(), patient)?;

    // When events come until it is full, and others take what is left
    let client = client()?;
    let mut accepted = BTreeSet::new();
    let mut others = 0;
    while others < 20 {
        let id = format!("event-{}", accepted.len());
        match post(&client, &hub, &id).await? {
            (202, ..) => _ = accepted.insert(id),
            (503, ..) => {
                others += 1;
                fill(&filler);
            }
            other => anyhow::bail!("{other:?}"),
        }
        ensure!(accepted.len() < 10_000, "the disk is never full");
    }
    ensure!(accepted.len() > 500, "only {} were taken", accepted.len());

    // Then every event is refused at once, with a word on when to come again
    let mut took = Vec::new();
    for n in 0..51 {
        let (status, retry_after, time) = post(&client, &hub, &format!("refused-{n}")).await?;
        ensure!(status == 503 && retry_after.is_some(), "{status} {retry_after:?}");
        took.push(time);
    }
    took.sort();
    eprintln!("refused after {:?}, at most {:?}", took[25], took[50]);
    ensure!(took[25] < Duration::from_millis(100), "{took:?}");

    // and what was accepted is delivered
    target.answer(204);
    target
        .wait_for_exactly(&accepted, Duration::from_secs(120))
        .await?;
    hub.until("all is settled", Duration::from_secs(20), |hub| {
        Ok(hub
            .json(&["get", "deliveries", "--subscription", "all"])?
            .as_array()
            .is_some_and(Vec::is_empty))
    })
    .await?;
    fill(&filler);
    let (status, ..) = post(&client, &hub, "still-refused").await?;
    ensure!(status == 503, "{status}");

    // and with space events are taken again
    std::fs::remove_file(&filler)?;
    let space = Instant::now();
    while post(&client, &hub, "space-again").await?.0 != 202 {
        ensure!(space.elapsed() < Duration::from_secs(5), "{}", hub.stderr());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    eprintln!("taken again after {:?}", space.elapsed());
    accepted.insert("space-again".to_owned());
    target
        .wait_for_exactly(&accepted, Duration::from_secs(30))
        .await?;

    // and nothing that was delivered while it was full is delivered again, nothing is damaged
    let once = target.accepted();
    hub.kill()?;
    hub.run().await?;
    let id = "after-the-restart".to_owned();
    ensure!(post(&client, &hub, &id).await?.0 == 202);
    accepted.insert(id.clone());
    target
        .wait_for_exactly(&accepted, Duration::from_secs(30))
        .await?;
    let again: Vec<_> = target
        .accepted()
        .into_iter()
        .filter(|(id, n)| *n > once.get(id).copied().unwrap_or(1))
        .collect();
    // The last one may have been under way.
    ensure!(again.len() <= 1, "delivered again: {again:?}");
    hub.stop(Duration::from_secs(20)).await?;
    hub.ok(&["journal", "verify", "--data", &hub.data().to_string_lossy()])?;
    drop(mount);
    Ok(())
}
