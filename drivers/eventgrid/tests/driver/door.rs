//! What Event Grid hears: handshakes, deliveries by a double of its sender (written from its documentation), and events
//! that the Azure SDK publishes.

use dispatch_fixtures::driver_hub::DriverHub;
use dispatch_fixtures::eventgrid::{Publisher, Sender, Sent};
use dispatch_fixtures::process::Process;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

struct Running {
    url: String,
    hub: DriverHub,
    process: Process,
}

async fn start() -> Running {
    let hub = DriverHub::start().await.unwrap();
    let process = crate::spawn(
        &hub,
        &["--secret-header=aeg-sas-key"],
        &[("SHARED_SECRET", "new,s3cret")],
    );
    let url = crate::address(&hub, &process).await;
    Running { url, hub, process }
}

fn sender(run: &Running, query: &str) -> Sender {
    Sender::new(&format!("{}{query}", run.url)).unwrap()
}

/// What must be taken.
async fn delivered(run: &Running, sender: &Sender, content_type: &str, body: &Value) -> Sent {
    crate::taken(&run.process, async || {
        sender.deliver(content_type, body).await.unwrap()
    })
    .await
}

#[tokio::test]
async fn both_handshakes_succeed_only_with_the_secret() {
    let run = start().await;

    let good = sender(&run, "?secret=s3cret");
    good.validate().await.unwrap();
    good.ask().await.unwrap();

    let foreign = sender(&run, "?secret=s3cre");
    assert!(foreign.validate().await.is_err());
    assert!(foreign.ask().await.is_err());
    assert_eq!(run.hub.count(), 0);
}

#[tokio::test]
async fn deliveries_of_either_schema_become_the_events_they_are() {
    let run = start().await;
    let sender = sender(&run, "?secret=new");

    let grid = json!([{"id": "g1", "topic": "/subscriptions/1/t", "subject": "/blobs/a", "eventType": "Microsoft.Storage.BlobCreated",
        "eventTime": "2026-01-02T03:04:05.678Z", "dataVersion": "2", "metadataVersion": "1", "data": {"url": "https://x/a"}}]);
    assert_eq!(
        delivered(&run, &sender, "application/json; charset=utf-8", &grid).await,
        Sent::Delivered
    );
    let one = json!({"specversion": "1.0", "id": "c1", "source": "/c", "type": "t", "data": [1]});
    assert_eq!(
        delivered(&run, &sender, "application/cloudevents+json; charset=utf-8", &one).await,
        Sent::Delivered
    );
    let batch = json!([{"specversion": "1.0", "id": "c1", "source": "/c", "type": "t"}, {"specversion": "1.0", "id": "c2", "source": "/c", "type": "t"}]);
    assert_eq!(
        delivered(&run, &sender, "application/cloudevents-batch+json", &batch).await,
        Sent::Delivered
    );

    let events = run.hub.events();
    let ids: Vec<_> = events.iter().map(|event| (event.source(), event.id())).collect();
    assert_eq!(ids, [("/subscriptions/1/t", "g1"), ("/c", "c1"), ("/c", "c2")]);
    let grid = &events[0];
    assert_eq!(
        (grid.ty(), grid.subject()),
        ("Microsoft.Storage.BlobCreated", Some("/blobs/a"))
    );
    assert_eq!(grid.attribute("dataversion"), Some("2"));
    assert_eq!(grid.time().unwrap().to_rfc3339(), "2026-01-02T03:04:05.678+00:00");
    assert_eq!(grid.data().unwrap().bytes, br#"{"url":"https://x/a"}"#);
}

#[tokio::test]
async fn nothing_makes_event_grid_drop_an_event() {
    let run = start().await;
    let good = sender(&run, "?secret=s3cret");
    let event = |id: &str| json!({"specversion": "1.0", "id": id, "source": "/c", "type": "t"});
    let batch = "application/cloudevents-batch+json";

    run.hub.refuse(Some(StatusCode::SERVICE_UNAVAILABLE));
    let full = good.deliver(batch, &json!([event("1")])).await.unwrap();
    run.hub.refuse(None);
    let foreign = sender(&run, "?secret=wrong")
        .deliver(batch, &json!([event("1")]))
        .await
        .unwrap();
    let none = sender(&run, "")
        .deliver(batch, &json!([event("1")]))
        .await
        .unwrap();
    let strange = good.deliver("text/plain", &json!([event("1")])).await.unwrap();
    println!("hub full {full:?}, wrong secret {foreign:?}, no secret {none:?}, wrong type {strange:?}");
    assert_eq!(
        [full, foreign, none, strange],
        [
            Sent::Later(503),
            Sent::Later(503),
            Sent::Later(503),
            Sent::Later(503)
        ]
    );
    assert_eq!(run.hub.count(), 0);

    // Too large for the driver, and too large for the hub: a limit may be raised.
    let large = post(&run, "content-length: 5000000\r\n\r\n").await;
    assert!(
        large.starts_with("HTTP/1.1 503 ") && large.contains("retry-after: 5\r\n"),
        "{large}"
    );
    run.hub.refuse(Some(StatusCode::PAYLOAD_TOO_LARGE));
    let refused = good.deliver(batch, &json!([event("1")])).await.unwrap();
    assert_eq!(refused, Sent::Later(503));
    run.hub.refuse(None);
    assert_eq!(run.hub.count(), 0);

    // A poisoned event does not take its batch along, and is kept.
    let poisoned = json!([event("1"), {"specversion": "1.0", "id": "d"}, event("2")]);
    assert_eq!(delivered(&run, &good, batch, &poisoned).await, Sent::Delivered);
    let types: Vec<_> = run
        .hub
        .events()
        .iter()
        .map(|event| event.ty().to_owned())
        .collect();
    assert_eq!(types, ["t", "eventgrid.malformed", "t"]);
    assert!(
        run.process.stderr().contains("no event, kept"),
        "{}",
        run.process.stderr()
    );
}

#[tokio::test]
async fn a_body_that_breaks_off_is_told_to_come_again() {
    let run = start().await;
    let answer = post(&run, "content-length: 100\r\n\r\n[").await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 503 "),
        "{answer}"
    );
    assert_eq!(run.hub.count(), 0);
}

/// A request that is not finished, and its answer.
async fn post(run: &Running, rest: &str) -> String {
    let place = run.url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(place).await.unwrap();
    let head = "POST /?secret=new HTTP/1.1\r\nhost: d\r\ncontent-type: application/json\r\n";
    stream
        .write_all(format!("{head}{rest}").as_bytes())
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    tokio::time::timeout(crate::PATIENCE, read)
        .await
        .unwrap()
        .unwrap();
    answer
}

// The hub of the test answers while the SDK is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_azure_sdk_publishes_arrives() {
    let Some(publisher) = Publisher::new().unwrap() else {
        return;
    };
    let run = start().await;
    let url = format!("{}api/events", run.url);

    publisher.publish(&url, "s3cret", "grid", 3).unwrap();
    publisher.publish(&url, "s3cret", "cloud", 3).unwrap();

    assert_eq!(run.hub.count(), 6);
    let types: Vec<_> = run
        .hub
        .events()
        .iter()
        .map(|event| event.ty().to_owned())
        .collect();
    assert_eq!(
        types,
        [
            "grid.made",
            "grid.made",
            "grid.made",
            "cloud.made",
            "cloud.made",
            "cloud.made"
        ]
    );
    assert!(publisher.publish(&url, "wrong", "grid", 1).is_err());
}
