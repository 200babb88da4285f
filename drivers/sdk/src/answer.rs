//! What the hub's answer to a POST means for the driver: a pure table.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

/// The longest wait the hub may ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Done.
    Taken,
    /// The same again, not before `after` if the hub said so.
    Retry { after: Option<Duration> },
    /// Too much at once: again in smaller pieces, and a single event never.
    Smaller,
    /// Never: this driver may not.
    Denied,
    /// Never: the content is wrong.
    Refused,
}

/// 404 is a hub behind a proxy that is just starting; 415 is a sink that takes no batches.
pub(crate) fn verdict(status: StatusCode, headers: &HeaderMap) -> Verdict {
    match status.as_u16() {
        200..=299 => Verdict::Taken,
        401 | 403 => Verdict::Denied,
        413 | 415 => Verdict::Smaller,
        404 | 408 | 409 | 425 | 429 => Verdict::Retry {
            after: after(headers),
        },
        400..=499 => Verdict::Refused,
        _ => Verdict::Retry {
            after: after(headers),
        },
    }
}

fn after(headers: &HeaderMap) -> Option<Duration> {
    dispatch_contract::retry_after(headers, chrono::Utc::now()).map(|wait| wait.min(LONGEST_RETRY_AFTER))
}

/// The hub's own words from `{"code","message"}`, or the beginning of whatever came.
pub(crate) fn message(status: StatusCode, body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Message {
        message: String,
    }
    let said = match serde_json::from_slice::<Message>(body) {
        Ok(Message { message }) => message,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let line: String = said
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(300)
        .collect();
    match line.is_empty() {
        true => status.to_string(),
        false => format!("{line} ({})", status.as_u16()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_one_meaning() {
        let none = Verdict::Retry { after: None };
        let table = [
            (200, Verdict::Taken),
            (202, Verdict::Taken),
            (204, Verdict::Taken),
            (302, none),
            (400, Verdict::Refused),
            (401, Verdict::Denied),
            (403, Verdict::Denied),
            (404, none),
            (408, none),
            (409, none),
            (413, Verdict::Smaller),
            (415, Verdict::Smaller),
            (422, Verdict::Refused),
            (429, none),
            (500, none),
            (503, none),
        ];
        for (status, expected) in table {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(verdict(status, &HeaderMap::new()), expected, "{status}");
        }
    }

    #[test]
    fn the_wait_the_hub_asks_for_is_honoured_within_limits() {
        let wait = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", text.parse().unwrap());
            verdict(StatusCode::SERVICE_UNAVAILABLE, &headers)
        };
        assert_eq!(
            wait("7"),
            Verdict::Retry {
                after: Some(Duration::from_secs(7))
            }
        );
        assert_eq!(
            wait("999999"),
            Verdict::Retry {
                after: Some(LONGEST_RETRY_AFTER)
            }
        );
        assert_eq!(wait("soon"), Verdict::Retry { after: None });
    }

    #[test]
    fn the_hubs_message_is_one_short_line() {
        let body = br#"{"code":400,"message":"event 2 of the batch:\n type: is required"}"#;
        assert_eq!(
            message(StatusCode::BAD_REQUEST, body),
            "event 2 of the batch: type: is required (400)"
        );
        assert_eq!(message(StatusCode::BAD_REQUEST, b""), "400 Bad Request");
    }
}
