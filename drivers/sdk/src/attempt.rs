//! One request to the hub, and how long to wait before the next.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use reqwest::{RequestBuilder, Response};

use crate::causes::with_causes;

/// The most bytes read of an answer.
const MAX_ANSWER: usize = 256 * 1024;
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How long to wait after the `failed`-th failure: doubling, with a quarter of jitter either way.
pub(crate) fn wait(failed: u32, after: Option<Duration>) -> Duration {
    let doubled = FIRST_WAIT.saturating_mul(2u32.saturating_pow(failed.saturating_sub(1)));
    let backoff = doubled.min(LONGEST_WAIT).mul_f64(0.75 + fastrand::f64() / 2.0);
    match after {
        Some(after) => after.max(backoff),
        None => backoff,
    }
}

/// Sends the request once and reads the answer, bounded.
pub(crate) async fn once(request: &RequestBuilder) -> Result<(StatusCode, HeaderMap, Bytes), String> {
    let request = request.try_clone().ok_or("the request cannot be repeated")?;
    let mut response = request.send().await.map_err(|e| line(&e))?;
    let body = bounded(&mut response).await.map_err(|e| line(&e))?;
    Ok((response.status(), std::mem::take(response.headers_mut()), body))
}

async fn bounded(response: &mut Response) -> Result<Bytes, reqwest::Error> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk[..chunk.len().min(MAX_ANSWER - body.len())]);
        if body.len() == MAX_ANSWER {
            break;
        }
    }
    Ok(body.freeze())
}

/// An error with its causes and without the URL, on one line.
pub(crate) fn line(error: &dyn std::error::Error) -> String {
    with_causes("cannot reach it", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_half_a_minute_and_never_undercut_retry_after() {
        for (failed, least, most) in [
            (1, 150, 250),
            (2, 300, 500),
            (5, 2_400, 4_000),
            (99, 22_500, 37_500),
        ] {
            let millis = wait(failed, None).as_millis();
            assert!((least..=most).contains(&millis), "{failed}: {millis}");
        }
        assert_eq!(wait(1, Some(Duration::from_secs(9))), Duration::from_secs(9));
    }
}
