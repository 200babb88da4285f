//! The handshake of CloudEvents web hooks (HTTP 1.1 Web Hooks for Event Delivery 1.0, section 4).
//!
//! Consent is given in the answer itself, at once. `WebHook-Request-Callback` is therefore not needed, and never
//! called: it is an address that a stranger chose.

use std::time::Duration;

use dispatch_driver_sdk::{Arrival, Reply, reply};
use http::{HeaderValue, header};

use crate::config::Plan;

/// Grants what was asked for, up to the rate this driver takes.
pub(crate) fn answer(plan: &Plan, arrival: &Arrival) -> Reply {
    let Some(origin) = arrival
        .headers
        .get("webhook-request-origin")
        .filter(|o| !o.is_empty())
    else {
        return reply(400, "the header WebHook-Request-Origin is missing");
    };
    let asked = arrival
        .header("webhook-request-rate")
        .and_then(|rate| rate.trim().parse().ok());
    let granted = asked.filter(|rate| *rate > 0).unwrap_or(plan.rate).min(plan.rate);
    let mut reply = reply(200, "");
    let headers = reply.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
    headers.insert("webhook-allowed-origin", origin.clone());
    headers.insert("webhook-allowed-rate", granted.into());
    reply
}

/// More than was granted: 429 with `Retry-After`, rounded up.
pub(crate) fn too_many(after: Duration) -> Reply {
    let mut reply = reply(429, "more deliveries than were granted");
    let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    reply
        .headers_mut()
        .insert(header::RETRY_AFTER, seconds.max(1).into());
    reply
}
