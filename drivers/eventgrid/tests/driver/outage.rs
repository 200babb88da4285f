//! A day of Event Grid's patience, shrunk: what goes wrong meanwhile costs time and no event.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use dispatch_fixtures::driver_hub::DriverHub;
use dispatch_fixtures::eventgrid::{End, Schedule, Sender};
use dispatch_fixtures::hub::free_port;
use dispatch_fixtures::process::{Process, until};
use serde_json::{Value, json};

const BATCH: &str = "application/cloudevents-batch+json";
/// A day is 43 s.
const SCHEDULE: Schedule = Schedule { faster: 2000 };
const DELIVERIES: usize = 60;
const EVENTS: usize = 5;

fn batch(number: usize) -> Value {
    let event = |n| json!({"specversion": "1.0", "id": format!("{number}-{n}"), "source": "/c", "type": "t"});
    (0..EVENTS).map(event).collect()
}

#[tokio::test]
async fn a_day_of_mishaps_costs_event_grid_no_event() {
    // Given deliveries that come while everything goes wrong that an operator can mend
    let hub = DriverHub::start().await.unwrap();
    let port = free_port().unwrap().to_string();
    let start = |secret: &str| crate::spawn(&hub, &[], &[("SHARED_SECRET", secret), ("PORT", &port)]);
    let sender = Sender::new(&format!("http://127.0.0.1:{port}/?secret=s3cret")).unwrap();
    let mut sending = tokio::task::JoinSet::new();
    for number in 0..DELIVERIES {
        let sender = sender.clone();
        sending.spawn(async move {
            tokio::time::sleep(Duration::from_millis(number as u64 * 25)).await;
            SCHEDULE.deliver(&sender, BATCH, &batch(number)).await
        });
    }

    // When the driver has the wrong secret, dies, comes back, and the hub is full, denies it, refuses, is back
    let mut driver = start("typo");
    let said = |process: &Process, words: &str| process.stderr().contains(words);
    until("strangers came", crate::PATIENCE, async || {
        Ok(said(&driver, "shared secret is missing or wrong"))
    })
    .await
    .unwrap();
    driver.kill().unwrap();
    hub.refuse(Some(StatusCode::SERVICE_UNAVAILABLE));
    let mut driver = start("s3cret");
    for status in [503, 401, 413, 400] {
        hub.refuse(Some(StatusCode::from_u16(status).unwrap()));
        let before = hub.refused();
        hub.until("the hub says so", crate::PATIENCE, |hub| hub.refused() > before)
            .await
            .unwrap();
    }
    driver.kill().unwrap();
    hub.refuse(None);
    let _driver = start("s3cret");

    // Then nothing was dropped, and the hub has everything
    let mut tries = Vec::new();
    while let Some(ended) = sending.join_next().await {
        match ended.unwrap().unwrap() {
            End::Delivered(tried) => tries.push(tried),
            lost => panic!("{lost:?}"),
        }
    }
    let ids: BTreeSet<String> = hub.events().iter().map(|event| event.id().to_owned()).collect();
    let most = tries.iter().max().unwrap();
    let all: u32 = tries.iter().sum();
    println!(
        "{} events in {DELIVERIES} deliveries, {all} tries, at most {most} for one; {} at the hub, 0 dropped",
        DELIVERIES * EVENTS,
        ids.len()
    );
    assert_eq!(ids.len(), DELIVERIES * EVENTS);
    assert!(*most > 1, "nothing went wrong");
}

#[tokio::test]
async fn the_double_drops_what_event_grid_drops() {
    for status in [400, 401, 403, 413] {
        let answer = StatusCode::from_u16(status).unwrap();
        let app = Router::new().fallback(move || async move { answer });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sender = Sender::new(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, app).await });

        let end = SCHEDULE.deliver(&sender, BATCH, &batch(0)).await.unwrap();

        assert_eq!(end, End::Dropped(status));
        server.abort();
    }
}
