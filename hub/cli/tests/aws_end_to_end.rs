//! Ten thousand messages of a queue, and a hundred kills: nothing is lost and nothing is given up.
// Helpers outside #[test] functions may unwrap here: a panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dispatch_fixtures::aws::{Aws, CREDENTIALS, Emulator, REGION};
use dispatch_fixtures::hub::Hub;
use dispatch_fixtures::process::until;
use dispatch_fixtures::target::Target;
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_dispatch");
const MESSAGES: usize = 10_000;
const KILLS: usize = 100;
/// What a careful operator sets: a kill in the wrong moment costs a message one of them.
const RECEIVES: u32 = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_kills_of_hub_and_driver_lose_no_message_and_give_none_up() -> Result<()> {
    // Given a queue with dead letters, and a hub whose driver reads it
    let Some(aws) = Aws::start(Emulator::Ministack).await? else {
        return Ok(());
    };
    let (queue, dead) = aws.make_queue_with_dead_letters("orders", RECEIVES).await?;
    let target = Target::start().await?;
    let mut hub = Hub::start(BINARY).await?;
    hub.subscribe("all", &target.url(), "--filter prefix:type=my.shop.")?;
    start_driver(&hub, &aws, &queue).await?;

    // When messages are sent all the time, and hub or driver are killed at another moment each time
    let ids: Vec<String> = (0..MESSAGES).map(|n| format!("order-{n:05}")).collect();
    let began = Instant::now();
    let mut killed_at = Vec::new();
    for (kill, batch) in ids.chunks(MESSAGES / KILLS).enumerate() {
        let bodies: Vec<String> = batch.iter().map(|id| body(id)).collect();
        let send = aws.send_messages(&queue, &bodies);
        let moment = Duration::from_millis(fastrand::u64(0..600));
        let (sent, killed) = tokio::join!(send, async {
            driver_runs(&hub).await?;
            tokio::time::sleep(moment).await;
            killed_at.push(target.accepted().len());
            // A hub that starts again forgets that its driver was killed, so no driver waits long to be started.
            match kill % 2 {
                0 => ensure!(signal_driver(&hub, "-KILL")?, "the driver ended by itself"),
                _ => {
                    hub.kill()?;
                    hub.run().await?;
                }
            }
            Ok(())
        });
        sent?;
        killed?;
    }
    let stormy = began.elapsed();

    // Then every one is delivered, under its own id, the queue is empty, and none was given up
    let expected: BTreeSet<String> = ids.into_iter().collect();
    target
        .wait_for_exactly(&expected, Duration::from_secs(120))
        .await?;
    until("the queue is empty", Duration::from_secs(60), async || {
        Ok(aws.depth(&queue).await? == 0)
    })
    .await?;
    let deliveries: usize = target.accepted().values().sum();
    eprintln!(
        "{MESSAGES} messages, {KILLS} kills in {stormy:.1?}, all delivered after {:.1?}: lost 0, dead letters {}, \
         deliveries {deliveries}, kills while some but not all had arrived {}",
        began.elapsed(),
        aws.depth(&dead).await?,
        killed_at.iter().filter(|n| (1..MESSAGES).contains(*n)).count(),
    );
    ensure!(aws.depth(&dead).await? == 0, "messages were given up");
    // A crash of the hub repeats what was under way, and no more.
    ensure!(deliveries < MESSAGES + MESSAGES / 2, "{deliveries} deliveries");
    Ok(())
}

fn body(id: &str) -> String {
    json!({
        "version": "0", "id": id, "detail-type": "Order Placed", "source": "my.shop", "account": "000000000000",
        "time": "2026-01-31T23:59:59Z", "region": REGION, "resources": [], "detail": {"order": id},
    })
    .to_string()
}

async fn start_driver(hub: &Hub, aws: &Aws, queue: &str) -> Result<()> {
    let secret: serde_json::Map<String, serde_json::Value> = CREDENTIALS
        .iter()
        .map(|(key, value)| ((*key).to_owned(), json!(value)))
        .collect();
    std::fs::write(hub.scratch().join("aws.json"), serde_json::to_string(&secret)?)?;
    hub.ok(&["create", "secret", "aws", "aws.json"])?;
    let settings = [
        format!("region={REGION}"),
        format!("endpoint-url={}", aws.url()),
        format!("queue-url={queue}"),
        "visibility-timeout=3s".to_owned(),
    ];
    let mut args = vec![
        "create",
        "eventdriver",
        "aws",
        "--name",
        "orders",
        "--secret",
        "aws",
    ];
    for setting in &settings {
        args.extend(["--set", setting]);
    }
    hub.ok(&args)?;
    hub.until("the driver is READY", Duration::from_secs(30), |hub| {
        Ok(hub.json(&["get", "eventdriver", "orders"])?["status"] == "READY")
    })
    .await
}

/// Waits until the driver's process is there: only then is it, or its hub, worth killing.
async fn driver_runs(hub: &Hub) -> Result<()> {
    until("the driver runs", Duration::from_secs(30), async || {
        signal_driver(hub, "-0")
    })
    .await
}

/// Sends a signal to the driver, found by its name among the hub's children; false when there is none.
fn signal_driver(hub: &Hub, signal: &str) -> Result<bool> {
    let parent = hub.pid().context("the hub runs")?.to_string();
    let sent = std::process::Command::new("pkill")
        .args([signal, "-P", &parent, "-f", "dispatch-driver-aws"])
        .status()?;
    Ok(sent.success())
}
