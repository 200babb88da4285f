//! Reading the configuration again.

use anyhow::{Result, ensure};
use dispatch_fixtures::hub::{Hub, client};
use serde_json::{Value, json};

use super::{BINARY, PATIENCE};

async fn reload(hub: &Hub) -> Result<(u16, Value)> {
    let answer = client()?.post(format!("{}/v1/reload", hub.url())).send().await?;
    let status = answer.status().as_u16();
    Ok((status, serde_json::from_str(&answer.text().await?)?))
}

#[tokio::test]
async fn a_reload_changes_what_can_change_names_the_rest_and_refuses_a_broken_file() -> Result<()> {
    // Given a hub that takes small events only
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("hub.yaml");
    let write = |text: &str| std::fs::write(&file, text);
    write("limits: {event-bytes: 300}\n")?;
    let mut hub = Hub::start_with(BINARY, &["--config", &file.to_string_lossy()]).await?;
    let client = client()?;
    let large = json!({"text": "x".repeat(1000)});
    ensure!(!hub.post(&client, "1", "test.happened", &large).await);

    // When the file changes and a signal says so
    write("limits: {event-bytes: 3000}\nlog: debug\nplugins: /elsewhere\n")?;
    hub.process()?.signal("HUP")?;
    hub.until("the signal is heard", PATIENCE, |hub| {
        Ok(hub.stderr().contains("read the configuration again"))
    })
    .await?;

    // Then larger events are taken, and what waits for a restart is named, each time
    ensure!(hub.post(&client, "2", "test.happened", &large).await);
    let line = hub.stderr();
    ensure!(line.contains("limits.event-bytes, log"), "{line}");
    ensure!(line.contains("needs_restart=\"plugins\""), "{line}");
    let (status, said) = reload(&hub).await?;
    ensure!(status == 200, "{said}");
    ensure!(
        said == json!({"changed": [], "needsRestart": ["plugins"]}),
        "{said}"
    );

    // And a broken file changes nothing, and says where it is broken
    write("log: info\nlimits:\n  event-bytes: 10\n  drain: soon\n")?;
    let (status, said) = reload(&hub).await?;
    let message = said["message"].as_str().unwrap_or_default();
    ensure!(status == 400, "{said}");
    for part in ["hub.yaml", "limits.drain", "line 4", "\"soon\""] {
        ensure!(message.contains(part), "{part} in {message}");
    }
    ensure!(hub.post(&client, "3", "test.happened", &large).await);
    Ok(())
}

#[tokio::test]
async fn without_a_file_there_is_nothing_to_read_again() -> Result<()> {
    let hub = Hub::start(BINARY).await?;

    let (status, said) = reload(&hub).await?;

    ensure!(status == 409, "{said}");
    ensure!(
        said["message"].as_str().is_some_and(|m| m.contains("--config")),
        "{said}"
    );
    Ok(())
}
