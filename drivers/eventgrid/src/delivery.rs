//! What a request of Event Grid is: a handshake, a notice, or events.

use dispatch_contract::{BATCH_CONTENT_TYPE, STRUCTURED_CONTENT_TYPE};
use dispatch_driver_sdk::{Arrival, Reply, reply};
use http::{HeaderValue, header};
use serde_json::value::RawValue;

/// The most events of one delivery.
const MAX_EVENTS: usize = 5000;

/// A request, read.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// The validation code to send back, as JSON.
    Validation(String),
    /// Nothing to do: a subscription was deleted.
    Nothing,
    /// Events of either schema, as they came.
    Events(Vec<Box<RawValue>>),
}

/// As much of a validation as matters.
#[derive(serde::Deserialize)]
struct Validation {
    #[serde(rename = "eventType")]
    ty: Option<String>,
    data: Option<Code>,
}

#[derive(serde::Deserialize)]
struct Code {
    #[serde(rename = "validationCode")]
    code: Option<String>,
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
    let (may_be_one, may_be_many) = match kind.as_str() {
        STRUCTURED_CONTENT_TYPE => (true, false),
        BATCH_CONTENT_TYPE => (false, true),
        "application/json" => (true, true),
        _ => return Err(Unreadable::MediaType),
    };
    let first = arrival.body.trim_ascii_start().first();
    let items: Vec<Box<RawValue>> = match first {
        Some(b'[') if may_be_many => serde_json::from_slice(&arrival.body),
        Some(b'{') if may_be_one => serde_json::from_slice(&arrival.body).map(|one| vec![one]),
        _ => return Err(Unreadable::Body("has another shape than its content-type")),
    }
    .map_err(Unreadable::Json)?;
    if items.len() > MAX_EVENTS {
        return Err(Unreadable::Body("has more than 5000 events"));
    }
    match arrival.header("aeg-event-type") {
        Some("SubscriptionValidation") => validation(&items),
        Some("SubscriptionDeletion") => Ok(Delivery::Nothing),
        // Some senders leave the header out; what is a validation says so itself.
        None if is_validation(&items) => validation(&items),
        _ => Ok(Delivery::Events(items)),
    }
}

/// The only item, if it can be one.
fn only(items: &[Box<RawValue>]) -> Option<Validation> {
    match items {
        [one] => serde_json::from_str(one.get()).ok(),
        _ => None,
    }
}

fn is_validation(items: &[Box<RawValue>]) -> bool {
    let ty = only(items).and_then(|validation| validation.ty);
    ty.as_deref() == Some("Microsoft.EventGrid.SubscriptionValidationEvent")
}

fn validation(items: &[Box<RawValue>]) -> Result<Delivery, Unreadable> {
    let data = only(items).and_then(|validation| validation.data);
    let code = data.and_then(|data| data.code);
    let code = code.ok_or(Unreadable::Body("has no data.validationCode"))?;
    let answer = serde_json::json!({"validationResponse": code});
    Ok(Delivery::Validation(answer.to_string()))
}
