//! `/v1/events`: the door for CloudEvents 1.0, what came in last, and the live stream.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use axum::extract::{Query, Request, State};
use axum::http::header::ALLOW;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::sse::{self, Sse};
use axum::response::{IntoResponse, Response};
use axum::{BoxError, Json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use dispatch_contract::{Committed, DataKind, Entry, Log, RESERVED_TYPE_PREFIX, Record, Sequence};
use dispatch_schemas::EventRecord;
use futures_util::stream::{self, Stream, StreamExt as _};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::IntoParams;

use super::error::ApiError;
use super::organization::Organization;
use super::routes::{Routes, routes};
use crate::door::{self, Accepted};
use crate::hub::App;

/// Where events are posted to.
pub(crate) const PATH: &str = "/v1/events";

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;
/// The most data in one list.
const MAX_LIST_BYTES: usize = 16 << 20;
/// How many records of the log a list looks through, settlements among them.
const MAX_SCANNED: Sequence = 50_000;
const READ_BYTES: usize = 1 << 20;
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The routes.
pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(post, list, handshake))
}

/// Takes events: CloudEvents 1.0 over HTTP, structured, binary or batched. A batch is all or nothing; 202 means durable.
#[utoipa::path(post, path = "/v1/events", tag = "event", operation_id = "postEvents",
    request_body(content(("application/cloudevents+json"), ("application/cloudevents-batch+json"), ("application/octet-stream")),
        description = "One event, a batch, or (binary mode, attributes as ce- headers) the data alone"),
    responses((status = 202, body = Accepted), (status = 400, body = dispatch_schemas::Error), (status = 413, body = dispatch_schemas::Error),
        (status = 415, body = dispatch_schemas::Error), (status = 431, body = dispatch_schemas::Error),
        (status = 429, description = "More than the organization's quota; Retry-After says when", body = dispatch_schemas::Error),
        (status = 503, description = "Not now; Retry-After says when", body = dispatch_schemas::Error)))]
async fn post(State(app): State<App>, request: Request) -> Result<Response, ApiError> {
    let (Parts { headers, .. }, body) = request.into_parts();
    take(&app, headers, body).await
}

/// Reads a request's events and answers when they are durable. What they were read from is not kept until then: it
/// holds the connection's buffer, and thousands may wait for one sync.
pub(crate) async fn take<B>(app: &App, headers: HeaderMap, body: B) -> Result<Response, ApiError>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let Organization(organization) = Organization::of(&headers)?;
    let events = door::read(&headers, body, &app.limits.load()).await?;
    drop(headers);
    let accepted = door::accept(app.log.as_ref(), &app.quotas, &organization, events, None).await?;
    Ok(accepted.into_response())
}

/// The handshake of web hooks (CloudEvents HTTP 1.1 Web Hooks 1.0, section 4): every origin, at any rate.
#[utoipa::path(options, path = "/v1/events", tag = "event", operation_id = "allowEvents",
    responses((status = 200, description = "WebHook-Allowed-Origin and WebHook-Allowed-Rate")))]
async fn handshake(headers: HeaderMap) -> Response {
    let mut response = StatusCode::OK.into_response();
    let answer = response.headers_mut();
    answer.insert(ALLOW, HeaderValue::from_static("GET, POST, OPTIONS"));
    if let Some(origin) = headers.get("webhook-request-origin") {
        let name = HeaderName::from_static("webhook-allowed-origin");
        answer.insert(name, origin.clone());
        let name = HeaderName::from_static("webhook-allowed-rate");
        answer.insert(name, HeaderValue::from_static("*"));
    }
    response
}

/// Which events.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Only events of exactly this type. The hub's own (`dispatch.…`) are shown only if named here.
    #[serde(rename = "type")]
    ty: Option<String>,
    /// Only events of this source.
    source: Option<String>,
    /// Only events of this subject.
    subject: Option<String>,
    /// At most so many, the newest. 100 if not given, never more than 1000. Of no meaning to a stream.
    limit: Option<usize>,
    /// A stream of server-sent events, one record each, from now on.
    #[serde(default)]
    follow: bool,
}

impl Which {
    fn wants(&self, organization: &str, committed: &Committed) -> bool {
        let event = &committed.event;
        let same = |asked: &Option<String>, is: Option<&str>| asked.is_none() || asked.as_deref() == is;
        committed.organization.as_ref() == organization
            && same(&self.ty, Some(event.ty()))
            && same(&self.source, Some(event.source()))
            && same(&self.subject, event.subject())
            && (self.ty.is_some() || !event.ty().starts_with(RESERVED_TYPE_PREFIX))
    }
}

/// The events that came in last, oldest first; or, with `follow`, those that come in.
#[utoipa::path(get, path = "/v1/events", tag = "event", operation_id = "getEvents", params(Which),
    responses((status = 200, content((Vec<EventRecord> = "application/json"), (EventRecord = "text/event-stream"))),
        (status = 503, body = dispatch_schemas::Error)))]
async fn list(
    State(app): State<App>,
    Organization(organization): Organization,
    Query(which): Query<Which>,
) -> Result<Response, ApiError> {
    if which.follow {
        let events = follow(&app, organization, which);
        return Ok(Sse::new(events)
            .keep_alive(sse::KeepAlive::new().interval(KEEP_ALIVE))
            .into_response());
    }
    Ok(Json(recent(app.log.as_ref(), &organization, &which).await?).into_response())
}

fn follow(
    app: &App,
    organization: Arc<str>,
    which: Which,
) -> impl Stream<Item = Result<sse::Event, Infallible>> + use<> {
    let tail = app.log.tail(app.log.head() + 1);
    let pages = stream::unfold(tail, |mut tail| async move { Some((tail.next().await?, tail)) });
    pages
        .flat_map(move |page| {
            let wanted = |entry: &Entry| shown(&organization, &which, entry);
            stream::iter(page.entries.iter().filter_map(wanted).collect::<Vec<_>>())
        })
        .filter_map(async |record| Some(Ok(sse::Event::default().json_data(record).ok()?)))
        .take_until(app.shutdown.clone().cancelled_owned())
}

fn shown(organization: &str, which: &Which, entry: &Entry) -> Option<EventRecord> {
    match &entry.record {
        Record::Event(committed) if which.wants(organization, committed) => {
            Some(record(entry.sequence, committed))
        }
        _ => None,
    }
}

/// Looks through the log from its end, window by window, until there are enough.
async fn recent(log: &dyn Log, organization: &str, which: &Which) -> Result<Vec<EventRecord>, ApiError> {
    let limit = which.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT);
    let head = log.head();
    let window = (limit as Sequence * 4).max(256);
    let mut found: VecDeque<(Sequence, Committed)> = VecDeque::new();
    let mut end = head;
    while end > 0 && head - end < MAX_SCANNED && found.len() < limit {
        let start = end.saturating_sub(window - 1).max(1);
        let mut older = scan(log, organization, which, start, end).await?;
        older.append(&mut found);
        found = older;
        end = start - 1;
    }
    let mut bytes = 0;
    let newest = found.iter().rev().take(limit).take_while(|(_, committed)| {
        bytes += committed.event.encoded().len();
        bytes <= MAX_LIST_BYTES
    });
    let mut records: Vec<_> = newest
        .map(|(sequence, committed)| record(*sequence, committed))
        .collect();
    records.reverse();
    Ok(records)
}

/// The wanted events from `start` to `end`; of more than fit into a list, the newest.
async fn scan(
    log: &dyn Log,
    organization: &str,
    which: &Which,
    start: Sequence,
    end: Sequence,
) -> Result<VecDeque<(Sequence, Committed)>, ApiError> {
    let mut found = VecDeque::new();
    let mut bytes = 0;
    let mut from = start;
    while from <= end {
        let page = log
            .read(from, READ_BYTES)
            .await
            .map_err(|error| ApiError::internal(error.to_string()))?;
        for entry in page.entries {
            let Record::Event(committed) = entry.record else {
                continue;
            };
            if entry.sequence <= end && which.wants(organization, &committed) {
                bytes += committed.event.encoded().len();
                found.push_back((entry.sequence, committed));
            }
            while bytes > MAX_LIST_BYTES && found.len() > 1 {
                let dropped = found.pop_front();
                bytes -= dropped.map_or(0, |(_, dropped)| dropped.event.encoded().len());
            }
        }
        if page.next <= from {
            break;
        }
        from = page.next;
    }
    Ok(found)
}

/// An event as it is listed.
fn record(sequence: Sequence, committed: &Committed) -> EventRecord {
    let event = &committed.event;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (data, data_base64) = match event.data() {
        None => (None, None),
        Some(data) => match data.kind {
            DataKind::Json => (RawValue::from_string(text(data.bytes)).ok(), None),
            DataKind::Text => (serde_json::value::to_raw_value(&text(data.bytes)).ok(), None),
            DataKind::Binary => (None, Some(STANDARD.encode(data.bytes))),
        },
    };
    EventRecord {
        sequence,
        organization: committed.organization.to_string(),
        arrival: DateTime::from_timestamp_millis(committed.arrival).unwrap_or_default(),
        id: event.id().to_owned(),
        source: event.source().to_owned(),
        ty: event.ty().to_owned(),
        subject: event.subject().map(str::to_owned),
        time: event.attribute("time").map(str::to_owned),
        datacontenttype: event.datacontenttype().map(str::to_owned),
        data,
        data_base64,
    }
}
