//! What a request of Event Grid is: a handshake, a notice, or events.

use dispatch_contract::{BATCH_CONTENT_TYPE, STRUCTURED_CONTENT_TYPE};
use dispatch_driver_sdk::{Arrival, Reply, reply};
use http::{HeaderValue, header};
use serde_json::Value;

/// The most events of one delivery.
const MAX_EVENTS: usize = 5000;

/// A request, read.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// The validation code to send back, as JSON.
    Validation(String),
    /// Nothing to do: a subscription was deleted.
    Nothing,
    /// Events of either schema.
    Events(Vec<Item>),
}

/// One event as it came.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item {
    /// In the Event Grid schema.
    Grid(Value),
    /// A CloudEvent.
    Cloud(Value),
}

/// Why a request cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("content-type: is neither application/json nor that of CloudEvents")]
    MediaType,
    #[error("body: is not JSON")]
    Json(#[source] serde_json::Error),
    #[error("body: {0}")]
    Body(&'static str),
}

/// The handshake of CloudEvents web hooks: any origin that knew the secret, at any rate. Nobody is called back.
pub(crate) fn handshake(arrival: &Arrival) -> Reply {
    let origin = arrival.headers.get("webhook-request-origin");
    let Some(origin) = origin.filter(|origin| !origin.is_empty()) else {
        return reply(400, "the header WebHook-Request-Origin is missing");
    };
    let mut reply = reply(200, "");
    let headers = reply.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
    headers.insert("webhook-allowed-origin", origin.clone());
    headers.insert("webhook-allowed-rate", HeaderValue::from_static("*"));
    reply
}

/// Reads a POST.
pub(crate) fn read(arrival: &Arrival) -> Result<Delivery, Unreadable> {
    let kind = arrival.media_type().unwrap_or_default();
    let cloud = kind == STRUCTURED_CONTENT_TYPE || kind == BATCH_CONTENT_TYPE;
    if !cloud && kind != "application/json" {
        return Err(Unreadable::MediaType);
    }
    let items = match serde_json::from_slice(&arrival.body).map_err(Unreadable::Json)? {
        Value::Array(items) if kind != STRUCTURED_CONTENT_TYPE => items,
        one @ Value::Object(_) if kind != BATCH_CONTENT_TYPE => vec![one],
        _ => return Err(Unreadable::Body("has another shape than its content-type")),
    };
    if items.len() > MAX_EVENTS {
        return Err(Unreadable::Body("has more than 5000 events"));
    }
    match arrival.header("aeg-event-type") {
        Some("SubscriptionValidation") => validation(&items),
        Some("SubscriptionDeletion") => Ok(Delivery::Nothing),
        // Some senders leave the header out; what is a validation says so itself.
        None if is_validation(&items) => validation(&items),
        _ if cloud => Ok(Delivery::Events(items.into_iter().map(Item::Cloud).collect())),
        _ => Ok(Delivery::Events(items.into_iter().map(told_apart).collect())),
    }
}

/// A CloudEvent may come as plain JSON too.
fn told_apart(item: Value) -> Item {
    match item.get("specversion") {
        Some(_) => Item::Cloud(item),
        None => Item::Grid(item),
    }
}

fn is_validation(items: &[Value]) -> bool {
    matches!(items, [one] if one["eventType"] == "Microsoft.EventGrid.SubscriptionValidationEvent")
}

fn validation(items: &[Value]) -> Result<Delivery, Unreadable> {
    let code = match items {
        [one] => one["data"]["validationCode"].as_str(),
        _ => None,
    };
    let code = code.ok_or(Unreadable::Body("has no data.validationCode"))?;
    let answer = serde_json::json!({"validationResponse": code});
    Ok(Delivery::Validation(answer.to_string()))
}
