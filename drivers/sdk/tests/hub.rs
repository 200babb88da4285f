//! What the SDK's `Hub` promises, against a hub made for the test.

// A helper that fails fails its test.
#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use dispatch_contract::Event;
use dispatch_driver_sdk::{CheckpointError, EmitError, Health, Hub, SecretString, Stop};
use dispatch_fixtures::hub::free_port;
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(10);

/// What the fake hub has, and what it says next.
#[derive(Default)]
struct Fake {
    /// Answers that come before the usual ones.
    first: VecDeque<(StatusCode, Option<&'static str>)>,
    stored: Vec<String>,
    checkpoint: Option<String>,
    posts: usize,
    health: Vec<String>,
}

type Shared = Arc<Mutex<Fake>>;

fn refuses(event: &Event) -> bool {
    event.ty() == "wrong"
}

async fn events(State(fake): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let mut fake = fake.lock().unwrap();
    fake.posts += 1;
    assert_eq!(headers["authorization"], "Bearer t0ken");
    if let Some((status, after)) = fake.first.pop_front() {
        return match after {
            Some(after) => (status, [("retry-after", after)]).into_response(),
            None => status.into_response(),
        };
    }
    let events = match headers["content-type"].to_str().unwrap() {
        "application/cloudevents+json" => vec![Event::from_json(&body).unwrap()],
        "application/cloudevents-batch+json" => Event::batch_from_json(&body, 1000).unwrap(),
        other => panic!("{other}"),
    };
    if let Some(index) = events.iter().position(refuses) {
        let said = format!(r#"{{"code":400,"message":"event {index} of the batch: type: is wrong"}}"#);
        return (StatusCode::BAD_REQUEST, said).into_response();
    }
    if let Some(checkpoint) = headers.get("dispatch-checkpoint") {
        fake.checkpoint = Some(checkpoint.to_str().unwrap().to_owned());
    }
    let before = fake.stored.len();
    for event in &events {
        let id = event.id().to_owned();
        if !fake.stored.contains(&id) {
            fake.stored.push(id);
        }
    }
    let accepted = fake.stored.len() - before;
    let said = format!(
        r#"{{"accepted":{accepted},"duplicates":{}}}"#,
        events.len() - accepted
    );
    (StatusCode::ACCEPTED, said).into_response()
}

async fn checkpoint(State(fake): State<Shared>) -> Response {
    let mut fake = fake.lock().unwrap();
    match fake.first.pop_front() {
        Some((status, _)) => status.into_response(),
        None if fake.checkpoint.is_none() => StatusCode::NO_CONTENT.into_response(),
        None => "page 7".into_response(),
    }
}

async fn health(State(fake): State<Shared>, body: String) {
    fake.lock().unwrap().health.push(body);
}

async fn serve(fake: &Shared, at: &str) -> SocketAddr {
    let routes = Router::new()
        .route("/v1/sink/d", axum::routing::post(events))
        .route("/v1/sink/d/checkpoint", get(checkpoint))
        .route("/v1/sink/d/health", put(health))
        .with_state(fake.clone());
    let listener = TcpListener::bind(at).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    address
}

fn hub(address: SocketAddr) -> Hub {
    Hub::new(
        &format!("http://{address}/v1/sink/d"),
        Some(SecretString::from("t0ken")),
    )
    .unwrap()
}

fn event(id: usize, ty: &str) -> Event {
    Event::builder(id.to_string(), "/s", ty)
        .json(format!("{{\"n\":{id}}}"))
        .build()
        .unwrap()
}

async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

#[tokio::test]
async fn events_and_their_checkpoint_arrive_together() {
    let fake = Shared::default();
    let hub = hub(serve(&fake, "127.0.0.1:0").await);
    let stop = Stop::new();
    assert_eq!(soon(hub.checkpoint(&stop)).await, Ok(None));
    let events: Vec<Event> = (0..600).map(|n| event(n, "t")).collect();

    let first = soon(hub.emit(events.clone(), Some("page 7".into()), &stop))
        .await
        .unwrap();
    let again = soon(hub.emit(events, None, &stop)).await.unwrap();

    assert_eq!((first.accepted, first.duplicates), (600, 0));
    assert_eq!((again.accepted, again.duplicates), (0, 600));
    assert_eq!(soon(hub.checkpoint(&stop)).await, Ok(Some("page 7".into())));
    let fake = fake.lock().unwrap();
    let in_order: Vec<String> = (0..600).map(|n| n.to_string()).collect();
    assert_eq!(fake.stored, in_order);
    assert_eq!(fake.checkpoint.as_deref(), Some("cGFnZSA3"));
}

#[tokio::test]
async fn a_hub_that_is_busy_is_asked_again_but_not_before_it_said() {
    let fake = Shared::default();
    fake.lock().unwrap().first = [
        (StatusCode::SERVICE_UNAVAILABLE, Some("1")),
        (StatusCode::NOT_FOUND, None),
    ]
    .into();
    let hub = hub(serve(&fake, "127.0.0.1:0").await);
    let start = Instant::now();

    let emitted = soon(hub.emit(vec![event(1, "t")], None, &Stop::new()))
        .await
        .unwrap();

    assert_eq!(emitted.accepted, 1);
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(fake.lock().unwrap().posts, 3);
}

#[tokio::test]
async fn a_driver_whose_organization_is_over_its_quota_waits_and_loses_nothing() {
    let fake = Shared::default();
    // More than the quota lets in at once, then more than it lets in just now.
    fake.lock().unwrap().first = [
        (StatusCode::PAYLOAD_TOO_LARGE, None),
        (StatusCode::TOO_MANY_REQUESTS, Some("1")),
        (StatusCode::TOO_MANY_REQUESTS, Some("1")),
    ]
    .into();
    let hub = hub(serve(&fake, "127.0.0.1:0").await);
    let start = Instant::now();
    let events = (0..10).map(|n| event(n, "t")).collect();

    let emitted = soon(hub.emit(events, Some("page 7".into()), &Stop::new()))
        .await
        .unwrap();

    assert_eq!((emitted.accepted, emitted.refused.len()), (10, 0));
    assert!(start.elapsed() >= Duration::from_secs(2));
    let fake = fake.lock().unwrap();
    let in_order: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    assert_eq!(fake.stored, in_order);
    assert_eq!(fake.checkpoint.as_deref(), Some("cGFnZSA3"));
}

#[tokio::test]
async fn a_hub_that_is_away_is_waited_for() {
    let fake = Shared::default();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
    let hub = hub(address);
    let emit = tokio::spawn(async move { hub.emit(vec![event(1, "t")], None, &Stop::new()).await });

    serve(&fake, &address.to_string()).await;

    assert_eq!(soon(emit).await.unwrap().unwrap().accepted, 1);
}

#[tokio::test]
async fn one_wrong_event_blocks_nobody_and_the_checkpoint_still_moves() {
    let fake = Shared::default();
    let hub = hub(serve(&fake, "127.0.0.1:0").await);
    let ty = |n| if n == 4 || n == 9 { "wrong" } else { "t" };
    let events: Vec<Event> = (0..10).map(|n| event(n, ty(n))).collect();

    let emitted = soon(hub.emit_or_skip(events, Some("page 7".into()), &Stop::new()))
        .await
        .unwrap();

    assert_eq!(emitted.accepted, 8);
    let places: Vec<_> = emitted
        .refused
        .iter()
        .map(|r| (r.position, r.id.as_str()))
        .collect();
    assert_eq!(places, [(4, "4"), (9, "9")]);
    assert!(
        emitted.refused[0].message.contains("type: is wrong"),
        "{:?}",
        emitted.refused
    );
    let fake = fake.lock().unwrap();
    assert_eq!(fake.stored, ["0", "1", "2", "3", "5", "6", "7", "8"]);
    assert_eq!(fake.checkpoint.as_deref(), Some("cGFnZSA3"));
}

#[tokio::test]
async fn strict_emission_ends_with_the_hubs_words_and_stores_nothing() {
    let fake = Shared::default();
    let hub = hub(serve(&fake, "127.0.0.1:0").await);
    let events = vec![event(1, "t"), event(2, "wrong")];

    let error = soon(hub.emit(events, Some("page 7".into()), &Stop::new()))
        .await
        .unwrap_err();

    assert_eq!(
        error,
        EmitError::Refused("event 1 of the batch: type: is wrong (400)".to_owned())
    );
    let fake = fake.lock().unwrap();
    assert!(fake.stored.is_empty());
    assert_eq!(fake.checkpoint, None);
}

#[tokio::test]
async fn a_batch_that_is_too_large_goes_in_pieces() {
    let fake = Shared::default();
    fake.lock().unwrap().first = [(StatusCode::PAYLOAD_TOO_LARGE, None)].into();
    let hub = hub(serve(&fake, "127.0.0.1:0").await);
    let events: Vec<Event> = (0..4).map(|n| event(n, "t")).collect();

    let emitted = soon(hub.emit(events, None, &Stop::new())).await.unwrap();

    assert_eq!(emitted.accepted, 4);
    assert_eq!(fake.lock().unwrap().posts, 3);
}

#[tokio::test]
async fn a_denied_driver_is_told_at_once() {
    let fake = Shared::default();
    fake.lock().unwrap().first = [(StatusCode::UNAUTHORIZED, None), (StatusCode::UNAUTHORIZED, None)].into();
    let hub = hub(serve(&fake, "127.0.0.1:0").await);

    let emit = soon(hub.emit(vec![event(1, "t")], None, &Stop::new())).await;
    let checkpoint = soon(hub.checkpoint(&Stop::new())).await;

    assert!(matches!(emit, Err(EmitError::Denied(_))), "{emit:?}");
    assert!(
        matches!(checkpoint, Err(CheckpointError::Denied(_))),
        "{checkpoint:?}"
    );
}

#[tokio::test]
async fn a_stop_ends_the_wait_for_a_hub_that_does_not_answer() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hub = hub(silent.local_addr().unwrap());
    let stop = Stop::new();
    let emit = tokio::spawn({
        let stop = stop.clone();
        async move { hub.emit(vec![event(1, "t")], None, &stop).await }
    });
    soon(silent.accept()).await.unwrap();

    stop.stop();

    assert_eq!(soon(emit).await.unwrap(), Err(EmitError::Stopped));
}

#[tokio::test]
async fn health_is_reported_when_it_changes() {
    let fake = Shared::default();
    let hub = hub(serve(&fake, "127.0.0.1:0").await);

    for health in [
        Health::Ready,
        Health::Ready,
        Health::Failing("no login".to_owned()),
        Health::Ready,
    ] {
        soon(hub.report(health)).await;
    }

    let expected = [
        r#"{"status":"READY"}"#,
        r#"{"reason":"no login","status":"ERROR"}"#,
        r#"{"status":"READY"}"#,
    ];
    assert_eq!(fake.lock().unwrap().health, expected);
}
