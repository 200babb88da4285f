//! From the door to a web hook, to a dead letter, and out again.
// A test's helper may unwrap.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use dispatch_fixtures::target::Target;
use dispatch_server::Exit;
use reqwest::StatusCode;
use serde_json::{Value, json};
use support::{Hub, answer, event, until};
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

fn count(value: &Value) -> usize {
    value.as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn an_event_reaches_the_web_hook_once_however_often_it_is_posted() {
    let (hub, target) = (Hub::start().await, Target::start().await.unwrap());
    hub.subscribe("to-target", "t", &target.url(), json!({})).await;

    for id in ["a", "a", "b"] {
        hub.event(&event(id, "t")).await;
    }
    hub.event(&event("c", "other")).await;

    until("both arrived", || target.accepted().len() == 2).await;
    hub.stop().await;
    let arrived = target.accepted();
    assert_eq!(
        arrived.into_iter().collect::<Vec<_>>(),
        [("a".to_owned(), 1), ("b".to_owned(), 1)]
    );
}

#[tokio::test]
async fn an_event_that_is_owed_shows_its_attempts_and_outlives_a_restart() {
    let (hub, target) = (Hub::start().await, Target::start().await.unwrap());
    target.answer(503);
    let delivery = json!({"backoffDelay": "PT0.5S", "backoffPolicy": "linear"});
    hub.subscribe("slow", "t", &target.url(), delivery).await;

    hub.event(&event("a", "t")).await;
    let owed = hub
        .until("/v1/deliveries?subscription=slow", |d| d[0]["reason"].is_string())
        .await;
    let unknown = hub
        .client
        .get(hub.url("/v1/deliveries?subscription=nope"))
        .send()
        .await
        .unwrap();
    let hub = hub.restart().await;
    target.answer(204);

    assert_eq!(
        (&owed[0]["eventId"], &owed[0]["subscription"]),
        (&json!("a"), &json!("slow"))
    );
    assert!(owed[0]["attempts"].as_u64().unwrap() >= 1, "{owed}");
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    until("it arrived after all", || target.accepted().contains_key("a")).await;
    hub.until("/v1/deliveries", |d| count(d) == 0).await;
    hub.stop().await;
}

#[tokio::test]
async fn dead_letters_say_why_and_redrive_delivers_all_of_them_once() {
    let (hub, target) = (Hub::start().await, Target::start().await.unwrap());
    target.answer(500);
    hub.subscribe(
        "fails",
        "t",
        &target.url(),
        json!({"retry": 1, "backoffDelay": "10ms"}),
    )
    .await;
    for n in 0..20 {
        hub.event(&event(&format!("e{n}"), "t")).await;
    }

    let letters = hub
        .until("/v1/deadletters?subscription=fails", |l| count(l) == 20)
        .await;
    let first = letters[0].clone();
    let path = format!("/v1/deadletters/{}", first["id"].as_str().unwrap());
    let one = hub.get(&path).await;
    target.answer(204);
    let one_again = hub
        .post_json("/v1/deadletters/redrive", &json!({"ids": [first["id"]]}))
        .await;
    let rest = hub
        .post_json("/v1/deadletters/redrive", &json!({"subscription": "fails"}))
        .await;
    let nothing_left = hub.post_json("/v1/deadletters/redrive", &json!({})).await;

    assert_eq!(first["attempts"], 2);
    assert_eq!(count(&first["failures"]), 2);
    assert_eq!(first["failures"][0]["code"], 500);
    assert!(first["reason"].as_str().unwrap().contains("500"), "{first}");
    assert_eq!(
        (&one["event"]["data"], &one["id"]),
        (&json!({"n": 1}), &first["id"])
    );
    assert_eq!(one_again.1["redriven"], 1, "{one_again:?}");
    assert_eq!(rest.1["redriven"], 19, "{rest:?}");
    assert_eq!(nothing_left.1["redriven"], 0);
    until("all arrived", || target.accepted().len() == 20).await;
    assert!(target.accepted().values().all(|times| *times == 1));
    assert_eq!(count(&hub.get("/v1/deadletters").await), 0);
    assert_eq!(count(&hub.get("/v1/deadletters?redriven=true").await), 20);
    hub.stop().await;
}

#[tokio::test]
async fn dead_letters_survive_a_restart_and_can_be_forgotten() {
    let (hub, target) = (Hub::start().await, Target::start().await.unwrap());
    target.answer(400);
    hub.subscribe("refuses", "t", &target.url(), json!({})).await;
    for id in ["a", "b"] {
        hub.event(&event(id, "t")).await;
    }
    hub.until("/v1/deadletters", |l| count(l) == 2).await;

    let hub = hub.restart().await;
    let letters = hub.get("/v1/deadletters").await;
    let path = format!("/v1/deadletters/{}", letters[0]["id"].as_str().unwrap());
    let forgotten = hub.client.delete(hub.url(&path)).send().await.unwrap();
    let gone = hub.client.get(hub.url(&path)).send().await.unwrap();
    let all = hub
        .client
        .delete(hub.url("/v1/deadletters?subscription=refuses"))
        .send()
        .await
        .unwrap();

    assert_eq!((count(&letters), &letters[0]["attempts"]), (2, &json!(1)));
    assert_eq!(forgotten.status(), StatusCode::OK);
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
    assert_eq!(answer(all).await.1, json!({"deleted": 1}));
    assert_eq!(count(&hub.get("/v1/deadletters").await), 0);
    hub.stop().await;
}

#[tokio::test]
async fn the_read_models_can_be_dropped_and_are_fed_again() {
    let (hub, target) = (Hub::start().await, Target::start().await.unwrap());
    target.answer(400);
    hub.subscribe("refuses", "t", &target.url(), json!({})).await;
    for id in ["a", "b"] {
        hub.event(&event(id, "t")).await;
    }
    let letters = hub.until("/v1/deadletters", |l| count(l) == 2).await;
    target.answer(204);
    let first = json!({"ids": [letters[0]["id"]]});
    assert_eq!(
        hub.post_json("/v1/deadletters/redrive", &first).await.1["redriven"],
        1
    );
    until("it arrived", || target.accepted().len() == 1).await;

    let data = hub.data();
    let folder = hub.stop().await;
    for file in std::fs::read_dir(data).unwrap() {
        let path = file.unwrap().path();
        if path.to_string_lossy().contains("views.db") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let hub = Hub::start_in(folder).await;

    let fed = hub
        .until("/v1/deadletters?redriven=true", |l| count(l) == 2)
        .await;
    let of = |letters: &Value, field: &str| {
        letters
            .as_array()
            .unwrap()
            .iter()
            .map(|l| l[field].clone())
            .collect::<Vec<_>>()
    };
    for field in ["id", "subscription", "reason", "attempts", "time", "event"] {
        assert_eq!(of(&fed, field), of(&letters, field), "{field}");
    }
    assert_eq!(
        hub.until("/v1/deadletters", |l| count(l) == 1).await[0]["id"],
        letters[1]["id"]
    );
    hub.stop().await;
}

#[tokio::test]
async fn a_stop_ends_in_time_although_a_web_hook_does_not_answer() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let delivery = async || {
        timeout(support::PATIENCE, silent.accept())
            .await
            .unwrap()
            .unwrap()
    };
    let start = async |folder: TempDir| {
        let mut config = support::config(folder.path());
        config.limits.drain = Duration::from_secs(1);
        Hub::start_with(folder, config).await
    };
    let mut hub = start(tempfile::tempdir().unwrap()).await;
    hub.subscribe("silent", "t", &url, json!({})).await;
    hub.event(&event("a", "t")).await;

    // A stall of this machine may spoil the time of one stop; each leaves the delivery to the next start.
    let soon = Duration::from_secs(2);
    let mut took = Vec::new();
    for _ in 0..3 {
        let _connection = delivery().await;
        let stopped = Instant::now();
        let (exit, folder) = hub.end().await;
        let elapsed = stopped.elapsed();
        hub = start(folder).await;
        assert_eq!(exit, Exit::OutOfTime);
        took.push(elapsed);
        if elapsed < soon {
            break;
        }
    }

    assert!(took.iter().any(|took| *took < soon), "{took:?}");
    delivery().await;
    hub.end().await;
}

#[tokio::test]
async fn what_is_no_dead_letter_is_said_to_be_none() {
    let hub = Hub::start().await;
    let unknown = "7-00000000-0000-0000-0000-000000000000";

    let nonsense = hub
        .post_json("/v1/deadletters/redrive", &json!({"ids": ["x"]}))
        .await;
    let missing = hub
        .post_json("/v1/deadletters/redrive", &json!({"ids": [unknown]}))
        .await;
    let field = hub
        .post_json("/v1/deadletters/redrive", &json!({"id": "x"}))
        .await;

    assert_eq!(nonsense.0, StatusCode::BAD_REQUEST, "{}", nonsense.1);
    assert_eq!(missing.0, StatusCode::NOT_FOUND, "{}", missing.1);
    assert!(field.0.is_client_error(), "{}", field.1);
    hub.stop().await;
}

#[tokio::test]
async fn deliveries_are_counted_by_subscription() {
    let (hub, target) = (Hub::start().await, Target::start().await.unwrap());
    hub.subscribe("counted", "t", &target.url(), json!({})).await;
    hub.event(&event("a", "t")).await;
    until("it arrived", || target.accepted().len() == 1).await;

    let wanted = [
        "dispatch_events_delivered_total{organization=\"dispatch\",subscription=\"counted\"} 1",
        "dispatch_events_routed_total{organization=\"dispatch\"}",
        "dispatch_queue_depth{organization=\"dispatch\",subscription=\"counted\"} 0",
    ];
    let text = || async {
        hub.client
            .get(hub.url("/metrics"))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    };
    // One text may be of the middle of a delivery: all has to be in the same one.
    let mut found = text().await;
    for _ in 0..100 {
        if wanted.iter().all(|line| found.contains(*line)) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        found = text().await;
    }

    for line in wanted {
        assert!(found.contains(line), "{line} in {found}");
    }
    hub.stop().await;
}
