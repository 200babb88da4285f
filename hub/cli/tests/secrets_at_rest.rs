//! A secret's value is where it is used and nowhere else: not in the data, the log, the events, a process' arguments.
// Helpers outside #[test] functions may unwrap here: a panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use dispatch_fixtures::hub::Hub;

const BINARY: &str = env!("CARGO_BIN_EXE_dispatch");
const VALUE: &str = "OpenSesameStreet4711";
/// Uses its secret without telling it.
const SOURCE: &str = "import hashlib\ndef handle(ctx, payload):\n    print('hello')\n    return hashlib.sha256(ctx['secrets']['password'].encode()).hexdigest()\n";

/// Every file below that holds the text.
fn holding(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(holding(&path, text));
        } else if path.is_file() {
            let bytes = std::fs::read(&path).unwrap_or_default();
            if bytes.windows(text.len()).any(|part| part == text.as_bytes()) {
                found.push(path);
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_s_value_is_in_no_file_no_log_and_no_argument() -> Result<()> {
    // Given a hub with a secret, a function and a driver that use it
    let mut hub = Hub::start_with(BINARY, &[]).await?;
    let file = hub.scratch().join("secret.json");
    std::fs::write(&file, format!("{{\"password\": \"{VALUE}\"}}"))?;
    hub.ok(&["create", "secret", "s", "secret.json"])?;
    std::fs::remove_file(&file)?;
    std::fs::write(hub.scratch().join("f.py"), SOURCE)?;
    let driver = hub.scratch().join("driver.sh");
    std::fs::write(
        &driver,
        "#!/bin/sh\ntest -n \"$PASSWORD\" && echo has-it >&2\nexec sleep 600\n",
    )?;
    Command::new("chmod").args(["+x"]).arg(&driver).status()?;
    hub.ok(&[
        "create",
        "base-image",
        "python3-base",
        "x/y:1",
        "--language",
        "python3",
    ])?;
    hub.ok(&["create", "image", "python3", "python3-base"])?;
    hub.ok(&[
        "create", "function", "f", "f.py", "--image", "python3", "--secret", "s",
    ])?;
    hub.ok(&[
        "create",
        "subscription",
        "f",
        "--name",
        "sub",
        "--event-type",
        "t",
    ])?;
    hub.ok(&["create", "eventdrivertype", "quiet", "driver.sh"])?;
    hub.ok(&[
        "create",
        "eventdriver",
        "quiet",
        "--name",
        "quiet",
        "--secret",
        "s",
    ])?;
    hub.until("the driver has its secret", Duration::from_secs(60), |hub| {
        Ok(hub
            .json(&["get", "eventdriver", "quiet"])?
            .to_string()
            .contains("has-it"))
    })
    .await?;

    // When they use it, by name, by event, once more, and after a rotation of the key
    hub.until("the function is READY", Duration::from_secs(60), |hub| {
        Ok(hub.json(&["get", "function", "f"])?["status"] == "READY")
    })
    .await?;
    let run = hub.json(&["exec", "f", "--wait"])?;
    ensure!(
        run["status"] == "READY" && run["output"].as_str().is_some_and(|o| o.len() == 64),
        "{run}"
    );
    hub.ok(&["emit", "t", "--data", "{}"])?;
    hub.ok(&["rotate-key"])?;
    let again = hub.json(&["rerun", run["name"].as_str().unwrap(), "--wait"])?;
    ensure!(again["output"] == run["output"], "{again}");
    hub.until("the event's run", Duration::from_secs(60), |hub| {
        Ok(hub
            .json(&["get", "runs", "--status", "ready"])?
            .as_array()
            .is_some_and(|runs| runs.len() == 3))
    })
    .await?;

    // Then it is nowhere else, while all of them run
    let ps = Command::new("ps").args(["-eww", "-o", "args"]).output()?;
    ensure!(
        ps.status.success() && !String::from_utf8_lossy(&ps.stdout).contains(VALUE),
        "an argument"
    );
    let runs = hub.ok(&["get", "runs", "-o", "json"])?;
    let events = hub.ok(&["get", "events", "-o", "json"])?;
    ensure!(!runs.contains(VALUE) && !events.contains(VALUE), "{runs}{events}");
    ensure!(
        !(hub.stderr() + &hub.stdout()).contains(VALUE),
        "{}",
        hub.stderr()
    );
    // Nor in the data and what is beside it, after a stop and after a backup.
    let (_, log) = hub.stop(Duration::from_secs(30)).await?;
    ensure!(!log.contains(VALUE), "{log}");
    hub.ok(&["backup", "copy", "--data", hub.data().to_str().unwrap()])?;
    let found = holding(hub.scratch(), VALUE);
    ensure!(found.is_empty(), "{found:?}");
    ensure!(hub.data().join("secret.key").is_file() && !hub.scratch().join("copy/secret.key").exists());

    // And it is shown when it is asked for, and only then
    hub.run().await?;
    let (table, all) = (
        hub.ok(&["get", "secrets"])?,
        hub.ok(&["get", "secret", "s", "--all"])?,
    );
    ensure!(!table.contains(VALUE) && table.contains("<hidden>"), "{table}");
    ensure!(
        all.contains(VALUE) && hub.json(&["get", "secret", "s"])?["secrets"]["password"] == VALUE,
        "{all}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_without_its_key_does_not_start_and_names_the_key_s_file() -> Result<()> {
    let mut hub = Hub::start(BINARY).await?;
    std::fs::write(hub.scratch().join("secret.json"), "{\"password\": \"x\"}")?;
    hub.ok(&["create", "secret", "s", "secret.json"])?;
    hub.stop(Duration::from_secs(30)).await?;
    let key = hub.data().join("secret.key");
    let right = std::fs::read(&key)?;

    std::fs::remove_file(&key)?;
    let refused = hub.run().await.unwrap_err().to_string();

    ensure!(
        refused.contains(key.to_str().unwrap()) && refused.contains("put it back"),
        "{refused}"
    );
    std::fs::write(&key, right)?;
    hub.run().await?;
    ensure!(hub.json(&["get", "secret", "s"])?["secrets"]["password"] == "x");
    Ok(())
}
