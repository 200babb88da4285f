//! HTTP to a worker that listens on a loopback port: one request a call, on a connection of its own, because a server
//! may close an idle one at the moment it is used.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use dispatch_contract::{FunctionError, FunctionErrorKind, Invocation, Logs};
use http::header::{CONTENT_TYPE, HOST, HeaderMap};
use http::request::Builder;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;
use rustix::process::Pid;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::request::ApiRequest;
use super::{Answer, GreetError, WireError, cloudevent, owner, response};
use crate::message::{self, MAX_ANSWER};
use crate::settings::MAX_RESULT;

const POLL: Duration = Duration::from_millis(10);
/// The longest part of an answer that becomes the message of an error.
const MAX_TEXT: usize = 8 * 1024;
const MAX_TRACE: usize = 64;

/// What the bodies are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// A function message each way.
    Message,
    /// A CloudEvent whose data is the payload; whatever comes back is the result. A call through an API is the request that
    /// came there, and what comes back the whole answer.
    CloudEvent,
}

/// What a worker was asked, which says how to read its answer.
#[derive(Debug, Clone, Copy)]
enum Asked {
    /// A function message.
    Message,
    /// An event.
    Event,
    /// What somebody asked an API: the answer is for them.
    Request,
}

/// A port of this machine nobody listens on yet.
#[derive(Debug)]
pub(crate) struct Port(SocketAddr);

impl Port {
    pub(super) fn reserve() -> std::io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        Ok(Self(listener.local_addr()?))
    }

    pub(super) fn number(&self) -> u16 {
        self.0.port()
    }
}

/// A worker that listens.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    address: SocketAddr,
    dialect: Dialect,
    function: String,
}

/// Waits until the worker listens. That another process took the port meanwhile is told, and not spoken to.
pub(super) async fn greet(
    port: Port,
    dialect: Dialect,
    function: &str,
    leader: Pid,
) -> Result<Http, GreetError> {
    while TcpStream::connect(port.0).await.is_err() {
        sleep(POLL).await;
    }
    match owner::listens(port.0, leader) {
        false => Err(GreetError::Refused(format!(
            "another process of this machine took port {}",
            port.number()
        ))),
        true => Ok(Http {
            address: port.0,
            dialect,
            function: function.to_owned(),
        }),
    }
}

impl Http {
    /// Calls the function once.
    pub(crate) async fn call(&self, invocation: &Invocation, deadline: Instant) -> Result<Answer, WireError> {
        let (request, asked) = match self.request(invocation, deadline) {
            Ok(made) => made,
            Err(error) => return Ok(Answer::failed(error)),
        };
        let stream = TcpStream::connect(self.address)
            .await
            .map_err(|_| WireError::Closed)?;
        stream.set_nodelay(true).unwrap_or_default();
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.map_err(|_| WireError::Closed)?;
        let exchange = async {
            let answer = sender
                .send_request(request)
                .await
                .map_err(|_| WireError::Closed)?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, MAX_ANSWER)
                .collect()
                .await
                .map_err(|error| match error.downcast_ref::<LengthLimitError>() {
                    Some(_) => WireError::TooLong(MAX_ANSWER),
                    None => WireError::Closed,
                })?;
            Ok((head.status, head.headers, body.to_bytes()))
        };
        let mut exchange = std::pin::pin!(exchange);
        let answered = tokio::select! {
            biased;
            answered = &mut exchange => answered,
            // The connection may end before everything that came on it is read.
            _ = connection => exchange.await,
        };
        let (status, headers, body) = answered?;
        Ok(match asked {
            Asked::Message => function_message(status, &body),
            Asked::Request if !crashed(status, &headers) => response::chosen(status, &headers, &body),
            Asked::Request | Asked::Event => result(status, &headers, body),
        })
    }

    /// Frameworks answer with a status and print the rest.
    pub(super) fn explained(&self, error: FunctionError, logs: &Logs) -> FunctionError {
        let known = self.dialect == Dialect::Message || error.kind != FunctionErrorKind::Function;
        if known || !error.stacktrace.is_empty() || logs.stderr.is_empty() {
            return error;
        }
        let printed = &logs.stderr[logs.stderr.len().saturating_sub(MAX_TRACE)..];
        // Frames are indented, in Python and in JavaScript.
        let told = printed
            .iter()
            .rfind(|line| !line.is_empty() && !line.starts_with([' ', '\t', '}']));
        FunctionError {
            message: told.map_or(error.message.clone(), |line| format!("{}: {line}", error.message)),
            stacktrace: printed.to_vec(),
            ..error
        }
    }

    fn request(
        &self,
        invocation: &Invocation,
        deadline: Instant,
    ) -> Result<(Request<Full<Bytes>>, Asked), FunctionError> {
        let json = |builder: Builder| {
            let builder = builder.header(HOST, self.address.to_string());
            builder.header(CONTENT_TYPE, "application/json")
        };
        let api = match self.dialect {
            Dialect::Message => None,
            Dialect::CloudEvent => ApiRequest::of(invocation)?,
        };
        let (builder, body, asked) = match (self.dialect, api) {
            (Dialect::Message, _) => {
                let body = message::text(invocation)?.into();
                (json(Request::post("/")), body, Asked::Message)
            }
            (Dialect::CloudEvent, None) => {
                let headers = cloudevent::headers(invocation, &self.function, None)?;
                let builder = with_headers(json(Request::post("/")), headers);
                (builder, invocation.payload.clone(), Asked::Event)
            }
            (Dialect::CloudEvent, Some(api)) => {
                let headers = cloudevent::headers(invocation, &self.function, Some(&api))?;
                let builder = Request::builder()
                    .method(api.told.method.as_str())
                    .uri(api.target());
                let mut all = api.headers;
                all.entry(HOST.to_string())
                    .or_insert_with(|| self.address.to_string());
                all.extend(headers);
                (with_headers(builder, all), api.body.bytes, Asked::Request)
            }
        };
        let request = builder
            .header("dispatch-deadline", super::rfc3339(deadline))
            .body(Full::new(body))
            .map_err(|e| message::invalid(e.to_string()))?;
        Ok((request, asked))
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

/// The answer of a program that speaks function messages. Whatever else it says is its failure.
fn function_message(status: StatusCode, body: &Bytes) -> Answer {
    let answer = message::answer(body);
    match (status.is_success(), answer.retire) {
        (true, false) => Answer {
            timed_out: false,
            ..answer
        },
        (true, true) => Answer {
            result: answer.result,
            logs: Logs::default(),
            retire: false,
            timed_out: false,
        },
        (false, _) => Answer::failed(message::system(format!(
            "Server returned unexpected status code: {} - {}",
            status.as_u16(),
            clipped(body)
        ))),
    }
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

fn clipped(body: &[u8]) -> String {
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
