//! The hub's REST interface, as seen by the commands.
//!
//! Errors are of two kinds: the hub said no ([`ClientError::Answer`]), or it could not be asked
//! ([`ClientError::Connection`]). Nothing is tried twice: a person is watching.

use std::time::Duration;

use dispatch_contract::ExposeSecret as _;
use futures_util::StreamExt as _;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LINK};
use reqwest::{Method, Response, StatusCode, Url};
use serde_json::Value;

use crate::args::global::Settings;
use crate::stream::Feed;

const ORGANIZATION: HeaderName = HeaderName::from_static("x-dispatch-org");
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A blocking run may take as long as its function may.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15 * 60);
const MAX_ANSWER_BYTES: usize = 256 * 1024 * 1024;

/// Why a command got no answer it can use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The hub refused.
    #[error("[Code: {code}] {message}")]
    Answer {
        /// Status code.
        code: i64,
        /// The hub's own words.
        message: String,
    },
    /// The hub could not be asked, or its answer not read.
    #[error("received unexpected error: {reason}{hint}")]
    Connection {
        /// What went wrong.
        reason: String,
        /// How to go on.
        hint: String,
    },
    /// The settings make no request.
    #[error("{0}")]
    Settings(String),
}

impl ClientError {
    /// Whether the hub said that there is no such thing.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Answer { code: 404, .. })
    }
}

/// Talks to one hub.
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
}

/// A path on the hub: segments and query, encoded when sent.
#[derive(Clone)]
pub(crate) struct Route {
    path: &'static str,
    name: Option<String>,
    action: Option<&'static str>,
    query: Vec<(&'static str, String)>,
}

impl Route {
    /// A collection.
    pub(crate) fn to(path: &'static str) -> Self {
        Self {
            path,
            name: None,
            action: None,
            query: Vec::new(),
        }
    }

    /// One of a collection.
    pub(crate) fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// What is to be done with it.
    pub(crate) fn action(mut self, action: &'static str) -> Self {
        self.action = Some(action);
        self
    }

    /// With a query parameter.
    pub(crate) fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.query.push((key, value.into()));
        self
    }
}

impl Client {
    /// A client with these settings.
    pub(crate) fn new(settings: &Settings) -> Result<Self, ClientError> {
        let wrong =
            |what: &str, error: &dyn std::fmt::Display| ClientError::Settings(format!("{what}: {error}"));
        let mut headers = HeaderMap::new();
        if let Some(name) = &settings.organization {
            let value = HeaderValue::from_str(name).map_err(|e| wrong("organization", &e))?;
            headers.insert(ORGANIZATION, value);
        }
        if let Some(token) = &settings.token {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))
                .map_err(|e| wrong("token", &e))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(Self {
            http: http_client(headers, settings.insecure)?,
            base: Url::parse(&settings.base).map_err(|e| wrong(&settings.base, &e))?,
        })
    }

    /// Reads.
    pub(crate) async fn get(&self, route: Route) -> Result<Value, ClientError> {
        self.json(Method::GET, route, None).await
    }

    /// Reads a page of a list; whether there may be another.
    pub(crate) async fn page(&self, route: Route) -> Result<(Value, bool), ClientError> {
        let request = self.http.get(self.url(route)?).timeout(ANSWER_TIMEOUT);
        let response = self.accepted(request.send().await).await?;
        let link = response.headers().get(LINK).and_then(|link| link.to_str().ok());
        let more = link.is_some_and(|link| link.contains("rel=\"next\""));
        Ok((self.value(response).await?, more))
    }

    /// Creates, or asks for something to be done.
    pub(crate) async fn post(&self, route: Route, body: &Value) -> Result<Value, ClientError> {
        self.json(Method::POST, route, Some(("application/json", body)))
            .await
    }

    /// Sends an event in CloudEvents' structured form.
    pub(crate) async fn post_event(&self, route: Route, event: &Value) -> Result<Value, ClientError> {
        self.json(
            Method::POST,
            route,
            Some((dispatch_contract::STRUCTURED_CONTENT_TYPE, event)),
        )
        .await
    }

    /// Replaces.
    pub(crate) async fn put(&self, route: Route, body: &Value) -> Result<Value, ClientError> {
        self.json(Method::PUT, route, Some(("application/json", body)))
            .await
    }

    /// Deletes.
    pub(crate) async fn delete(&self, route: Route) -> Result<Value, ClientError> {
        self.json(Method::DELETE, route, None).await
    }

    /// Follows a stream of server-sent events until it ends.
    pub(crate) async fn follow(&self, route: Route) -> Result<Feed, ClientError> {
        let request = self
            .http
            .get(self.url(route)?)
            .header(ACCEPT, "text/event-stream");
        let response = self.accepted(request.send().await).await?;
        Ok(Feed::new(response))
    }

    async fn json(
        &self,
        method: Method,
        route: Route,
        body: Option<(&str, &Value)>,
    ) -> Result<Value, ClientError> {
        let mut request = self
            .http
            .request(method, self.url(route)?)
            .timeout(ANSWER_TIMEOUT);
        if let Some((content_type, body)) = body {
            request = request.header(CONTENT_TYPE, content_type).body(body.to_string());
        }
        let response = self.accepted(request.send().await).await?;
        self.value(response).await
    }

    async fn value(&self, response: Response) -> Result<Value, ClientError> {
        let bytes = bounded(response, MAX_ANSWER_BYTES).await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|error| self.unreadable(&error))
    }

    fn url(&self, route: Route) -> Result<Url, ClientError> {
        let mut url = self.base.clone();
        url.set_path(route.path);
        if let Some(name) = &route.name {
            url.path_segments_mut()
                .map_err(|()| ClientError::Settings(format!("{} has no paths", self.base)))?
                .pop_if_empty()
                .push(name)
                .extend(route.action);
        }
        if !route.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&route.query);
        }
        Ok(url)
    }

    async fn accepted(&self, sent: reqwest::Result<Response>) -> Result<Response, ClientError> {
        let response = sent.map_err(|error| self.connection(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let bytes = bounded(response, 1024 * 1024).await.unwrap_or_default();
        Err(refusal(status, &bytes))
    }

    fn connection(&self, error: &reqwest::Error) -> ClientError {
        let hint = if error.is_connect() {
            format!(
                "\nis a hub running at {}? start one with: dispatch server --data DIR",
                self.base.as_str().trim_end_matches('/')
            )
        } else {
            String::new()
        };
        ClientError::Connection {
            reason: chain(error),
            hint,
        }
    }

    fn unreadable(&self, error: &dyn std::fmt::Display) -> ClientError {
        ClientError::Connection {
            reason: format!("the answer is not JSON: {error}"),
            hint: format!(
                "\nis {} the API of a hub?",
                self.base.as_str().trim_end_matches('/')
            ),
        }
    }
}

/// A client for files that are somewhere on the web.
pub(crate) async fn download(url: &Url, limit: usize) -> Result<Vec<u8>, ClientError> {
    let response = http_client(HeaderMap::new(), false)?
        .get(url.clone())
        .timeout(Duration::from_secs(60))
        .send()
        .await;
    let response =
        response
            .and_then(Response::error_for_status)
            .map_err(|error| ClientError::Connection {
                reason: chain(&error),
                hint: String::new(),
            })?;
    bounded(response, limit).await
}

fn http_client(headers: HeaderMap, insecure: bool) -> Result<reqwest::Client, ClientError> {
    // A second call finds the provider installed already, which is all that is wanted.
    rustls::crypto::ring::default_provider()
        .install_default()
        .unwrap_or_default();
    reqwest::Client::builder()
        .user_agent(concat!("dispatch/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .tls_danger_accept_invalid_certs(insecure)
        .default_headers(headers)
        .build()
        .map_err(|error| ClientError::Settings(chain(&error)))
}

async fn bounded(response: Response, limit: usize) -> Result<Vec<u8>, ClientError> {
    let broken = |reason: String| ClientError::Connection {
        reason,
        hint: String::new(),
    };
    let mut bytes = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| broken(chain(&error)))?;
        if bytes.len() + chunk.len() > limit {
            return Err(broken(format!("the answer is longer than {limit} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The hub's `{"code","message"}`, or what can be said without it.
fn refusal(status: StatusCode, bytes: &[u8]) -> ClientError {
    let body: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let message = match body.get("message").and_then(Value::as_str) {
        Some(message) => message.to_owned(),
        None => {
            let text = String::from_utf8_lossy(bytes);
            match text.lines().next().map(str::trim) {
                Some(line) if !line.is_empty() => line.chars().take(200).collect(),
                _ => status.canonical_reason().unwrap_or("no reason given").to_owned(),
            }
        }
    };
    ClientError::Answer {
        code: body
            .get("code")
            .and_then(Value::as_i64)
            .unwrap_or_else(|| status.as_u16().into()),
        message,
    }
}

/// The error with what caused it, once each.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_the_hub_said() {
        let table: [(u16, &str, &str); 4] = [
            (
                404,
                r#"{"code":404,"message":"function x not found"}"#,
                "[Code: 404] function x not found",
            ),
            (
                422,
                r#"{"code":602,"message":"X-Dispatch-Org in header is required"}"#,
                "[Code: 602] X-Dispatch-Org in header is required",
            ),
            (502, "bad gateway\n<html>", "[Code: 502] bad gateway"),
            (503, "", "[Code: 503] Service Unavailable"),
        ];

        for (status, body, expected) in table {
            let error = refusal(StatusCode::from_u16(status).unwrap(), body.as_bytes());
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn a_name_is_one_segment_whatever_it_holds() {
        let settings = Settings {
            base: "http://localhost:8080".to_owned(),
            organization: None,
            insecure: false,
            token: None,
            format: Default::default(),
        };
        let client = Client::new(&settings).unwrap();

        let url = client
            .url(Route::to("/v1/function").named("../a b?").with("tags", "x=y&z"))
            .unwrap();

        assert_eq!(
            url.as_str(),
            "http://localhost:8080/v1/function/..%2Fa%20b%3F?tags=x%3Dy%26z"
        );
    }
}
