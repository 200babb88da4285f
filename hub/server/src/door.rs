//! What every door for CloudEvents 1.0 does: read a bounded request, refuse what is wrong by its place, and
//! answer only after the journal has it.
//!
//! The content type decides how a request is read (CloudEvents HTTP binding 1.0.2, section 3): structured,
//! batched, else binary if there are `ce-` headers. A batch is all or nothing. `data` is copied once, out of
//! the request into the event, and never again.

use std::sync::Arc;
use std::time::Duration;

use axum::BoxError;
use axum::body::{Body, HttpBody};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use dispatch_contract::{
    BATCH_CONTENT_TYPE, CE_PREFIX, Checkpoint, Event, EventError, Group, Log, MAX_ATTRIBUTES, NewEvent,
    RESERVED_TYPE_PREFIX, STRUCTURED_CONTENT_TYPE, is_binary_mode, is_json_media_type,
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::Limits;
use crate::quotas::Quotas;
use crate::rest::error::ApiError;

/// Headers of a request that are no attributes.
const MAX_OTHER_HEADERS: usize = 100;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// What is read and dropped of a body that is too large, so that its sender hears why.
const DISCARDED_BYTES: usize = 16 << 20;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// How a request carries its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Structured,
    Batched,
    Binary,
}

/// What the hub took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Accepted {
    /// Events that were new.
    pub(crate) accepted: usize,
    /// Events the hub already had.
    pub(crate) duplicates: usize,
}

impl IntoResponse for Accepted {
    fn into_response(self) -> Response {
        let body = match self {
            Self {
                accepted: 1,
                duplicates: 0,
            } => Body::from(r#"{"accepted":1,"duplicates":0}"#),
            Self { accepted, duplicates } => {
                Body::from(format!(r#"{{"accepted":{accepted},"duplicates":{duplicates}}}"#))
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::ACCEPTED;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }
}

/// Reads the events of a request.
pub(crate) async fn read<B>(headers: &HeaderMap, body: B, limits: &Limits) -> Result<Vec<Event>, ApiError>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    check_headers(headers)?;
    let mode = mode(headers)?;
    let most = match mode {
        Mode::Batched => limits.batch_bytes,
        Mode::Structured | Mode::Binary => limits.event_bytes,
    };
    let body = bounded(headers, body, most).await?;
    let events = match mode {
        Mode::Structured => vec![Event::from_json(&body)?],
        Mode::Binary => vec![Event::from_headers(headers, body)?],
        Mode::Batched => Event::batch_from_json(&body, limits.batch_events)?,
    };
    let place = |error: EventError, index| match mode {
        Mode::Batched => error.at(index),
        Mode::Structured | Mode::Binary => error,
    };
    for (index, event) in events.iter().enumerate() {
        check(event, limits).map_err(|error| place(error, index))?;
    }
    Ok(events)
}

/// Makes the events durable, with the driver's checkpoint if there is one, and says how many were new. Takes
/// nothing of what goes past the organization's quota.
pub(crate) async fn accept(
    log: &dyn Log,
    quotas: &Quotas,
    organization: &Arc<str>,
    events: Vec<Event>,
    checkpoint: Option<Checkpoint>,
) -> Result<Accepted, ApiError> {
    if events.is_empty() && checkpoint.is_none() {
        return Ok(Accepted {
            accepted: 0,
            duplicates: 0,
        });
    }
    quotas.fit(organization, &events, log)?;
    quotas.take(organization, events.len())?;
    let new = |event| NewEvent {
        organization: organization.clone(),
        event,
        target: None,
    };
    let group = Group {
        events: events.into_iter().map(new).collect(),
        checkpoint,
        ..Group::default()
    };
    let appended = log.append(group).await?;
    let accepted = Accepted {
        accepted: appended.accepted(),
        duplicates: appended.duplicates(),
    };
    crate::metrics::received(organization, accepted);
    Ok(accepted)
}

/// What no sender may say: the hub's own types, more than fits.
pub(crate) fn check(event: &Event, limits: &Limits) -> Result<(), EventError> {
    if event.ty().starts_with(RESERVED_TYPE_PREFIX) {
        let problem = format!("types that start with {RESERVED_TYPE_PREFIX:?} are the hub's own");
        return Err(EventError::new("type", problem));
    }
    let size = event.data().map_or(0, |data| data.bytes.len());
    if size > limits.event_bytes {
        let problem = format!("has {size} bytes; an event has at most {}", limits.event_bytes);
        return Err(EventError::new("data", problem));
    }
    Ok(())
}

fn check_headers(headers: &HeaderMap) -> Result<(), ApiError> {
    let is_attribute = |name: &str| name.starts_with(CE_PREFIX);
    let mut attributes = headers
        .keys()
        .filter_map(|name| name.as_str().strip_prefix(CE_PREFIX));
    // `specversion` does not count, `datacontenttype` is a header of its own.
    if let Some(name) = attributes.nth(MAX_ATTRIBUTES + 1) {
        let problem = format!("is one attribute too many: an event has at most {MAX_ATTRIBUTES}");
        return Err(EventError::new(name, problem).into());
    }
    let others = headers
        .iter()
        .filter(|(name, _)| !is_attribute(name.as_str()))
        .count();
    if others > MAX_OTHER_HEADERS {
        let message =
            format!("headers: {others} beside the event's attributes; at most {MAX_OTHER_HEADERS} are taken");
        return Err(ApiError::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            message,
        ));
    }
    Ok(())
}

fn mode(headers: &HeaderMap) -> Result<Mode, ApiError> {
    let content_type = match headers.get(CONTENT_TYPE) {
        Some(value) => value
            .to_str()
            .map_err(|_| EventError::new("datacontenttype", "is not ASCII"))?,
        None => "",
    };
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(STRUCTURED_CONTENT_TYPE) {
        Ok(Mode::Structured)
    } else if essence.eq_ignore_ascii_case(BATCH_CONTENT_TYPE) {
        Ok(Mode::Batched)
    } else if essence
        .to_ascii_lowercase()
        .starts_with("application/cloudevents")
    {
        let message = format!("content-type: {essence:?} is not known here; events are read as JSON");
        Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message))
    } else if is_binary_mode(headers) {
        Ok(Mode::Binary)
    } else if is_json_media_type(essence) {
        Ok(Mode::Structured)
    } else {
        let message = format!(
            "content-type: send {STRUCTURED_CONTENT_TYPE}, {BATCH_CONTENT_TYPE}, or the attributes as {CE_PREFIX} headers"
        );
        Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message))
    }
}

/// The whole body, at most `most` bytes of it, within a bounded time.
pub(crate) async fn bounded<B>(headers: &HeaderMap, body: B, most: usize) -> Result<Bytes, ApiError>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > most) {
        discard(body).await;
        return Err(too_large(most));
    }
    let mut limited = Limited::new(body, most);
    let collected = tokio::time::timeout(BODY_TIMEOUT, (&mut limited).collect()).await;
    match collected {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(most)),
        Ok(Err(error)) => Err(ApiError::bad_request(format!("body: broke off: {error}"))),
        Err(_) => Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("body: did not arrive within {} s", BODY_TIMEOUT.as_secs()),
        )),
    }
}

fn too_large(most: usize) -> ApiError {
    ApiError::too_large(format!(
        "body: is larger than {most} bytes, the most that is taken"
    ))
}

/// Reads a bounded part of a body that is too large, so that its sender hears why.
pub(crate) async fn discard(mut body: impl HttpBody<Data = Bytes> + Unpin) {
    let read = async {
        let mut left = DISCARDED_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(length) else {
                break;
            };
            left = rest;
        }
    };
    if tokio::time::timeout(DISCARD_TIMEOUT, read).await.is_err() {
        tracing::debug!("the sender of a body that is too large is slow");
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;
    use dispatch_contract::{AppendError, Appended, Page, Placed, ReadError, Sequence, Tail};
    use futures_util::future::{BoxFuture, ready};
    use http::header::RETRY_AFTER;

    use super::*;

    /// A log that answers every append with the same.
    struct Says(Result<Appended, AppendError>);

    impl Log for Says {
        fn append(&self, _: Group) -> BoxFuture<'_, Result<Appended, AppendError>> {
            Box::pin(ready(self.0.clone()))
        }
        fn note(&self, _: Group) -> BoxFuture<'_, Result<(), AppendError>> {
            Box::pin(ready(Ok(())))
        }
        fn read(&self, _: Sequence, _: usize) -> BoxFuture<'_, Result<Page, ReadError>> {
            Box::pin(ready(Ok(Page::default())))
        }
        fn tail(&self, _: Sequence) -> Box<dyn Tail> {
            unreachable!("nobody follows it")
        }
        fn head(&self) -> Sequence {
            0
        }
    }

    fn unbounded() -> Quotas {
        Quotas::new(&crate::config::Quotas::default())
    }

    fn event() -> Event {
        Event::builder("1", "/s", "t").build().unwrap()
    }

    #[tokio::test]
    async fn a_journal_that_takes_no_more_is_503_with_retry_after_and_never_an_acknowledgement() {
        let full = AppendError::Unavailable {
            reason: "no space left on device".into(),
            retry_after: Duration::from_secs(2),
        };
        for (error, status, after) in [
            (full, 503, Some("2")),
            (AppendError::Closed, 503, Some("5")),
            (AppendError::TooLarge("17 MiB".into()), 413, None),
        ] {
            let refused = accept(&Says(Err(error)), &unbounded(), &"o".into(), vec![event()], None).await;

            let response = refused.unwrap_err().into_response();
            let said = response.headers().get(RETRY_AFTER).map(|v| v.to_str().unwrap());
            assert_eq!((response.status().as_u16(), said), (status, after));
        }
    }

    #[tokio::test]
    async fn new_events_and_duplicates_are_told_apart() {
        let placed = vec![Placed::New(1), Placed::Duplicate(1)];
        let log = Says(Ok(Appended { placed }));

        let accepted = accept(&log, &unbounded(), &"o".into(), vec![event(), event()], None)
            .await
            .unwrap();

        assert_eq!((accepted.accepted, accepted.duplicates), (1, 1));
    }
}
