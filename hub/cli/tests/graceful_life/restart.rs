//! A restart behind a socket that outlives the hub: nobody is refused, nothing is lost or repeated.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use dispatch_fixtures::hub::client;
use dispatch_fixtures::process::{Process, until};
use dispatch_fixtures::target::Target;
use serde_json::json;

use super::{BINARY, PATIENCE};

const PRODUCERS: usize = 4;

/// Starts a hub as systemd would: the socket is descriptor 3, and the environment says so.
fn activate(socket: &TcpListener, data: &Path) -> Result<Process> {
    let socket = OwnedFd::from(socket.try_clone()?);
    let data = data.to_string_lossy();
    let args = [
        "-c",
        "exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\"",
        BINARY,
        "server",
        "--gateway-port",
        "0",
        "--data",
        &data,
    ];
    Process::start_reading(socket.into(), Path::new("/bin/sh"), args, &[])
}

/// What the producers saw.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    acknowledged: AtomicUsize,
    again: AtomicUsize,
}

/// Posts one event after another, each until it is acknowledged; says which. A refused connection is an error.
async fn produce(url: String, producer: usize, seen: Arc<Seen>) -> Result<BTreeSet<String>> {
    let client = client()?;
    let mut acknowledged = BTreeSet::new();
    while !seen.stop.load(Ordering::SeqCst) {
        let id = format!("{producer}-{}", acknowledged.len());
        let event = json!({"specversion": "1.0", "id": id, "source": "/test", "type": "test.happened"});
        loop {
            let request = client
                .post(&url)
                .header("content-type", "application/cloudevents+json");
            match request.body(event.to_string()).send().await {
                Ok(answer) if answer.status().as_u16() == 202 => break,
                Ok(_) => {}
                Err(error) if error.is_connect() => return Err(error).context("a connection was refused"),
                // It was on its way over a connection that ended: nobody knows, so it is sent again.
                Err(_) => {}
            }
            seen.again.fetch_add(1, Ordering::SeqCst);
        }
        acknowledged.insert(id);
        seen.acknowledged.fetch_add(1, Ordering::SeqCst);
    }
    Ok(acknowledged)
}

/// Whether the log says that all was drained, or else that only connections were cut off: they wait for a sync, which may
/// take longer than they are given, and what came over them is sent again.
fn left_nothing_that_was_promised(log: &str) -> bool {
    let nothing = [
        "deliveries=0",
        "settlements=false",
        "drivers=false",
        "tasks=false",
    ];
    log.lines().any(|line| {
        let is_drained = line.contains("drained and stopped");
        let is_late = line.contains("ran out of time and stopped");
        is_drained || (is_late && nothing.iter().all(|field| line.contains(field)))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_restarts_behind_its_socket_and_no_producer_is_refused() -> Result<()> {
    // Given a hub on a socket that is not its own, and producers that never pause
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let target = Target::start().await?;
    let socket = TcpListener::bind("127.0.0.1:0")?;
    let address = socket.local_addr()?;
    let mut hub = activate(&socket, &data)?;
    let subscription = json!({"name": "all", "eventType": "test.happened", "sink": {"uri": target.url()}});
    let made = client()?
        .post(format!("http://{address}/v1/event/subscriptions"))
        .json(&subscription)
        .send()
        .await?;
    ensure!(made.status().is_success(), "{}", made.text().await?);
    let seen = Arc::new(Seen::default());
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|n| tokio::spawn(produce(format!("http://{address}/v1/events"), n, seen.clone())))
        .collect();

    // When it is stopped and started, again and again
    for round in 0..4 {
        let before = seen.acknowledged.load(Ordering::SeqCst);
        until("events are taken", PATIENCE, async || {
            Ok(seen.acknowledged.load(Ordering::SeqCst) > before + 100
                || producers.iter().any(tokio::task::JoinHandle::is_finished))
        })
        .await?;
        let status = hub.terminate(PATIENCE).await?;
        ensure!(
            status.code() == Some(0),
            "round {round}: {status}: {}",
            hub.stderr()
        );
        ensure!(left_nothing_that_was_promised(&hub.stderr()), "{}", hub.stderr());
        hub = activate(&socket, &data)?;
    }
    let before = seen.acknowledged.load(Ordering::SeqCst);
    until("the last one takes events", PATIENCE, async || {
        Ok(seen.acknowledged.load(Ordering::SeqCst) > before + 100)
    })
    .await?;
    seen.stop.store(true, Ordering::SeqCst);
    let mut acknowledged = BTreeSet::new();
    for producer in producers {
        acknowledged.extend(tokio::time::timeout(Duration::from_secs(30), producer).await???);
    }

    // Then everything arrives, once
    target.wait_for_exactly(&acknowledged, PATIENCE).await?;
    let twice = target.accepted().into_values().filter(|times| *times > 1).count();
    ensure!(twice == 0, "{twice} were delivered twice");
    let again = seen.again.load(Ordering::SeqCst);
    println!(
        "{} acknowledged over 5 lives, {again} posts were repeated",
        acknowledged.len()
    );
    Ok(())
}

#[tokio::test]
async fn a_socket_that_others_can_reach_needs_the_operators_word() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let socket = TcpListener::bind("0.0.0.0:0")?;

    let mut hub = activate(&socket, &folder.path().join("data"))?;
    let status = hub.ended(PATIENCE).await?;

    ensure!(status.code() == Some(1), "{status}");
    ensure!(hub.stderr().contains("--insecure-no-auth"), "{}", hub.stderr());
    Ok(())
}
