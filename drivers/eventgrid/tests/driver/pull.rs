//! Pull delivery from a double of a namespace, which the Azure SDK checks.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::StatusCode;
use dispatch_fixtures::driver_hub::DriverHub;
use dispatch_fixtures::eventgrid::{Namespace, Publisher, Settings};
use dispatch_fixtures::process::{Process, until};
use serde_json::{Value, json};

use crate::PATIENCE;

fn events(range: std::ops::Range<usize>) -> impl Iterator<Item = Value> {
    range.map(|n| json!({"specversion": "1.0", "id": format!("e{n}"), "source": "/orders", "type": "made", "data": {"n": n}}))
}

fn pull(hub: &DriverHub, namespace: &Namespace, settings: &[&str]) -> Process {
    let [endpoint, topic, subscription] = [
        format!("--namespace-endpoint={}", namespace.url()),
        format!("--topic={}", Namespace::TOPIC),
        format!("--subscription={}", Namespace::SUBSCRIPTION),
    ];
    let all = [&[&*endpoint, &topic, &subscription], settings].concat();
    crate::spawn(hub, &all, &[("ACCESS_KEY", Namespace::KEY)])
}

async fn settled(namespace: &Namespace, count: usize) {
    until("all are acknowledged", PATIENCE, async || {
        Ok(namespace.owed() == 0 && namespace.acknowledged().len() == count)
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn an_event_is_acknowledged_only_after_the_hub_has_it_and_locked_until_then() {
    // Given events that may be delivered once, and a hub that is full
    let lock = Duration::from_secs(6);
    let namespace = Namespace::start(Settings { lock, deliveries: 1 }).await.unwrap();
    let hub = DriverHub::start().await.unwrap();
    namespace.put(events(0..20));
    hub.refuse(Some(StatusCode::SERVICE_UNAVAILABLE));

    // When the driver holds them for three times as long as they are locked
    let driver = pull(&hub, &namespace, &["--lock-duration=6s"]);
    hub.until("the hub was asked", PATIENCE, |hub| hub.refused() > 0)
        .await
        .unwrap();
    let began = std::time::Instant::now();
    tokio::time::sleep(3 * lock).await;
    assert!(namespace.acknowledged().is_empty());
    hub.refuse(None);

    // Then the hub gets each once, and none is a dead letter
    settled(&namespace, 20).await;
    assert_eq!(hub.arrived().len(), 20, "nothing twice");
    assert!(namespace.dead().is_empty(), "{}", driver.stderr());
    println!(
        "20 events held for {:?}, {} locks renewed",
        began.elapsed(),
        namespace.renewed()
    );
    assert!(namespace.renewed() >= 3 * 20, "{}", namespace.renewed());
}

#[tokio::test]
async fn kills_lose_nothing() {
    // Given a namespace with many events, more coming
    const KILLS: usize = 20;
    const EACH: usize = 50;
    let lock = Duration::from_secs(2);
    let namespace = Namespace::start(Settings { lock, deliveries: 10 }).await.unwrap();
    let hub = DriverHub::start().await.unwrap();
    let mut seed = 0x5eed_u64;
    let mut random = |most: u64| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % most
    };

    // When the driver is killed again and again, the hub full at times
    for kill in 0..KILLS {
        namespace.put(events(kill * EACH..(kill + 1) * EACH));
        let full = random(3) == 0;
        hub.refuse(full.then_some(StatusCode::SERVICE_UNAVAILABLE));
        let mut driver = pull(&hub, &namespace, &["--lock-duration=2s"]);
        tokio::time::sleep(Duration::from_millis(20 + random(180))).await;
        driver.kill().unwrap();
    }
    hub.refuse(None);
    let driver = pull(&hub, &namespace, &["--lock-duration=2s"]);

    // Then all are at the hub, and none is a dead letter
    settled(&namespace, KILLS * EACH).await;
    let ids: BTreeSet<String> = hub.events().iter().map(|event| event.id().to_owned()).collect();
    println!(
        "{KILLS} kills, {} events: {} at the hub, {} arrivals, {} dead letters",
        KILLS * EACH,
        ids.len(),
        hub.arrived().len(),
        namespace.dead().len()
    );
    assert_eq!(ids.len(), KILLS * EACH, "{}", driver.stderr());
    assert!(namespace.dead().is_empty(), "{:?}", namespace.dead());
}

#[tokio::test]
async fn what_the_hub_refuses_is_released_for_later_and_the_others_are_acknowledged() {
    let namespace = Namespace::start(Settings::default()).await.unwrap();
    let hub = DriverHub::start().await.unwrap();
    hub.refuse(Some(StatusCode::PAYLOAD_TOO_LARGE));
    namespace.put(events(0..2));

    let _driver = pull(&hub, &namespace, &[]);

    until("both are released", PATIENCE, async || {
        Ok(namespace.released() == [600, 600])
    })
    .await
    .unwrap();
    hub.refuse(None);
    namespace.put(events(2..3));
    namespace.put([json!({"id": "no event"})]);
    until("the next are acknowledged", PATIENCE, async || {
        Ok(namespace.acknowledged().len() == 2)
    })
    .await
    .unwrap();
    let types: Vec<_> = hub.events().iter().map(|event| event.ty().to_owned()).collect();
    assert_eq!(types, ["made", "eventgrid.malformed"]);
}

#[tokio::test]
async fn at_a_stop_what_is_in_hand_is_given_back() {
    let namespace = Namespace::start(Settings::default()).await.unwrap();
    let hub = DriverHub::start().await.unwrap();
    hub.refuse(Some(StatusCode::SERVICE_UNAVAILABLE));
    namespace.put(events(0..3));
    let mut driver = pull(&hub, &namespace, &[]);
    hub.until("it holds them", PATIENCE, |hub| hub.refused() > 0)
        .await
        .unwrap();

    let began = std::time::Instant::now();
    let status = driver.terminate(PATIENCE).await.unwrap();

    assert!(status.success(), "{}", driver.stderr());
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "took {:?}",
        began.elapsed()
    );
    assert_eq!(namespace.released(), [0, 0, 0]);
}

#[tokio::test]
async fn an_application_of_entra_is_let_in_and_a_token_that_is_no_longer_good_replaced() {
    // Given the secret of an application
    let namespace = Namespace::start(Settings::default()).await.unwrap();
    let hub = DriverHub::start().await.unwrap();
    let [tenant, client, secret] = Namespace::APPLICATION;
    let settings = [
        format!("--namespace-endpoint={}", namespace.url()),
        format!("--authority={}", namespace.url()),
        format!("--topic={}", Namespace::TOPIC),
        format!("--subscription={}", Namespace::SUBSCRIPTION),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let environment = [
        ("TENANT_ID", tenant),
        ("CLIENT_ID", client),
        ("CLIENT_SECRET", secret),
    ];
    namespace.put(events(0..1));

    // When its token is revoked
    let driver = crate::spawn(&hub, &settings, &environment);
    settled(&namespace, 1).await;
    assert_eq!(namespace.grants(), 1, "one token for all requests");
    namespace.revoke();
    namespace.put(events(1..2));

    // Then it gets another and goes on
    settled(&namespace, 2).await;
    assert_eq!(namespace.grants(), 2, "{}", driver.stderr());
    assert!(!driver.stderr().contains(secret), "{}", driver.stderr());
}

#[tokio::test]
async fn a_namespace_that_does_not_let_it_in_is_told_of_and_asked_again() {
    let namespace = Namespace::start(Settings::default()).await.unwrap();
    let hub = DriverHub::start().await.unwrap();
    namespace.refuse(Some(StatusCode::FORBIDDEN));
    namespace.put(events(0..1));

    let mut driver = pull(&hub, &namespace, &[]);

    hub.until("it says so", PATIENCE, |hub| !hub.health().is_empty())
        .await
        .unwrap();
    let said = hub.health()[0].clone();
    assert_eq!(said["status"], "ERROR");
    let reason = said["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("cannot receive events: 127.0.0.1 says 403 Forbidden"),
        "{reason}"
    );
    namespace.refuse(None);
    settled(&namespace, 1).await;
    hub.until("it is well again", PATIENCE, |hub| {
        hub.health().last().is_some_and(|h| h["status"] == "READY")
    })
    .await
    .unwrap();
    assert!(driver.is_running().unwrap());
}

// The double answers while the SDK is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_azure_sdk_publishes_to_the_namespace_arrives_and_the_sdk_can_consume_from_it_too() {
    let Some(sdk) = Publisher::new().unwrap() else {
        return;
    };
    let (topic, subscription) = (Namespace::TOPIC, Namespace::SUBSCRIPTION);
    let namespace = Namespace::start(Settings {
        deliveries: 1,
        ..Settings::default()
    })
    .await
    .unwrap();
    sdk.publish_to_namespace(&namespace.url(), Namespace::KEY, topic, 5)
        .unwrap();

    // The double, by somebody who knows the service.
    let heard = sdk
        .consume(&namespace.url(), Namespace::KEY, topic, subscription)
        .unwrap();
    println!("{heard}");
    for (what, expected) in [
        ("counts", json!([1, 1, 1, 1, 1])),
        ("acknowledged", json!(true)),
        ("released", json!(true)),
        ("rejected", json!(true)),
        ("renewed", json!(true)),
        ("again", json!(["TokenLost"])),
    ] {
        assert_eq!(heard[what], expected, "{what}");
    }
    let id = |n: usize| heard["ids"][n].as_str().unwrap().to_owned();
    assert_eq!(namespace.acknowledged(), [id(0)]);
    let dead: BTreeSet<String> = namespace.dead().into_iter().collect();
    assert_eq!(
        dead,
        BTreeSet::from([id(1), id(2)]),
        "released after its last delivery, and rejected"
    );

    // The driver, with the same events.
    let namespace = Namespace::start(Settings::default()).await.unwrap();
    let hub = DriverHub::start().await.unwrap();
    sdk.publish_to_namespace(&namespace.url(), Namespace::KEY, topic, 5)
        .unwrap();
    let _driver = pull(&hub, &namespace, &[]);
    settled(&namespace, 5).await;
    assert!(
        hub.events()
            .iter()
            .all(|event| event.ty() == "cloud.made" && event.source() == "/sdk")
    );
}
