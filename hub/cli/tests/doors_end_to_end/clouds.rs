//! Azure Event Grid and EventBridge API destinations.

use anyhow::{Result, ensure};
use dispatch_fixtures::webhooks::Header;
use serde_json::{Value, json};

use crate::stage::{Stage, now};

fn header(name: &'static str, value: &str) -> Header {
    (name, value.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_grid_delivers_to_a_sink_and_is_never_told_to_drop_an_event() -> Result<()> {
    // Given a door with two secrets
    let stage = Stage::start().await?;
    let secret = json!({"shared-secret": "new-secret,old-secret"});
    let driver = stage.listen("eventgrid", "eg", &secret, &[]).await?;
    let event = |id: &str, data: Value| {
        json!([{"id": id, "topic": "/subscriptions/1/t", "subject": "/blobs/a", "eventType": "Microsoft.Storage.BlobCreated",
            "eventTime": "2026-01-02T03:04:05.678Z", "dataVersion": "2", "metadataVersion": "1", "data": data}])
        .to_string()
    };
    let grid = event("g1", json!({"url": "https://x/a"}));
    let cloud = json!([{"specversion": "1.0", "id": "c1", "source": "/c", "type": "t", "site": "east", "data": [1, "ä"]}]);
    let json_type = [
        header("content-type", "application/json; charset=utf-8"),
        header("aeg-event-type", "Notification"),
    ];
    let batch = [header(
        "content-type",
        "application/cloudevents-batch+json; charset=utf-8",
    )];
    let other_type = [header("content-type", "application/x-tar")];
    let good = "?secret=new-secret";

    // When Event Grid sends what it can send
    let asked = [
        ("good", stage.post(&driver, good, &json_type, &grid).await?, 200),
        (
            "good, cloud",
            stage.post(&driver, good, &batch, &cloud.to_string()).await?,
            200,
        ),
        (
            "replayed",
            stage.post(&driver, good, &json_type, &grid).await?,
            200,
        ),
        (
            "old secret",
            stage
                .post(&driver, "?secret=old-secret", &json_type, &grid)
                .await?,
            200,
        ),
        (
            "wrong secret",
            stage
                .post(&driver, "?secret=other", &json_type, &event("x", json!(1)))
                .await?,
            503,
        ),
        (
            "no secret",
            stage.post(&driver, "", &json_type, &event("x", json!(1))).await?,
            503,
        ),
        (
            "truncated",
            stage
                .post(&driver, good, &json_type, &grid[..grid.len() / 2])
                .await?,
            503,
        ),
        (
            "other type",
            stage.post(&driver, good, &other_type, &grid).await?,
            503,
        ),
    ];
    let (flooded, grown) = stage.flood(&driver).await?;

    // Then nothing makes it drop an event, and what is good is at the sink as it was sent
    for (what, answer, _) in asked {
        println!("eventgrid {what:14} {answer}");
    }
    println!("eventgrid 5 GB           {flooded:?}, memory +{grown} KiB");
    for (what, answer, expected) in asked {
        assert_eq!(answer, expected, "{what}");
    }
    assert!(
        flooded.is_none_or(|status| matches!(status, 502 | 503)),
        "{flooded:?}"
    );
    let events = stage.arrived(&["g1", "c1"]).await?;
    let grid = events.iter().find(|event| event.id() == "g1").unwrap();
    let named = (grid.ty(), grid.source(), grid.subject());
    let expected = (
        "Microsoft.Storage.BlobCreated",
        "/subscriptions/1/t",
        Some("/blobs/a"),
    );
    assert_eq!(named, expected);
    assert_eq!(grid.time().unwrap().to_rfc3339(), "2026-01-02T03:04:05.678+00:00");
    assert_eq!(grid.data().unwrap().bytes, br#"{"url":"https://x/a"}"#);
    let cloud = events.iter().find(|event| event.id() == "c1").unwrap();
    let named = (cloud.ty(), cloud.source(), cloud.attribute("site"));
    assert_eq!(named, ("t", "/c", Some("east")));
    assert_eq!(cloud.data().unwrap().bytes, "[1,\"ä\"]".as_bytes());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_destination_of_eventbridge_delivers_to_a_sink() -> Result<()> {
    // Given a door with two keys
    let stage = Stage::start().await?;
    let (old, new) = ("old-key-0123456789", "new-key-0123456789");
    let keys = json!({"api-key": format!("{old},{new}")});
    let driver = stage
        .listen("aws", "orders", &keys, &["region=eu-west-1"])
        .await?;
    let event = |id: &str| {
        json!({"version": "0", "id": id, "detail-type": "Order Placed", "source": "my.shop", "account": "123456789012",
            "time": "2026-01-31T23:59:59Z", "region": "eu-west-1", "resources": ["arn:aws:x"], "detail": {"n": 1}})
        .to_string()
    };
    let good = event("e1");
    let json_type = header("content-type", "application/json; charset=utf-8");
    let with = |key: &str| [json_type.clone(), header("x-api-key", key)];

    // When EventBridge sends, and others do
    let asked = [
        (
            "good",
            stage.post(&driver, "/orders?x=1", &with(new), &good).await?,
            202,
        ),
        ("replayed", stage.post(&driver, "", &with(new), &good).await?, 202),
        ("old key", stage.post(&driver, "", &with(old), &good).await?, 202),
        (
            "truncated key",
            stage.post(&driver, "", &with(&new[..10]), &event("x")).await?,
            503,
        ),
        (
            "wrong key",
            stage
                .post(&driver, "", &with("other-key-0123456789"), &event("x"))
                .await?,
            503,
        ),
        (
            "no key",
            stage
                .post(&driver, "", std::slice::from_ref(&json_type), &event("x"))
                .await?,
            503,
        ),
    ];
    let (flooded, grown) = stage.flood(&driver).await?;
    stage.rotate(&driver, &json!({"api-key": new}))?;
    let began = now();
    loop {
        // A driver that starts again says 503 to every key.
        let rotated = stage.post(&driver, "", &with(new), &good).await?;
        let old = stage.post(&driver, "", &with(old), &good).await?;
        if (rotated, old) == (202, 503) {
            break;
        }
        ensure!(now() - began < 40, "the old key still counts: {old}, {rotated}");
    }

    // Then one event is at the sink, as it was sent
    for (what, answer, _) in asked {
        println!("aws {what:14} {answer}");
    }
    println!("aws 5 GB           {flooded:?}, memory +{grown} KiB");
    println!("aws old, rotated   503, new 202");
    for (what, answer, expected) in asked {
        assert_eq!(answer, expected, "{what}");
    }
    assert!(
        flooded.is_none_or(|status| matches!(status, 502 | 503)),
        "{flooded:?}"
    );
    let events = stage.arrived(&["e1"]).await?;
    let found = &events[0];
    let named = (found.ty(), found.source(), found.subject());
    let expected = (
        "my.shop.order-placed",
        "urn:aws:eu-west-1:123456789012:my.shop",
        Some("arn:aws:x"),
    );
    assert_eq!(named, expected);
    assert_eq!(found.data().unwrap().bytes, br#"{"n":1}"#);
    assert_eq!(found.attribute("awsdetailtype"), Some("Order Placed"));
    Ok(())
}
