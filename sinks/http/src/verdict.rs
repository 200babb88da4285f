//! What a status code means: Knative's table (data plane specification, "Event delivery retry").
//!
//! | status | outcome |
//! |---|---|
//! | 2xx | accepted |
//! | 404, 408, 409, 429, 5xx | released: worth trying again, `Retry-After` is passed on |
//! | other 4xx | rejected |
//! | 3xx | rejected: redirects are not followed, and the next attempt would end the same way |
//! | anything else | released |

use chrono::Utc;
use dispatch_contract::{Outcome, retry_after};
use http::header::LOCATION;
use http::{HeaderMap, StatusCode};

/// Longest part of a `Location` that is shown.
const LOCATION_CHARS: usize = 120;

/// How the attempt ended. Pure but for the clock that a `Retry-After` date needs.
pub fn verdict(status: StatusCode, headers: &HeaderMap) -> Outcome {
    let code = Some(status.as_u16());
    let reason = format!("the sink answered {status}");
    match status.as_u16() {
        200..=299 => Outcome::Accepted,
        300..=399 => Outcome::Rejected {
            reason: format!("{reason}{}; redirects are not followed", to(headers)),
            code,
        },
        404 | 408 | 409 | 429 => released(reason, code, headers),
        400..=499 => Outcome::Rejected { reason, code },
        _ => released(reason, code, headers),
    }
}

fn released(reason: String, code: Option<u16>, headers: &HeaderMap) -> Outcome {
    Outcome::Released {
        reason,
        code,
        after: retry_after(headers, Utc::now()),
    }
}

/// Where the sink points to, without a query that may hold a token.
fn to(headers: &HeaderMap) -> String {
    let Some(location) = headers.get(LOCATION).and_then(|value| value.to_str().ok()) else {
        return String::new();
    };
    let place = location.split(['?', '#']).next().unwrap_or_default();
    let place = match place.split_once('@') {
        Some((_, after)) => after,
        None => place,
    };
    format!(" to {}", place.chars().take(LOCATION_CHARS).collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[derive(Debug, PartialEq)]
    enum Kind {
        Accepted,
        Released,
        Rejected,
    }

    fn kind(outcome: &Outcome) -> Kind {
        match outcome {
            Outcome::Accepted => Kind::Accepted,
            Outcome::Released { .. } => Kind::Released,
            Outcome::Rejected { .. } => Kind::Rejected,
        }
    }

    #[test]
    fn every_status_has_its_place_in_the_table() {
        for code in 100..=999 {
            let expected = match code {
                200..=299 => Kind::Accepted,
                404 | 408 | 409 | 429 | 500..=599 => Kind::Released,
                300..=499 => Kind::Rejected,
                _ => Kind::Released,
            };
            let outcome = verdict(StatusCode::from_u16(code).unwrap(), &HeaderMap::new());
            assert_eq!(kind(&outcome), expected, "{code}");
        }
        for (code, expected) in [
            (204, Kind::Accepted),
            (400, Kind::Rejected),
            (401, Kind::Rejected),
            (403, Kind::Rejected),
            (503, Kind::Released),
        ] {
            assert_eq!(
                kind(&verdict(StatusCode::from_u16(code).unwrap(), &HeaderMap::new())),
                expected
            );
        }
    }

    #[test]
    fn the_wait_the_sink_asks_for_is_passed_on() {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", "7".parse().unwrap());

        let outcome = verdict(StatusCode::SERVICE_UNAVAILABLE, &headers);

        let expected = Outcome::Released {
            reason: "the sink answered 503 Service Unavailable".to_owned(),
            code: Some(503),
            after: Some(Duration::from_secs(7)),
        };
        assert_eq!(outcome, expected);
    }

    #[test]
    fn a_redirect_says_where_to_but_shows_no_secret() {
        let mut headers = HeaderMap::new();
        headers.insert(
            "location",
            "https://u:pw@login.example/x?token=hunter2".parse().unwrap(),
        );

        let Outcome::Rejected { reason, code } = verdict(StatusCode::FOUND, &headers) else {
            panic!("not rejected");
        };

        assert_eq!(
            reason,
            "the sink answered 302 Found to login.example/x; redirects are not followed"
        );
        assert_eq!(code, Some(302));
    }
}
