//! The door of an EventBridge API destination.

use anyhow::{Context as _, Result};
use axum::http::StatusCode;
use dispatch_fixtures::driver_hub::DriverHub;

use crate::{PATIENCE, start_at, taken};

const EVENT: &str =
    r#"{"version":"0","id":"e1","detail-type":"Order Placed","source":"my.shop","detail":{"n":1}}"#;
const KEYS: &str = "--api-key=old-key-0123456789,new-key-0123456789";

#[tokio::test]
async fn an_api_destination_gets_2xx_only_for_what_the_hub_has() -> Result<()> {
    // Given a driver that listens
    let hub = DriverHub::start().await?;
    let mut driver = start_at("http://127.0.0.1:1", &hub, &[KEYS])?;
    hub.until("it says where it listens", PATIENCE, |hub| {
        hub.health().last().is_some_and(|h| h["listen"].is_string())
    })
    .await?;
    let listen = hub
        .health()
        .last()
        .and_then(|h| h["listen"].as_str().map(str::to_owned));
    let url = format!("http://{}/", listen.context("it listens")?);
    let client = dispatch_fixtures::hub::client()?;
    let post = async |key: &str, body: &'static str| -> Result<reqwest::Response> {
        Ok(client
            .post(&url)
            .header("X-Api-Key", key)
            .body(body)
            .send()
            .await?)
    };

    // When EventBridge sends with the right key, with a wrong one, with none, and while the hub is full
    let mut answers = Vec::new();
    for key in ["old-key-0123456789", "new-key-0123456789"] {
        let send = async || -> Result<u16> { Ok(post(key, EVENT).await?.status().as_u16()) };
        answers.push(taken(&driver, send).await?);
    }
    for key in ["old-key-012345678", "", "other"] {
        answers.push(post(key, EVENT).await?.status().as_u16());
    }
    answers.push(client.post(&url).body(EVENT).send().await?.status().as_u16());
    hub.refuse(Some(StatusCode::SERVICE_UNAVAILABLE));
    let full = post("new-key-0123456789", EVENT).await?;

    // Then only the right keys are let in, the same event is one, and nothing is final: keys are mended
    assert_eq!(answers, [202, 202, 503, 503, 503, 503]);
    assert_eq!(
        (full.status().as_u16(), full.headers().contains_key("retry-after")),
        (503, true)
    );
    let events = hub.events();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!((events[0].id(), events[0].ty()), ("e1", "my.shop.order-placed"));
    assert!(driver.terminate(PATIENCE).await?.success());
    assert!(!driver.stderr().contains("0123456789"), "{}", driver.stderr());
    Ok(())
}
