//! A backup made while producers post at full speed, restored to another folder: a hub there owes what was acknowledged.
// Helpers outside #[test] functions may unwrap here: a panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, ensure};
use dispatch_fixtures::hub::{Hub, client};
use dispatch_fixtures::target::Target;
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_dispatch");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_at_full_speed_holds_and_still_owes_what_was_acknowledged_before_it() -> Result<()> {
    // Given a hub whose sink takes every second event, and producers at full speed
    let (settling, owing) = (Target::start().await?, Target::start().await?);
    owing.answer(503);
    let mut hub = Hub::start(BINARY).await?;
    for (name, url) in [("settling", settling.url()), ("owing", owing.url())] {
        let mut create = vec!["create", "subscription", "--name", name];
        create.extend(["--event-type", "test.happened", "--sink", &url, "--retry", "1000"]);
        create.extend(["--backoff-policy", "linear", "--backoff-delay", "PT0.3S"]);
        hub.ok(&create)?;
    }
    let (stop, acknowledged) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(Mutex::new(BTreeSet::new())),
    );
    let client = client()?;
    let producers: Vec<_> = (0..8)
        .map(|producer| {
            let (client, url) = (client.clone(), format!("{}/v1/events", hub.url()));
            let (stop, acknowledged) = (stop.clone(), acknowledged.clone());
            tokio::spawn(async move {
                for n in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let id = format!("{producer}-{n}");
                    let event = json!({
                        "specversion": "1.0", "id": id, "source": "/test", "type": "test.happened",
                        "data": "x".repeat(1000),
                    });
                    let request = client
                        .post(&url)
                        .header("content-type", "application/cloudevents+json");
                    let answer = request.body(event.to_string()).send().await;
                    if answer.is_ok_and(|a| a.status().as_u16() == 202) {
                        acknowledged.lock().unwrap().insert(id);
                    }
                }
            })
        })
        .collect();
    let some = || Ok(acknowledged.lock().unwrap().len() > 400);
    hub.until("some are acknowledged", Duration::from_secs(30), |_| some())
        .await?;

    // When a backup is made, twice, and restored elsewhere
    let before = acknowledged.lock().unwrap().clone();
    let at = |name: &str| hub.scratch().join(name).to_string_lossy().into_owned();
    let (data, folder, elsewhere) = (hub.data().to_string_lossy().into_owned(), at("backup"), at("new"));
    let said = hub.ok(&["backup", &folder, "--data", &data])?;
    ensure!(
        said.starts_with(&format!("backed up {data} to {folder}: records 1 to ")),
        "{said}"
    );
    let again = hub.cli(&["backup", &folder, "--data", &data])?;
    ensure!(!again.status.success(), "a backup is never written over");
    stop.store(true, Ordering::SeqCst);
    for producer in producers {
        producer.await?;
    }
    hub.kill()?;
    hub.ok(&["restore", &folder, "--data", &elsewhere])?;

    // Then nothing is damaged, and a hub on it delivers everything that was acknowledged before
    for folder in [&folder, &elsewhere] {
        let report = hub.json(&["journal", "verify", folder])?;
        ensure!(
            report["damage"] == json!([]) && report["torn"].is_null(),
            "{report}"
        );
    }
    std::fs::remove_dir_all(hub.data())?;
    std::fs::rename(&elsewhere, hub.data())?;
    owing.answer(204);
    hub.run().await?;
    for (name, target) in [("settling", &settling), ("owing", &owing)] {
        hub.until(name, Duration::from_secs(60), |_| {
            let accepted: BTreeSet<_> = target.accepted().into_keys().collect();
            Ok(before.is_subset(&accepted))
        })
        .await?;
    }
    let names: Vec<_> = hub
        .json(&["get", "subscriptions"])?
        .as_array()
        .into_iter()
        .flatten()
        .map(|s| s["name"].as_str().unwrap_or_default().to_owned())
        .collect();
    ensure!(names == ["owing", "settling"], "{names:?}");
    ensure!(!hub.stderr().contains("damaged"), "{}", hub.stderr());
    Ok(())
}
