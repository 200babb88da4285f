//! From the end of a call to an HTTP response. Pure.
//!
//! What a function returns is the body, as JSON. One that wants to say more returns an object with `statusCode`, as
//! behind API gateways elsewhere: `headers`, `multiValueHeaders`, `cookies`, `body` and `isBase64Encoded` beside it
//! and nothing else. A call that failed is never 200: see [`status_of`].

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dispatch_contract::{FunctionErrorKind, InvocationError};
use dispatch_schemas::{Run, Status};
use http::StatusCode;
use http::header::{
    CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, SET_COOKIE,
};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::functions::Ended;
use crate::gateway::headers;
use crate::rest::error::ApiError;

/// Names the run of an answer.
pub(super) const RUN: HeaderName = HeaderName::from_static("dispatch-run");
/// The first words of an error that a schema made.
const SCHEMA: &str = "Input invalid against schema";
/// The first words of an error that a missing secret made: not the caller's fault.
const SECRETS: &str = "error when retrieving secrets";

/// An answer whose status, headers and body the function chose.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Chosen {
    #[serde(deserialize_with = "number_or_text")]
    status_code: u16,
    #[serde(default)]
    headers: Option<Map<String, Value>>,
    #[serde(default)]
    multi_value_headers: Option<Map<String, Value>>,
    #[serde(default)]
    cookies: Option<Vec<String>>,
    #[serde(default)]
    body: Option<Value>,
    #[serde(default)]
    is_base64_encoded: bool,
}

/// `200`, or `"200"` as many functions have it.
fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    let number = match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_u64().and_then(|n| u16::try_from(n).ok()),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| D::Error::custom("statusCode is no status"))
}

/// The response to whoever waited.
pub(super) fn response(function: &str, ended: &Ended) -> Response {
    let mut response = match (&ended.failure, &ended.run) {
        (Some(error), _) => failed(function, error),
        (None, Some(run)) if run.status == Some(Status::Ready) => returned(function, run),
        (None, _) => failed_of(StatusCode::BAD_GATEWAY, format!("function {function} failed")),
    };
    if let Some(run) = &ended.run
        && let Ok(name) = HeaderValue::from_str(&run.name.to_string())
    {
        response.headers_mut().insert(RUN, name);
    }
    response
}

/// The status of a failed call, and what its caller is told: their own faults in full, others not at all.
///
/// | failure | status |
/// |---|---|
/// | input that its schema refuses | 422 |
/// | `InputError` | 400 |
/// | `FunctionError`, `SystemError` | 502 |
/// | no time left | 504 |
/// | busy | 429 |
/// | not READY, not reachable | 503 |
fn status_of(error: &InvocationError) -> StatusCode {
    match error {
        InvocationError::Function(error) if error.kind == FunctionErrorKind::Input => {
            match error.message.as_str() {
                text if text.starts_with(SCHEMA) => StatusCode::UNPROCESSABLE_ENTITY,
                text if text.starts_with(SECRETS) => StatusCode::BAD_GATEWAY,
                _ => StatusCode::BAD_REQUEST,
            }
        }
        InvocationError::Function(_) => StatusCode::BAD_GATEWAY,
        InvocationError::Timeout => StatusCode::GATEWAY_TIMEOUT,
        InvocationError::Throttled => StatusCode::TOO_MANY_REQUESTS,
        InvocationError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn failed(function: &str, error: &InvocationError) -> Response {
    let status = status_of(error);
    let message = match error {
        InvocationError::Function(error) if status.is_client_error() => error.message.clone(),
        InvocationError::Function(_) => format!("function {function} failed"),
        InvocationError::Timeout => format!("function {function} did not answer in time"),
        InvocationError::Throttled => format!("function {function} is busy"),
        InvocationError::Unavailable(_) => format!("function {function} is not READY"),
    };
    let mut response = failed_of(status, message);
    if matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    ) {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn failed_of(status: StatusCode, message: String) -> Response {
    ApiError::new(status, message).into_response()
}

fn returned(function: &str, run: &Run) -> Response {
    let Some(output) = run.output.as_deref().map(RawValue::get) else {
        return StatusCode::OK.into_response();
    };
    if output.starts_with('{')
        && output.contains("\"statusCode\"")
        && let Ok(chosen) = serde_json::from_str::<Chosen>(output)
    {
        return chosen_response(chosen).unwrap_or_else(|problem| {
            let message = format!("function {function} returned an answer that cannot be sent: {problem}");
            failed_of(StatusCode::BAD_GATEWAY, message)
        });
    }
    match compact(output) {
        empty if empty == "\"\"" => StatusCode::OK.into_response(),
        json => ([(CONTENT_TYPE, "application/json")], json).into_response(),
    }
}

fn chosen_response(chosen: Chosen) -> Result<Response, String> {
    let status = StatusCode::from_u16(chosen.status_code)
        .ok()
        .filter(|status| (200..=599).contains(&status.as_u16()))
        .ok_or_else(|| format!("statusCode {} is not 200 to 599", chosen.status_code))?;
    let mut map = HeaderMap::new();
    for (name, value) in chosen.headers.unwrap_or_default() {
        add(&mut map, &name, &value)?;
    }
    for (name, values) in chosen.multi_value_headers.unwrap_or_default() {
        let Value::Array(values) = values else {
            return Err(format!("multiValueHeaders.{name} is no list"));
        };
        values.iter().try_for_each(|value| add(&mut map, &name, value))?;
    }
    for cookie in chosen.cookies.unwrap_or_default() {
        add(&mut map, SET_COOKIE.as_str(), &Value::String(cookie))?;
    }
    headers::drop_hop_by_hop(&mut map);
    map.remove(CONTENT_LENGTH);
    let mut body = match chosen.body {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) if chosen.is_base64_encoded => STANDARD
            .decode(text)
            .map_err(|_| "body is not base64".to_owned())?,
        Some(Value::String(text)) => text.into_bytes(),
        Some(json) => {
            map.entry(CONTENT_TYPE)
                .or_insert(HeaderValue::from_static("application/json"));
            json.to_string().into_bytes()
        }
    };
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        body.clear();
    }
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    *response.headers_mut() = map;
    Ok(response)
}

fn add(map: &mut HeaderMap, name: &str, value: &Value) -> Result<(), String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return Err(format!("header {name} is no text")),
    };
    let (Ok(key), Ok(value)) = (
        name.parse::<HeaderName>(),
        HeaderValue::from_bytes(text.as_bytes()),
    ) else {
        return Err(format!("header {name:?} cannot be sent"));
    };
    map.append(key, value);
    Ok(())
}

/// JSON without blanks between its parts; numbers stay as they were written.
fn compact(json: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    let mut compact = String::with_capacity(json.len());
    // Where what is kept and not yet copied begins: nearly always there is one such piece.
    let mut from = 0;
    for (at, byte) in json.bytes().enumerate() {
        match (quoted, escaped, byte) {
            (true, true, _) => escaped = false,
            (true, false, b'\\') => escaped = true,
            (_, false, b'"') => quoted = !quoted,
            (false, _, blank) if blank.is_ascii_whitespace() => {
                compact.push_str(&json[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    compact.push_str(&json[from..]);
    compact
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use axum::body::to_bytes;
    use dispatch_contract::FunctionError;

    async fn told(ended: Ended) -> (u16, String, Vec<String>) {
        let response = response("f", &ended);
        let status = response.status().as_u16();
        let line =
            |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
        let shown: Vec<_> = response
            .headers()
            .iter()
            .filter(|(name, _)| *name != RUN)
            .map(line)
            .collect();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8_lossy(&body).into_owned(), shown)
    }

    fn output(json: &str) -> Ended {
        let run = Run {
            status: Some(Status::Ready),
            output: (json != "null").then(|| RawValue::from_string(json.to_owned()).unwrap()),
            ..Run::default()
        };
        Ended {
            run: Some(Arc::new(run)),
            failure: None,
        }
    }

    #[tokio::test]
    async fn what_a_function_returns_is_the_body_unless_it_chose_the_answer() {
        let json = "content-type: application/json";
        let table: [(&str, u16, &str, &[&str]); 13] = [
            (
                r#"{ "a b" : "c \" d" , "n": 1.0 }"#,
                200,
                r#"{"a b":"c \" d","n":1.0}"#,
                &[json],
            ),
            ("null", 200, "", &[]),
            (r#""""#, 200, "", &[]),
            ("\"text\"", 200, "\"text\"", &[json]),
            (r#"{"status":200}"#, 200, r#"{"status":200}"#, &[json]),
            (
                r#"{"statusCode":201,"headers":{"x-a":"1","Location":"/x"},"body":"made"}"#,
                201,
                "made",
                &["location: /x", "x-a: 1"],
            ),
            (
                r#"{"statusCode":404,"body":{"no":1}}"#,
                404,
                r#"{"no":1}"#,
                &[json],
            ),
            (r#"{"statusCode":"404","body":"none"}"#, 404, "none", &[]),
            (
                r#"{"statusCode":200,"body":"aGk=","isBase64Encoded":true,"cookies":["a=1","b=2"]}"#,
                200,
                "hi",
                &["set-cookie: a=1", "set-cookie: b=2"],
            ),
            (
                r#"{"statusCode":204,"body":"x","headers":{"connection":"close","content-length":"9"}}"#,
                204,
                "",
                &[],
            ),
            (
                r#"{"statusCode":200,"mine":1}"#,
                200,
                r#"{"statusCode":200,"mine":1}"#,
                &[json],
            ),
            (r#"{"statusCode":101}"#, 502, "", &[json]),
            (r#"{"statusCode":200,"headers":{"x y":"1"}}"#, 502, "", &[json]),
        ];
        for (returned, status, body, headers) in table {
            let (said, text, shown) = told(output(returned)).await;
            assert_eq!(
                (said, &*shown),
                (
                    status,
                    &*headers.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>()
                ),
                "{returned}"
            );
            assert!(
                text == body || said == 502 && text.contains("cannot be sent"),
                "{returned}: {text}"
            );
        }
    }

    #[tokio::test]
    async fn a_failed_call_is_never_200_and_tells_no_secrets_of_the_function() {
        use FunctionErrorKind::{Function, Input, System};
        let error = |kind, message: &str| {
            InvocationError::Function(FunctionError {
                kind,
                message: message.to_owned(),
                stacktrace: vec!["inside".to_owned()],
            })
        };
        let table = [
            (error(Input, "name is missing"), 400, "name is missing"),
            (
                error(Input, "Input invalid against schema: x"),
                422,
                "Input invalid against schema: x",
            ),
            (
                error(Input, "error when retrieving secrets from secret store: s"),
                502,
                "function f failed",
            ),
            (
                error(Function, "at line 7 of the function"),
                502,
                "function f failed",
            ),
            (error(System, "worker died"), 502, "function f failed"),
            (InvocationError::Timeout, 504, "function f did not answer in time"),
            (InvocationError::Throttled, 429, "function f is busy"),
            (
                InvocationError::Unavailable("x".into()),
                503,
                "function f is not READY",
            ),
        ];
        for (failure, status, message) in table {
            let ended = Ended {
                run: None,
                failure: Some(failure),
            };
            let (said, body, _) = told(ended).await;
            let expected = format!(r#"{{"code":{status},"message":"{message}"}}"#);
            assert_eq!((said, body), (status, expected));
        }
        let broken = Run {
            status: Some(Status::Error),
            ..Run::default()
        };
        let ended = Ended {
            run: Some(Arc::new(broken)),
            failure: None,
        };
        assert_eq!(told(ended).await.0, 502);
    }
}
