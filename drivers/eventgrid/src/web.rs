//! Requests of this driver to the outside: HTTPS, no redirects, a bound on every wait and every body.

use std::net::IpAddr;
use std::time::Duration;

use bytes::BytesMut;
use dispatch_driver_sdk::{BodyError, SettingError, body, with_causes};
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use url::{Host, Url};

/// Why there is no answer that can be used: one line, no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WebError {
    /// It cannot be reached, or broke off.
    #[error("cannot reach {host}: {why}")]
    Unreachable { host: String, why: String },
    /// It said something else than yes.
    #[error("{host} says {status}: {words}")]
    Refused {
        host: String,
        status: StatusCode,
        words: String,
        after: Option<Duration>,
    },
    /// It said something that makes no sense.
    #[error("{host} makes no sense: {why}")]
    Senseless { host: String, why: String },
}

impl WebError {
    /// The status, if there was an answer.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
    /// How long it asked to be left alone.
    pub(crate) fn after(&self) -> Option<Duration> {
        match self {
            Self::Refused { after, .. } => *after,
            _ => None,
        }
    }
}

/// A URL that may be spoken to: https, or anything on this machine.
pub(crate) fn secure(key: &str, text: &str) -> Result<Url, SettingError> {
    let problem = || {
        let allowed = "must begin with https:// (http:// only for this machine) and name a host";
        SettingError::invalid(key, format!("{text:?} {allowed}"))
    };
    let url = Url::parse(text).map_err(|_| problem())?;
    match is_secure(&url) {
        true => Ok(url),
        false => Err(problem()),
    }
}

/// Whether nobody on the way can read or change what is said.
pub(crate) fn is_secure(url: &Url) -> bool {
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => return false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && is_here)
}

/// A 2xx answer.
pub(crate) struct Answer {
    host: String,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    body: BytesMut,
}

/// Sends once and reads a 2xx answer of at most so many bytes as JSON.
pub(crate) async fn json<T: DeserializeOwned>(
    request: reqwest::RequestBuilder,
    most: usize,
) -> Result<T, WebError> {
    let Answer { host, body, .. } = answer(request, most).await?;
    serde_json::from_slice(&body).map_err(|error| senseless(&host, error.to_string()))
}

/// Sends once; anything but 2xx with at most so many bytes is an error.
pub(crate) async fn answer(request: reqwest::RequestBuilder, most: usize) -> Result<Answer, WebError> {
    let mut response = request.send().await.map_err(|error| unreachable(&error))?;
    let host = response.url().host_str().unwrap_or_default().to_owned();
    let status = response.status();
    let body = body(&mut response, most).await.map_err(|error| match error {
        BodyError::Broken(error) => unreachable(&error),
        BodyError::TooLarge(most) => senseless(&host, format!("more than {most} bytes")),
    })?;
    if !status.is_success() {
        return Err(WebError::Refused {
            words: words(&body),
            after: dispatch_contract::retry_after(response.headers(), chrono::Utc::now()),
            host,
            status,
        });
    }
    let headers = std::mem::take(response.headers_mut());
    Ok(Answer { host, headers, body })
}

fn senseless(host: &str, why: String) -> WebError {
    WebError::Senseless {
        host: host.to_owned(),
        why,
    }
}

/// Without the URL, whose query may hold what is nobody's business.
fn unreachable(error: &reqwest::Error) -> WebError {
    let host = error.url().and_then(Url::host_str).unwrap_or("it");
    let what = if error.is_timeout() {
        "took too long"
    } else {
        "failed"
    };
    WebError::Unreachable {
        host: host.to_owned(),
        why: with_causes(what, error),
    }
}

/// The beginning of what was said, on one line.
fn words(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(1000)]).into_owned();
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(300).collect()
}
