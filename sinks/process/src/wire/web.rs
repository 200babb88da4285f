//! A call as an HTTP request, for functions that are written for such: CloudEvents in binary mode, and through an API the
//! request that came there; and what their response means. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use dispatch_contract::{FunctionError, FunctionErrorKind, Invocation};
use http::header::{CONTENT_TYPE, HOST, HeaderMap};
use http::request::Builder;
use http::{Request, StatusCode};
use tokio::time::Instant;

use super::request::ApiRequest;
use super::{Answer, cloudevent, response};
use crate::message;
use crate::settings::MAX_RESULT;

/// The longest part of an answer that becomes the message of an error.
const MAX_TEXT: usize = 8 * 1024;

/// What a function was asked, which says how to read its response.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asked {
    /// An event.
    Event,
    /// What somebody asked an API: the response is for them.
    Request,
}

/// The request of a call to `function`, which is asked at `host` unless somebody named another.
pub(super) fn request(
    invocation: &Invocation,
    function: &str,
    host: &str,
    deadline: Instant,
) -> Result<(Request<Bytes>, Asked), FunctionError> {
    let (builder, body, asked) = match ApiRequest::of(invocation)? {
        None => {
            let headers = cloudevent::headers(invocation, function, None)?;
            let builder = Request::post("/")
                .header(HOST, host)
                .header(CONTENT_TYPE, "application/json");
            (
                with_headers(builder, headers),
                invocation.payload.clone(),
                Asked::Event,
            )
        }
        Some(api) => {
            let headers = cloudevent::headers(invocation, function, Some(&api))?;
            let builder = Request::builder()
                .method(api.told.method.as_str())
                .uri(api.target());
            let mut all = api.headers;
            all.entry(HOST.to_string()).or_insert_with(|| host.to_owned());
            all.extend(headers);
            (with_headers(builder, all), api.body.bytes, Asked::Request)
        }
    };
    let request = builder
        .header("dispatch-deadline", super::rfc3339(deadline))
        .body(body)
        .map_err(|e| message::invalid(e.to_string()))?;
    Ok((request, asked))
}

/// What the response comes to.
pub(super) fn answer(asked: Asked, status: StatusCode, headers: &HeaderMap, body: Bytes) -> Answer {
    match asked {
        Asked::Request if !crashed(status, headers) => response::chosen(status, headers, &body),
        Asked::Request | Asked::Event => result(status, headers, body),
    }
}

fn with_headers(builder: Builder, headers: impl IntoIterator<Item = (String, String)>) -> Builder {
    let all = headers.into_iter();
    all.fold(builder, |builder, (name, value)| builder.header(name, value))
}

/// Whether the framework, and not the function, says so: Functions Framework marks what it answers when a function throws.
fn crashed(status: StatusCode, headers: &HeaderMap) -> bool {
    status.is_server_error() && headers.contains_key("x-google-status")
}

/// Any answer as a result: JSON as it is, text as a string, bytes in base64.
fn result(status: StatusCode, headers: &HeaderMap, body: Bytes) -> Answer {
    if status.is_client_error() || status.is_server_error() {
        return Answer::failed(FunctionError {
            kind: match status.is_client_error() {
                true => FunctionErrorKind::Input,
                false => FunctionErrorKind::Function,
            },
            message: match body.is_empty() || is_page(status, headers, &body) {
                true => format!("the function answered {}", status.as_u16()),
                false => format!("the function answered {}: {}", status.as_u16(), clipped(&body)),
            },
            stacktrace: Vec::new(),
        });
    }
    let value = super::json_of(&body).unwrap_or_else(|| match std::str::from_utf8(&body) {
        Ok(text) => serde_json::Value::from(text).to_string().into(),
        Err(_) => serde_json::Value::from(STANDARD.encode(&body)).to_string().into(),
    });
    match value.len() > MAX_RESULT {
        true => Answer::failed(message::too_long(value.len())),
        false => Answer::of(value),
    }
}

/// An error page tells nothing that its status does not. Flask calls any text HTML, also what a function chose to say.
fn is_page(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let html = kind.is_some_and(|kind| kind.starts_with("text/html"));
    html && (status.is_server_error() || body.trim_ascii_start().starts_with(b"<"))
}

/// The text of a body, as far as it becomes the message of an error.
pub(super) fn clipped(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(MAX_TEXT)]);
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_function_answers_is_a_result_or_whose_fault_it_is() {
        use FunctionErrorKind::{Function, Input};
        type Said = Result<&'static str, (FunctionErrorKind, &'static str)>;
        let table: [(u16, &str, &[u8], Said); 9] = [
            (200, "application/json", b"{\"a\": 1}", Ok("{\"a\": 1}")),
            (200, "text/html", b"OK", Ok("\"OK\"")),
            (204, "", b"", Ok("null")),
            (200, "text/plain", b"42", Ok("42")),
            (200, "application/octet-stream", b"\xff\x00", Ok("\"/wA=\"")),
            (
                404,
                "text/plain",
                b"no such vm",
                Err((Input, "the function answered 404: no such vm")),
            ),
            (
                500,
                "text/html",
                b"<h1>Oops</h1>",
                Err((Function, "the function answered 500")),
            ),
            (
                404,
                "text/html",
                b"no such vm",
                Err((Input, "the function answered 404: no such vm")),
            ),
            (503, "", b"", Err((Function, "the function answered 503"))),
        ];
        for (status, kind, body, wanted) in table {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, kind.parse().unwrap());
            let answer = result(
                StatusCode::from_u16(status).unwrap(),
                &headers,
                Bytes::from_static(body),
            );
            match (answer.result, wanted) {
                (Ok(got), Ok(wanted)) => assert_eq!(got, wanted),
                (Err(got), Err((kind, message))) => assert_eq!((got.kind, &*got.message), (kind, message)),
                (got, wanted) => panic!("{status}: {got:?} {wanted:?}"),
            }
        }
    }
}
