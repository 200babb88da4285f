//! What an organization may bring in a second and keep in the journal, at every door.
// A test's helper may unwrap.
#![allow(clippy::unwrap_used)]

mod support;

use std::os::unix::fs::PermissionsExt as _;

use dispatch_server::ServerConfig;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use support::{Hub, PATIENCE, answer, config, event};
use tokio::time::{Instant, sleep};

const RATE: usize = 5;

/// A hub with these quotas.
async fn with(quotas: &str) -> Hub {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.yaml");
    std::fs::write(&file, format!("quotas:\n{quotas}")).unwrap();
    let config = ServerConfig {
        quotas: ServerConfig::from_file(&file).unwrap().quotas,
        ..config(folder.path())
    };
    Hub::start_with(folder, config).await
}

fn batch(name: &str, events: usize) -> Value {
    (0..events).map(|n| event(&format!("{name}-{n}"), "t")).collect()
}

fn post(hub: &Hub, path: &str, organization: &str, events: &Value) -> RequestBuilder {
    hub.post(path)
        .header("x-dispatch-org", organization)
        .header("content-type", "application/cloudevents-batch+json")
        .body(events.to_string())
}

async fn take(hub: &Hub, organization: &str, events: &Value) -> (StatusCode, Value) {
    let request = post(hub, "/v1/events", organization, events);
    answer(request.send().await.unwrap()).await
}

/// Sends a second's worth again and again until it is refused: a machine that is busy may need more than one.
async fn until_refused(hub: &Hub, organization: &str) -> (usize, reqwest::Response) {
    for taken in 0..100 {
        let request = post(
            hub,
            "/v1/events",
            organization,
            &batch(&format!("b{taken}"), RATE),
        );
        let response = request.send().await.unwrap();
        if response.status() != StatusCode::ACCEPTED {
            return (taken, response);
        }
    }
    panic!("nothing was refused");
}

async fn kept(hub: &Hub, organization: &str) -> usize {
    let request = hub.client.get(hub.url("/v1/events?limit=1000"));
    let (_, events) = answer(
        request
            .header("x-dispatch-org", organization)
            .send()
            .await
            .unwrap(),
    )
    .await;
    events.as_array().unwrap().len()
}

#[tokio::test]
async fn an_organization_above_its_rate_is_told_to_wait_and_others_feel_nothing() {
    // Given one organization with a quota
    let hub = with("  organizations: {metered: {events-per-second: 5}}\n").await;

    // When it sends without a rest
    let (taken, refused) = until_refused(&hub, "metered").await;

    // Then it is told why and when to come again, and nothing of what was refused was taken
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "1");
    let (_, said) = answer(refused).await;
    let message = said["message"].as_str().unwrap();
    assert_eq!(said["code"], 429);
    for part in ["metered", "5 events a second", "events-per-second"] {
        assert!(message.contains(part), "{part} in {message}");
    }
    assert_eq!(kept(&hub, "metered").await, taken * RATE);

    // And others send what they like
    for n in 0..20 {
        let (status, said) = take(&hub, "other", &batch(&format!("o{n}"), 50)).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{said}");
    }

    // And after the wait it may go on; what was refused is in the figures
    let end = Instant::now() + PATIENCE;
    while take(&hub, "metered", &batch("later", RATE)).await.0 != StatusCode::ACCEPTED {
        assert!(Instant::now() < end, "it is refused for ever");
        sleep(std::time::Duration::from_millis(100)).await;
    }
    let figures = hub.client.get(hub.url("/metrics")).send().await.unwrap();
    let figures = figures.text().await.unwrap();
    let line = "dispatch_events_over_quota_total{organization=\"metered\",quota=\"events-per-second\"} ";
    let refused = figures.lines().find_map(|l| l.strip_prefix(line));
    assert!(
        refused.is_some_and(|n| n.parse::<usize>().unwrap() >= RATE),
        "{figures}"
    );
    assert!(!figures.contains("over_quota_total{organization=\"other\""));
    hub.stop().await;
}

#[tokio::test]
async fn a_batch_above_the_rate_is_refused_whole_and_goes_in_pieces() {
    let hub = with("  default: {events-per-second: 5}\n").await;

    let (status, said) = take(&hub, "acme", &batch("large", RATE + 1)).await;

    // It could never be taken, so it is not told to wait.
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let message = said["message"].as_str().unwrap();
    assert!(message.contains("6 are too many at once"), "{message}");
    assert_eq!(kept(&hub, "acme").await, 0);
    let (status, said) = take(&hub, "acme", &batch("large", RATE)).await;
    assert_eq!((status, &said["accepted"]), (StatusCode::ACCEPTED, &json!(RATE)));
    hub.stop().await;
}

#[tokio::test]
async fn every_door_keeps_the_rate() {
    // Given a driver that does nothing but tell its token, and a rate of one a second
    let hub = with("  default: {events-per-second: 1}\n").await;
    let program = hub.data().join("program");
    let script = "#!/bin/sh\nprintf %s \"$DISPATCH_TOKEN\" > \"$0.token\"; exec sleep 1000\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let types = json!({"name": "quiet", "image": program});
    hub.post_json("/v1/event/drivertypes", &types).await;
    let (_, driver) = hub
        .post_json("/v1/event/drivers", &json!({"name": "d", "type": "quiet"}))
        .await;
    let read = || std::fs::read_to_string(program.with_extension("token")).unwrap_or_default();
    support::until("a token", || read().len() == 64).await;

    let old = |id: &str| json!({"eventType": "t", "cloudEventsVersion": "0.1", "source": "s", "eventID": id});
    let sink = format!("/v1/sink/{}", driver["id"].as_str().unwrap());
    let ingest = format!("/v1/event/ingest?authToken={}", read());
    let structured = "application/cloudevents+json";
    let doors = [
        ("/v1/events", structured),
        ("/v1/events/", structured),
        ("/v1/event/", "application/json"),
        (ingest.as_str(), "application/json"),
        (sink.as_str(), structured),
    ];
    for (door, content_type) in doors {
        // When one event after another comes in there
        let mut said = Vec::new();
        for n in 0..100 {
            let id = format!("{door}{n}");
            let body = match content_type {
                "application/json" => old(&id),
                _ => event(&id, "t"),
            };
            let request = hub.post(door).header("content-type", content_type);
            let response = request.body(body.to_string()).send().await.unwrap();
            said.push((
                response.status().as_u16(),
                response.headers().contains_key("retry-after"),
            ));
            if said.last() == Some(&(429, true)) {
                break;
            }
        }

        // Then one of them has to wait, and nothing else was said before
        let (last, before) = said.split_last().unwrap();
        assert_eq!(*last, (429, true), "{door}: {said:?}");
        let fine = [(200, false), (202, false)];
        assert!(before.iter().all(|said| fine.contains(said)), "{door}: {said:?}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn an_organization_whose_store_is_full_is_told_to_wait_and_others_feel_nothing() {
    // Given one organization that may keep little
    let hub = with("  organizations: {small: {bytes-stored: 4000}}\n").await;

    // When it sends until it is refused
    let (taken, refused) = until_refused(&hub, "small").await;

    // Then it is told why, and nothing of what was refused was taken
    assert!(taken > 0);
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "30");
    let (_, said) = answer(refused).await;
    let message = said["message"].as_str().unwrap();
    for part in ["small", "4000 bytes", "bytes-stored", "and has "] {
        assert!(message.contains(part), "{part} in {message}");
    }
    assert_eq!(kept(&hub, "small").await, taken * RATE);

    // And what could never fit is not told to wait, while others send what they like
    let (status, said) = take(&hub, "small", &batch("large", 200)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{said}");
    let (status, said) = take(&hub, "other", &batch("large", 200)).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{said}");
    hub.stop().await;
}
