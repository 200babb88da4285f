//! What was acknowledged is delivered, whatever is killed in between. Many kills at random moments: `kill_cycles`.
// Helpers outside #[test] functions may unwrap here: a panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use dispatch_fixtures::hub::{Hub, client};
use dispatch_fixtures::target::Target;
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_dispatch");

/// Posts `count` events from several producers; gives the ids that were acknowledged.
async fn post_many(hub: &Hub, prefix: &str, count: usize) -> Result<BTreeSet<String>> {
    let client = client()?;
    let mut acknowledged = BTreeSet::new();
    let ids: Vec<String> = (0..count).map(|n| format!("{prefix}-{n}")).collect();
    for chunk in ids.chunks(32) {
        let posts = chunk.iter().map(|id| {
            let (client, data) = (&client, json!({"id": id}));
            async move {
                hub.post(client, id, "test.happened", &data)
                    .await
                    .then(|| id.clone())
            }
        });
        acknowledged.extend(futures_util::future::join_all(posts).await.into_iter().flatten());
    }
    Ok(acknowledged)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_fails_for_a_while_and_a_killed_hub_lose_nothing() -> Result<()> {
    // Given a sink that answers 503 and a hub that owes it 1,000 events
    let target = Target::start().await?;
    target.answer(503);
    let mut hub = Hub::start(BINARY).await?;
    let patient = "--event-type test.happened --retry 30 --backoff-policy linear --backoff-delay PT0.2S";
    let created = hub.subscribe("to-target", &target.url(), patient)?;
    assert_eq!(created, "created subscription: to-target\n");
    let mut acknowledged = post_many(&hub, "before", 500).await?;
    ensure!(acknowledged.len() == 500, "{} acknowledged", acknowledged.len());

    // When the hub is killed in the middle, takes the rest, and the sink is mended
    hub.kill()?;
    hub.run().await?;
    acknowledged.extend(post_many(&hub, "after", 500).await?);
    hub.until("attempts are visible", Duration::from_secs(10), |hub| {
        let pending = hub.json(&["get", "deliveries", "--subscription", "to-target"])?;
        let first = pending
            .as_array()
            .and_then(|p| p.first())
            .cloned()
            .unwrap_or_default();
        Ok(first["attempts"].as_u64() >= Some(1) && first.to_string().contains("503"))
    })
    .await?;
    target.answer(204);

    // Then everything acknowledged arrives, and nothing else
    target
        .wait_for_exactly(&acknowledged, Duration::from_secs(60))
        .await?;
    ensure!(
        target.arrivals().iter().any(|a| a.attempt > Some(1)),
        "no attempt after the first was seen"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_keep_the_reason_and_are_redriven_when_the_sink_is_mended() -> Result<()> {
    // Given a sink that always fails
    let target = Target::start().await?;
    target.answer(500);
    let hub = Hub::start(BINARY).await?;
    let hasty = "--event-type test.happened --retry 2 --backoff-delay PT0.05S";
    hub.subscribe("failing", &target.url(), hasty)?;

    // When events are posted
    let acknowledged = post_many(&hub, "dead", 50).await?;

    // Then each becomes a dead letter that says why
    hub.until("50 dead letters", Duration::from_secs(30), |hub| {
        Ok(hub
            .json(&["get", "deadletters"])?
            .as_array()
            .is_some_and(|l| l.len() == 50))
    })
    .await?;
    let letters = hub.json(&["get", "deadletters"])?;
    let letter = &letters[0];
    ensure!(letter["attempts"] == 3, "{letter}");
    ensure!(
        letter["failures"].as_array().is_some_and(|f| f.len() == 3),
        "{letter}"
    );
    ensure!(
        letter["reason"].as_str().is_some_and(|r| r.contains("500")),
        "{letter}"
    );
    ensure!(
        letter["event"]["id"]
            .as_str()
            .is_some_and(|id| acknowledged.contains(id)),
        "{letter}"
    );

    // And a redrive delivers them all once the sink is mended
    target.answer(204);
    let said = hub.ok(&["redrive", "--subscription", "failing"])?;
    ensure!(said.contains("50"), "{said}");
    target
        .wait_for_exactly(&acknowledged, Duration::from_secs(30))
        .await?;
    hub.until("no dead letters left", Duration::from_secs(10), |hub| {
        Ok(hub
            .json(&["get", "deadletters"])?
            .as_array()
            .is_some_and(Vec::is_empty))
    })
    .await
}
