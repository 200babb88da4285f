//! A believed delivery as an event, or why it is none, or an answer that ends it (a challenge, a ping).
//!
//! Ids are stable: the provider's where it has one, else a hash of the body, so that a repeated delivery is the same
//! event. `data` is the body as it came; a form becomes JSON.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use dispatch_contract::{
    BATCH_CONTENT_TYPE, DataKind, Event, EventBuilder, EventError, STRUCTURED_CONTENT_TYPE, is_binary_mode,
    is_json_media_type,
};
use dispatch_driver_sdk::{Arrival, Reply, reply};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::config::{Plan, Provider};
use crate::{github, gitlab};

const FORM: &str = "application/x-www-form-urlencoded";
/// Events of one CloudEvents batch.
const MAX_BATCH: usize = 1000;

/// What became of a delivery.
#[derive(Debug)]
pub(crate) enum Made {
    /// Events for the hub.
    Events(Vec<Event>),
    /// There is no event in it, and this is the answer.
    Said(Reply),
}

/// Why there is no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Wrong {
    #[error("content-type: is not {0}")]
    MediaType(&'static str),
    #[error("body: {0}")]
    Body(String),
    #[error("the header {0} is missing")]
    Missing(&'static str),
    #[error(transparent)]
    Event(#[from] EventError),
}

impl Wrong {
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::MediaType(_) => 415,
            Self::Body(_) | Self::Missing(_) | Self::Event(_) => 400,
        }
    }
}

/// What an event is called, before the plan's own words.
#[derive(Debug, Default)]
pub(crate) struct Named {
    pub(crate) id: Option<String>,
    pub(crate) ty: String,
    pub(crate) source: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) time: Option<DateTime<Utc>>,
}

/// What a delivery says.
pub(crate) fn made(plan: &Plan, arrival: &Arrival, now: DateTime<Utc>) -> Result<Made, Wrong> {
    let named = match plan.provider {
        Provider::CloudEvents => return cloud_events(arrival).map(Made::Events),
        Provider::Generic => return generic(plan, arrival, now),
        Provider::Slack => slack,
        Provider::Github => github::named,
        Provider::Gitlab => gitlab::named,
        Provider::Stripe => stripe,
        Provider::StandardWebhooks => standard,
    };
    let takes_forms = matches!(plan.provider, Provider::Github | Provider::Slack);
    let (body, value) = json(arrival, takes_forms)?;
    if let Some(reply) = said(plan.provider, arrival, &value) {
        return Ok(Made::Said(reply));
    }
    let named = named(arrival, &value)?;
    let event = begun(plan, arrival, named, now).json(body).build()?;
    Ok(Made::Events(vec![event]))
}

fn begun(plan: &Plan, arrival: &Arrival, named: Named, now: DateTime<Utc>) -> EventBuilder {
    let id = named.id.unwrap_or_else(|| hash(&arrival.body));
    let source = plan.source.clone().or(named.source);
    let source = source.unwrap_or_else(|| plan.own_source.clone());
    let ty = plan.ty.clone().unwrap_or(named.ty);
    let event = Event::builder(id, source, ty).time(named.time.unwrap_or(now));
    match named.subject {
        Some(subject) => event.subject(subject),
        None => event,
    }
}

/// The body as JSON: as it came, or what a form says.
fn json(arrival: &Arrival, takes_forms: bool) -> Result<(Bytes, Value), Wrong> {
    let kind = arrival.media_type().unwrap_or_default();
    let not_json = |e: serde_json::Error| Wrong::Body(format!("is not JSON: {e}"));
    if is_json_media_type(&kind) {
        let value = serde_json::from_slice(&arrival.body).map_err(not_json)?;
        return Ok((arrival.body.clone(), value));
    }
    if !takes_forms {
        return Err(Wrong::MediaType("application/json"));
    }
    if kind != FORM {
        return Err(Wrong::MediaType(
            "application/json or application/x-www-form-urlencoded",
        ));
    }
    let mut fields = Map::new();
    for (key, value) in url::form_urlencoded::parse(&arrival.body) {
        if key == "payload" {
            let body = Bytes::from(value.into_owned());
            let value = serde_json::from_slice(&body).map_err(not_json)?;
            return Ok((body, value));
        }
        fields.insert(key.into_owned(), value.into_owned().into());
    }
    let value = Value::Object(fields);
    Ok((value.to_string().into(), value))
}

/// Answers to deliveries that only ask whether somebody is there.
fn said(provider: Provider, arrival: &Arrival, value: &Value) -> Option<Reply> {
    match provider {
        Provider::Slack if value["type"] == "url_verification" => {
            let challenge = serde_json::json!({"challenge": value["challenge"].as_str()?});
            Some(reply(200, challenge.to_string()))
        }
        Provider::Github if arrival.header("x-github-event") == Some("ping") => Some(reply(200, "pong")),
        _ => None,
    }
}

fn stripe(_: &Arrival, value: &Value) -> Result<Named, Wrong> {
    let kind = text(value, "/type").ok_or_else(|| Wrong::Body("has no type".to_owned()))?;
    Ok(Named {
        id: text(value, "/id"),
        ty: format!("com.stripe.{kind}"),
        source: Some(match text(value, "/account") {
            Some(account) => format!("https://api.stripe.com/{account}"),
            None => "https://api.stripe.com".to_owned(),
        }),
        subject: text(value, "/data/object/id"),
        time: seconds(value, "/created"),
    })
}

fn slack(_: &Arrival, value: &Value) -> Result<Named, Wrong> {
    let kind = text(value, "/event/type").or_else(|| text(value, "/type"));
    let kind = kind.or_else(|| text(value, "/command").map(|_| "command".to_owned()));
    let team = text(value, "/team_id").or_else(|| text(value, "/team/id"));
    let channel = text(value, "/event/channel").or_else(|| text(value, "/event/channel/id"));
    Ok(Named {
        id: text(value, "/event_id"),
        ty: format!("com.slack.{}", kind.as_deref().unwrap_or("received")),
        source: Some(match team {
            Some(team) => format!("https://slack.com/{team}"),
            None => "https://slack.com".to_owned(),
        }),
        subject: channel,
        time: seconds(value, "/event_time"),
    })
}

fn standard(arrival: &Arrival, value: &Value) -> Result<Named, Wrong> {
    Ok(Named {
        id: arrival.header("webhook-id").map(str::to_owned),
        ty: text(value, "/type").unwrap_or_else(|| "webhook.received".to_owned()),
        source: None,
        subject: None,
        time: timestamp(value, "/timestamp"),
    })
}

/// Any body a sender may sign: JSON, a form, or text. A CloudEvent stays one only with its own provider.
fn generic(plan: &Plan, arrival: &Arrival, now: DateTime<Utc>) -> Result<Made, Wrong> {
    let kind = arrival.media_type().unwrap_or_default();
    let named = Named {
        ty: "webhook.received".to_owned(),
        ..Named::default()
    };
    let event = begun(plan, arrival, named, now);
    let event = if is_json_media_type(&kind) || kind == FORM {
        event.json(json(arrival, true)?.0)
    } else if kind.starts_with("text/") {
        let text = DataKind::Text;
        event
            .attribute("datacontenttype", kind)
            .data(text, arrival.body.clone())
    } else {
        return Err(Wrong::MediaType("JSON, a form, or text"));
    };
    Ok(Made::Events(vec![event.build()?]))
}

fn cloud_events(arrival: &Arrival) -> Result<Vec<Event>, Wrong> {
    match arrival.media_type().as_deref() {
        Some(STRUCTURED_CONTENT_TYPE) => Ok(vec![Event::from_json(&arrival.body)?]),
        Some(BATCH_CONTENT_TYPE) => Ok(Event::batch_from_json(&arrival.body, MAX_BATCH)?),
        _ if is_binary_mode(&arrival.headers) => {
            Ok(vec![Event::from_headers(&arrival.headers, arrival.body.clone())?])
        }
        _ => Err(Wrong::MediaType(
            "that of a CloudEvent, and there are no ce- headers",
        )),
    }
}

/// Text, or a number as text, at a place of a document; nothing when it is empty.
pub(crate) fn text(value: &Value, pointer: &str) -> Option<String> {
    match value.pointer(pointer)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A time in RFC 3339.
pub(crate) fn timestamp(value: &Value, pointer: &str) -> Option<DateTime<Utc>> {
    let text = value.pointer(pointer)?.as_str()?;
    Some(DateTime::parse_from_rfc3339(text).ok()?.to_utc())
}

fn seconds(value: &Value, pointer: &str) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(value.pointer(pointer)?.as_i64()?, 0)
}

fn hash(body: &[u8]) -> String {
    let digest = Sha256::digest(body);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
