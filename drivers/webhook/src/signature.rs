//! Who may send: the signature over the raw body, in constant time and with its length checked (`ring::hmac::verify`),
//! and its age.
//!
//! A signature that is missing, empty, of an unknown version or from another time is not good. Any of the driver's
//! secrets will do, so that a new one can be brought in before the old one goes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use dispatch_driver_sdk::Arrival;
use ring::hmac::{self, Key};

use crate::config::{Plan, Provider};

/// How far a signed time may be off, either way, in seconds.
const TOLERANCE: i64 = 300;
/// More signatures than that in one header are not looked at.
const MAX_SIGNATURES: usize = 16;

/// Why a delivery is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unbelieved {
    #[error("the header {0} is missing")]
    Missing(String),
    #[error("the header {0} cannot be read")]
    Unreadable(&'static str),
    #[error("the signed time is more than {TOLERANCE} s off")]
    Expired,
    #[error("the signature is not by a secret of this driver")]
    Wrong,
}

/// Whether the sender knows one of the secrets.
pub(crate) fn check(plan: &Plan, arrival: &Arrival, now: DateTime<Utc>) -> Result<(), Unbelieved> {
    match plan.provider {
        Provider::Github => hex_of_body(plan, arrival, "x-hub-signature-256", "sha256="),
        Provider::Generic => {
            let name = plan.signature_header.as_str();
            let prefix = match header(arrival, name)?.starts_with("sha256=") {
                true => "sha256=",
                false => "",
            };
            hex_of_body(plan, arrival, name, prefix)
        }
        Provider::Gitlab => same(plan, header(arrival, "x-gitlab-token")?),
        Provider::Stripe => stripe(plan, arrival, now),
        Provider::Slack => slack(plan, arrival, now),
        Provider::StandardWebhooks => standard(plan, arrival, now),
        Provider::CloudEvents => same(plan, &bearer(arrival)?),
    }
}

fn header<'a>(arrival: &'a Arrival, name: &str) -> Result<&'a str, Unbelieved> {
    arrival
        .header(name)
        .ok_or_else(|| Unbelieved::Missing(name.to_owned()))
}

fn hex_of_body(plan: &Plan, arrival: &Arrival, name: &str, prefix: &str) -> Result<(), Unbelieved> {
    let tag = header(arrival, name)?.strip_prefix(prefix).and_then(unhex);
    let tag = tag.ok_or(Unbelieved::Wrong)?;
    signed(plan, &arrival.body, [tag])
}

/// `t=<seconds>,v1=<hex>[,v1=<hex>][,v0=…]`
fn stripe(plan: &Plan, arrival: &Arrival, now: DateTime<Utc>) -> Result<(), Unbelieved> {
    let parts = || {
        header(arrival, "stripe-signature")
            .map(|text| text.split(',').filter_map(|p| p.trim().split_once('=')))
    };
    let mut times = parts()?.filter(|(key, _)| *key == "t");
    let (Some((_, time)), None) = (times.next(), times.next()) else {
        return Err(Unbelieved::Unreadable("stripe-signature"));
    };
    fresh(time, "stripe-signature", now)?;
    let tags = parts()?
        .filter(|(key, _)| *key == "v1")
        .filter_map(|(_, tag)| unhex(tag));
    signed(plan, &joined(&[time.as_bytes(), b".", &arrival.body]), tags)
}

/// `v0=<hex>` over `v0:<seconds>:<body>`
fn slack(plan: &Plan, arrival: &Arrival, now: DateTime<Utc>) -> Result<(), Unbelieved> {
    let time = header(arrival, "x-slack-request-timestamp")?;
    fresh(time, "x-slack-request-timestamp", now)?;
    let tag = header(arrival, "x-slack-signature")?
        .strip_prefix("v0=")
        .and_then(unhex);
    let content = joined(&[b"v0:", time.as_bytes(), b":", &arrival.body]);
    signed(plan, &content, [tag.ok_or(Unbelieved::Wrong)?])
}

/// `v1,<base64>[ v1,<base64>]…` over `<id>.<seconds>.<body>`
fn standard(plan: &Plan, arrival: &Arrival, now: DateTime<Utc>) -> Result<(), Unbelieved> {
    let id = header(arrival, "webhook-id")?;
    // With a dot in it, one content could be signed for another.
    if id.is_empty() || id.contains('.') {
        return Err(Unbelieved::Unreadable("webhook-id"));
    }
    let time = header(arrival, "webhook-timestamp")?;
    fresh(time, "webhook-timestamp", now)?;
    let signatures = header(arrival, "webhook-signature")?.split(' ');
    let tags = signatures.filter_map(|signature| STANDARD.decode(signature.strip_prefix("v1,")?).ok());
    let content = joined(&[id.as_bytes(), b".", time.as_bytes(), b".", &arrival.body]);
    signed(plan, &content, tags)
}

/// `Authorization: Bearer <token>`, or the query parameter `access_token`.
fn bearer(arrival: &Arrival) -> Result<String, Unbelieved> {
    if let Some(text) = arrival.header("authorization") {
        let token = text
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        return token
            .map(|(_, token)| token.trim().to_owned())
            .ok_or(Unbelieved::Unreadable("authorization"));
    }
    let query = arrival.uri.query().unwrap_or_default();
    let mut tokens = url::form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == "access_token");
    match (tokens.next(), tokens.next()) {
        (Some((_, token)), None) => Ok(token.into_owned()),
        _ => Err(Unbelieved::Missing("authorization".to_owned())),
    }
}

/// Whether one of the tags is right under one of the keys.
fn signed(plan: &Plan, content: &[u8], tags: impl IntoIterator<Item = Vec<u8>>) -> Result<(), Unbelieved> {
    let good = |key: &Key, tag: &[u8]| hmac::verify(key, content, tag).is_ok();
    let mut tags = tags.into_iter().take(MAX_SIGNATURES);
    match tags.any(|tag| plan.keys.iter().any(|key| good(key, &tag))) {
        true => Ok(()),
        false => Err(Unbelieved::Wrong),
    }
}

/// Whether a token is one of the secrets, in constant time: both are the key of an HMAC over the same bytes.
fn same(plan: &Plan, token: &str) -> Result<(), Unbelieved> {
    const OVER: &[u8] = b"the same token";
    let given = hmac::sign(&Key::new(hmac::HMAC_SHA256, token.as_bytes()), OVER);
    signed(plan, OVER, [given.as_ref().to_vec()])
}

fn fresh(seconds: &str, name: &'static str, now: DateTime<Utc>) -> Result<(), Unbelieved> {
    let digits = !seconds.is_empty() && seconds.bytes().all(|b| b.is_ascii_digit());
    let time: i64 = match seconds.parse() {
        Ok(time) if digits => time,
        _ => return Err(Unbelieved::Unreadable(name)),
    };
    match now.timestamp().abs_diff(time) <= TOLERANCE.unsigned_abs() {
        true => Ok(()),
        false => Err(Unbelieved::Expired),
    }
}

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}
