//! What was acknowledged is delivered, whatever is killed in between.
// Helpers outside #[test] functions may unwrap here: a panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Arc;
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
    let delivery = [
        "--retry",
        "30",
        "--backoff-policy",
        "linear",
        "--backoff-delay",
        "PT0.2S",
    ];
    let mut args = vec![
        "create",
        "subscription",
        "--name",
        "to-target",
        "--event-type",
        "test.happened",
    ];
    let url = target.url();
    args.extend(["--sink", &url]);
    args.extend(delivery);
    assert_eq!(hub.ok(&args)?, "created subscription: to-target\n");
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
    let url = target.url();
    hub.ok(&[
        "create",
        "subscription",
        "--name",
        "failing",
        "--event-type",
        "test.happened",
        "--sink",
        &url,
        "--retry",
        "2",
        "--backoff-delay",
        "PT0.05S",
    ])?;

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_events_survive_kill_nine_at_random_moments() -> Result<()> {
    let target = Target::start().await?;
    let mut hub = Hub::start(BINARY).await?;
    let url = target.url();
    hub.ok(&[
        "create",
        "subscription",
        "--name",
        "all",
        "--event-type",
        "test.happened",
        "--sink",
        &url,
    ])?;

    let client = Arc::new(client()?);
    let mut acknowledged = BTreeSet::new();
    let mut posted = BTreeSet::new();
    for round in 0..8u64 {
        // Producers run until the hub is gone; only what was answered 202 is promised.
        let url = format!("{}/v1/events", hub.url());
        let producers: Vec<_> = (0..8)
            .map(|producer| {
                let (client, url) = (client.clone(), url.clone());
                tokio::spawn(async move {
                    let mut sent = (Vec::new(), Vec::new());
                    for n in 0..2_000 {
                        let id = format!("{round}-{producer}-{n}");
                        let body = json!({"specversion": "1.0", "id": id, "source": "/test", "type": "test.happened"});
                        let request = client.post(&url).header("content-type", "application/cloudevents+json");
                        sent.0.push(id.clone());
                        match request.body(body.to_string()).send().await {
                            Ok(answer) if answer.status().as_u16() == 202 => sent.1.push(id),
                            Ok(_) => {}
                            Err(_) => break,
                        }
                    }
                    sent
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(60 + (round * 137) % 400)).await;
        hub.kill()?;
        for producer in producers {
            let (sent, answered) = producer.await?;
            posted.extend(sent);
            acknowledged.extend(answered);
        }
        hub.run().await?;
    }

    ensure!(
        acknowledged.len() > 100,
        "only {} events were acknowledged",
        acknowledged.len()
    );
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let accepted: BTreeSet<String> = target.accepted().into_keys().collect();
        ensure!(
            accepted.is_subset(&posted),
            "an event nobody posted was delivered"
        );
        let missing = acknowledged.difference(&accepted).count();
        if missing == 0 {
            return Ok(());
        }
        ensure!(
            tokio::time::Instant::now() < deadline,
            "{missing} of {} acknowledged are missing",
            acknowledged.len()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
