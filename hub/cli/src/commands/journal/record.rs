//! A record of the journal as a line of JSON.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, SecondsFormat};
use dispatch_contract::{Attempt, Record, Settled};
use dispatch_journal::Located;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// Members in the order in which one reads them.
#[derive(Serialize)]
struct Line<'a> {
    sequence: u64,
    time: Option<String>,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Value::is_null")]
    about: Value,
    segment: &'a str,
    offset: u64,
}

/// The line, ended.
pub(super) fn line(located: &Located) -> anyhow::Result<Vec<u8>> {
    let (kind, event, about) = match &located.entry.record {
        Record::Event(committed) => {
            let mut text = Vec::new();
            committed.event.write_json(&mut text);
            let event = RawValue::from_string(String::from_utf8(text)?)?;
            let about = json!({
                "organization": committed.organization,
                "target": committed.target.map(|target| target.to_string()),
            });
            ("event", Some(event), about)
        }
        Record::Settlement(settlement) => {
            let settled = match settlement.settled {
                Settled::Delivered => "delivered",
                Settled::DeadLettered => "dead-lettered",
                Settled::Dropped => "dropped",
            };
            let about = json!({
                "subscription": settlement.subscription.to_string(),
                "event": settlement.event,
                "settled": settled,
                "attempts": settlement.attempts,
                "failures": settlement.failures.iter().map(failure).collect::<Vec<_>>(),
            });
            ("settlement", None, about)
        }
        Record::Through(through) => {
            let about = json!({
                "subscription": through.subscription.to_string(),
                "through": through.sequence,
                "butFor": through.but_for,
            });
            ("through", None, about)
        }
        Record::Checkpoint(checkpoint) => {
            let value = match std::str::from_utf8(&checkpoint.value) {
                Ok(text) => json!({ "text": text }),
                Err(_) => json!({ "base64": BASE64_STANDARD.encode(&checkpoint.value) }),
            };
            let about = json!({
                "organization": checkpoint.organization,
                "driver": checkpoint.driver,
                "value": value,
            });
            ("checkpoint", None, about)
        }
    };
    let segment = located.segment.file_name().unwrap_or_default().to_string_lossy();
    let line = Line {
        sequence: located.entry.sequence,
        time: time(located.arrival),
        kind,
        event,
        about,
        segment: &segment,
        offset: located.offset,
    };
    let mut bytes = serde_json::to_vec(&line)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn failure(attempt: &Attempt) -> Value {
    json!({
        "at": time(attempt.at),
        "tookMillis": attempt.took,
        "code": attempt.code,
        "reason": attempt.reason,
    })
}

fn time(millis: i64) -> Option<String> {
    let time = DateTime::from_timestamp_millis(millis)?;
    Some(time.to_rfc3339_opts(SecondsFormat::Millis, true))
}
