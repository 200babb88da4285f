//! The AWS Lambda runtime API, served to one worker on a loopback port of its own: the worker asks for the next call,
//! and posts what came of it.
//!
//! ```text
//! GET  /2018-06-01/runtime/invocation/next            waits; the first one says that the function is loaded
//! POST /2018-06-01/runtime/invocation/{id}/response   202
//! POST /2018-06-01/runtime/invocation/{id}/error      202
//! POST /2018-06-01/runtime/init/error                 202: the function cannot be loaded
//! ```
//! One call at a time. What else the context holds (event, secrets, deadline) is `client_context.custom`. A call through an API
//! is the event that API Gateway would make of it (`proxy_event.rs`).

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use chrono::Utc;
use dispatch_contract::{ExposeSecret as _, FunctionError, FunctionErrorKind, Invocation, Logs};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustix::process::Pid;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use super::cloudevent::ascii;
use super::proxy_event::proxy_event;
use super::request::{self, ApiRequest};
use super::{Answer, GreetError, WireError, owner};
use crate::message;
use crate::settings::MAX_RESULT;

const ROOT: &str = "/2018-06-01/runtime/";
/// Connections of one worker at a time.
const MAX_CONNECTIONS: usize = 16;
const MAX_CONTEXT: usize = 64 * 1024;
const MAX_TRACE: usize = 64;

/// Where the worker will ask.
pub(crate) struct Desk {
    listener: TcpListener,
    address: SocketAddr,
}

impl Desk {
    pub(super) fn open() -> std::io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            address: listener.local_addr()?,
            listener: TcpListener::from_std(listener)?,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The engine's end: calls go in, and the server ends with this.
#[derive(Debug)]
pub(crate) struct Lambda {
    calls: mpsc::Sender<Call>,
    function: String,
    _server: JoinSet<()>,
}

/// A call on its way to the worker.
#[derive(Debug)]
struct Call {
    id: Uuid,
    payload: Bytes,
    context: String,
    deadline: i64,
    function: String,
    reply: oneshot::Sender<Answer>,
}

/// What the connections of one worker share.
struct Office {
    calls: tokio::sync::Mutex<mpsc::Receiver<Call>>,
    /// The call the worker has.
    current: Mutex<Option<(Uuid, oneshot::Sender<Answer>)>>,
    greeting: Mutex<Option<oneshot::Sender<Result<(), String>>>>,
}

/// Serves the worker, and waits until it asks for its first call.
pub(super) async fn greet(desk: Desk, function: &str, leader: Pid) -> Result<Lambda, GreetError> {
    let (calls, orders) = mpsc::channel(1);
    let (greeting, greeted) = oneshot::channel();
    let office = Arc::new(Office {
        calls: tokio::sync::Mutex::new(orders),
        current: Mutex::default(),
        greeting: Mutex::new(Some(greeting)),
    });
    let mut server = JoinSet::new();
    server.spawn(serve(desk.listener, office, leader));
    match greeted.await {
        Ok(Ok(())) => Ok(Lambda {
            calls,
            function: function.to_owned(),
            _server: server,
        }),
        Ok(Err(why)) => Err(GreetError::Refused(why)),
        Err(_) => Err(GreetError::Lost("the runtime API ended".to_owned())),
    }
}

impl Lambda {
    /// Calls the function once.
    pub(super) async fn call(
        &mut self,
        invocation: &Invocation,
        deadline: Instant,
    ) -> Result<Answer, WireError> {
        let id = Uuid::new_v4();
        let said = client_context(invocation).and_then(|context| Ok((context, payload(invocation, id)?)));
        let (context, payload) = match said {
            Ok(said) => said,
            Err(error) => return Ok(Answer::failed(error)),
        };
        let (reply, answer) = oneshot::channel();
        let call = Call {
            id,
            payload,
            context,
            deadline: super::date(deadline).timestamp_millis(),
            function: self.function.clone(),
            reply,
        };
        self.calls.send(call).await.map_err(|_| WireError::Closed)?;
        answer.await.map_err(|_| WireError::Closed)
    }
}

/// Takes the worker's connections, and nobody else's.
async fn serve(listener: TcpListener, office: Arc<Office>, leader: Pid) {
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            Ok((stream, from)) = listener.accept() => match owner::connects(from, leader) {
                true => stream,
                false => continue,
            },
            Some(_) = connections.join_next() => continue,
            else => return,
        };
        if connections.len() < MAX_CONNECTIONS {
            connections.spawn(converse(stream, Arc::clone(&office)));
        }
    }
}

async fn converse(stream: TcpStream, office: Arc<Office>) {
    let service = service_fn(|request| {
        let office = Arc::clone(&office);
        async move { Ok::<_, std::convert::Infallible>(office.answer(request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new();
    // A worker that hangs up, or speaks no HTTP, is seen by whoever waits for its answer.
    if let Err(error) = connection.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection of the Lambda runtime API ended");
    }
}

impl Office {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let rest = path.strip_prefix(ROOT).unwrap_or_default();
        let parts: Vec<&str> = rest.split('/').collect();
        match (request.method(), parts.as_slice()) {
            (&Method::GET, ["invocation", "next"]) => self.next().await,
            (&Method::POST, ["invocation", id, "response"]) => {
                let answer = match body_of(request).await {
                    Some(body) => Ok(super::json_of(&body)
                        .unwrap_or_else(|| Value::from(String::from_utf8_lossy(&body)).to_string().into())),
                    None => Err(message::too_long(MAX_RESULT + 1)),
                };
                let status = match answer.is_ok() {
                    true => StatusCode::ACCEPTED,
                    false => StatusCode::PAYLOAD_TOO_LARGE,
                };
                self.settle(id, answer, status)
            }
            (&Method::POST, ["invocation", id, "error"]) => {
                let error = failure(&body_of(request).await.unwrap_or_default());
                self.settle(id, Err(error), StatusCode::ACCEPTED)
            }
            (&Method::POST, ["init", "error"]) => {
                let error = failure(&body_of(request).await.unwrap_or_default());
                self.greeted(Err(error.message));
                accepted(StatusCode::ACCEPTED)
            }
            _ => refused(
                StatusCode::NOT_FOUND,
                "InvalidRequest",
                "no such path of the runtime API",
            ),
        }
    }

    /// Waits for a call.
    async fn next(&self) -> Response<Full<Bytes>> {
        self.greeted(Ok(()));
        // Asking for the next call without having answered this one: it has no answer.
        drop(self.current().take());
        let Some(call) = self.calls.lock().await.recv().await else {
            return refused(
                StatusCode::INTERNAL_SERVER_ERROR,
                "ServiceException",
                "the worker is to end",
            );
        };
        let id = call.id.to_string();
        *self.current() = Some((call.id, call.reply));
        let trace = format!(
            "Root=1-{:08x}-{}",
            call.deadline / 1000,
            &call.id.simple().to_string()[..24]
        );
        let arn = format!("arn:aws:lambda:us-east-1:000000000000:function:{}", call.function);
        Response::builder()
            .header("content-type", "application/json")
            .header("lambda-runtime-aws-request-id", id)
            .header("lambda-runtime-deadline-ms", call.deadline)
            .header("lambda-runtime-invoked-function-arn", arn)
            .header("lambda-runtime-trace-id", trace)
            .header("lambda-runtime-client-context", call.context)
            .body(Full::new(call.payload))
            .unwrap_or_else(|error| {
                drop(self.current().take());
                refused(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "ServiceException",
                    &error.to_string(),
                )
            })
    }

    fn settle(
        &self,
        id: &str,
        result: Result<Bytes, FunctionError>,
        status: StatusCode,
    ) -> Response<Full<Bytes>> {
        let mine = {
            let mut current = self.current();
            match current
                .as_ref()
                .is_some_and(|(current, _)| current.to_string() == id)
            {
                true => current.take(),
                false => None,
            }
        };
        let Some((_, reply)) = mine else {
            return refused(
                StatusCode::BAD_REQUEST,
                "InvalidRequestID",
                "the worker has no call of this id",
            );
        };
        let answer = Answer {
            result,
            logs: Logs::default(),
            retire: false,
            timed_out: false,
        };
        // Whoever called may have given up meanwhile.
        drop(reply.send(answer));
        accepted(status)
    }

    fn greeted(&self, how: Result<(), String>) {
        let greeting = self
            .greeting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(greeting) = greeting {
            // The worker may have been given up meanwhile.
            drop(greeting.send(how));
        }
    }

    fn current(&self) -> MutexGuard<'_, Option<(Uuid, oneshot::Sender<Answer>)>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn body_of(request: Request<Incoming>) -> Option<Bytes> {
    let body = Limited::new(request.into_body(), MAX_RESULT).collect().await;
    body.ok().map(|body| body.to_bytes())
}

fn accepted(status: StatusCode) -> Response<Full<Bytes>> {
    said(status, &json!({"status": "OK"}))
}

fn refused(status: StatusCode, kind: &str, message: &str) -> Response<Full<Bytes>> {
    said(status, &json!({"errorType": kind, "errorMessage": message}))
}

fn said(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let kind = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

/// The function's event.
fn payload(invocation: &Invocation, id: Uuid) -> Result<Bytes, FunctionError> {
    Ok(match ApiRequest::of(invocation)? {
        Some(request) => proxy_event(&request, id, Utc::now()),
        None => invocation.payload.clone(),
    })
}

/// `{"custom": context}` in a header, so in ASCII.
fn client_context(invocation: &Invocation) -> Result<String, FunctionError> {
    let mut custom: Map<String, Value> =
        serde_json::from_slice(&invocation.context).map_err(|e| message::invalid(format!("context: {e}")))?;
    request::without_request(&mut custom);
    let secrets: Map<String, Value> = invocation
        .secrets
        .iter()
        .map(|(name, value)| (name.clone(), value.expose_secret().into()))
        .collect();
    custom.insert("secrets".to_owned(), secrets.into());
    let text = ascii(&json!({"custom": custom, "client": {}, "env": {}}).to_string());
    match text.len() <= MAX_CONTEXT {
        true => Ok(text),
        false => Err(message::invalid(format!(
            "the context has {} bytes; a Lambda function takes {MAX_CONTEXT}",
            text.len()
        ))),
    }
}

/// An error as a runtime posts it.
fn failure(body: &[u8]) -> FunctionError {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Posted {
        error_message: String,
        error_type: String,
        stack_trace: Value,
    }
    let posted: Posted = serde_json::from_slice(body).unwrap_or_else(|_| Posted {
        error_message: String::from_utf8_lossy(&body[..body.len().min(8 * 1024)]).into_owned(),
        ..Posted::default()
    });
    let mut stacktrace: Vec<String> = match posted.stack_trace {
        Value::Array(entries) => entries
            .iter()
            .map(|entry| entry.as_str().map_or_else(|| entry.to_string(), str::to_owned))
            .flat_map(|entry| entry.lines().map(|l| l.trim_end().to_owned()).collect::<Vec<_>>())
            .take(MAX_TRACE)
            .collect(),
        _ => Vec::new(),
    };
    if !posted.error_type.is_empty() {
        stacktrace.push(format!("{}: {}", posted.error_type, posted.error_message));
    }
    let message = match (posted.error_message.is_empty(), posted.error_type.is_empty()) {
        (false, _) => posted.error_message,
        (true, false) => posted.error_type,
        _ => "the function failed".to_owned(),
    };
    FunctionError {
        kind: FunctionErrorKind::Function,
        message,
        stacktrace,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_read_as_runtimes_post_it() {
        let table = [
            (
                r#"{"errorMessage":"boom","errorType":"ValueError","stackTrace":["  File \"a.py\", line 2, in h\n    raise\n"]}"#,
                "boom",
                vec!["  File \"a.py\", line 2, in h", "    raise", "ValueError: boom"],
            ),
            (
                r#"{"errorType":"Runtime.ExitError"}"#,
                "Runtime.ExitError",
                vec!["Runtime.ExitError: "],
            ),
            ("no json", "no json", vec![]),
            ("", "the function failed", vec![]),
        ];
        for (body, message, trace) in table {
            let error = failure(body.as_bytes());
            assert_eq!(
                (error.message.as_str(), error.stacktrace),
                (message, trace.iter().map(|l| (*l).to_owned()).collect())
            );
        }
    }
}
