//! The body of an answer: a reply event, or bytes to get out of the way.

use std::time::Duration;

use bytes::Bytes;
use dispatch_contract::{Event, RESERVED_TYPE_PREFIX, STRUCTURED_CONTENT_TYPE, is_binary_mode};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};

/// The most bytes of a reply.
const MAX_REPLY: usize = 1 << 20;
/// The most bytes that are read only to keep a connection.
const MAX_DRAINED: usize = 64 * 1024;
/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// Why there is no reply event.
#[derive(Debug)]
pub(crate) enum ReplyError {
    /// The connection ended in the middle: the event's fate on the other side is not known.
    BrokenOff(String),
    /// It came whole, and is no event.
    Unusable(String),
}

/// Whether the answer claims to be an event.
pub(crate) fn is_reply(headers: &HeaderMap) -> bool {
    is_structured(headers) || is_binary_mode(headers)
}

fn is_structured(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type
        .and_then(|text| text.split(';').next())
        .map(str::trim);
    essence.is_some_and(|essence| essence.eq_ignore_ascii_case(STRUCTURED_CONTENT_TYPE))
}

/// Reads the event.
pub(crate) async fn read(headers: &HeaderMap, body: Incoming) -> Result<Event, ReplyError> {
    let body = match Limited::new(body, MAX_REPLY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Err(ReplyError::Unusable(format!(
                "it has more than {MAX_REPLY} bytes"
            )));
        }
        Err(error) => return Err(ReplyError::BrokenOff(error.to_string())),
    };
    event(headers, body).map_err(ReplyError::Unusable)
}

fn event(headers: &HeaderMap, body: Bytes) -> Result<Event, String> {
    let event = match is_structured(headers) {
        true => Event::from_json(&body),
        false => Event::from_headers(headers, body),
    };
    let event = event.map_err(|e| e.to_string())?;
    match event.ty().starts_with(RESERVED_TYPE_PREFIX) {
        true => Err(format!("type: {RESERVED_TYPE_PREFIX}* belongs to the hub")),
        false => Ok(event),
    }
}

/// Reads what is left so that the connection can be used again; gives up on what is long or slow.
pub(crate) async fn drain(body: Incoming) {
    let short = body
        .size_hint()
        .upper()
        .is_none_or(|bytes| bytes <= MAX_DRAINED as u64);
    if short && !body.is_end_stream() {
        let read = Limited::new(body, MAX_DRAINED).collect();
        // The status has said everything; a body that cannot be read changes nothing.
        tokio::time::timeout(DRAIN_TIME, read).await.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                http::HeaderName::from_static(name),
                http::HeaderValue::from_static(value),
            )
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn only_events_are_replies() {
        assert!(is_reply(&headers(&[(
            "content-type",
            "Application/CloudEvents+json; charset=utf-8"
        )])));
        assert!(is_reply(&headers(&[("ce-specversion", "1.0")])));
        assert!(!is_reply(&headers(&[("content-type", "application/json")])));
        assert!(!is_reply(&HeaderMap::new()));
    }

    #[test]
    fn the_hubs_own_types_cannot_be_replied() {
        let body = r#"{"specversion":"1.0","id":"1","source":"/s","type":"dispatch.run.succeeded"}"#;
        let problem = event(
            &headers(&[("content-type", STRUCTURED_CONTENT_TYPE)]),
            body.into(),
        )
        .unwrap_err();
        assert_eq!(problem, "type: dispatch.* belongs to the hub");
    }
}
