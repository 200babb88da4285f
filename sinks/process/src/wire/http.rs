//! HTTP to a worker that listens on a loopback port: one request a call, on a connection of its own, because a server
//! may close an idle one at the moment it is used.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use dispatch_contract::{FunctionError, FunctionErrorKind, Invocation, Logs};
use http::header::{CONTENT_TYPE, HOST};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;
use rustix::process::Pid;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::{Answer, GreetError, WireError, owner, web};
use crate::message::{self, MAX_ANSWER};

const POLL: Duration = Duration::from_millis(10);
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
    /// What the web is asked.
    Web(web::Asked),
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
            Asked::Web(asked) => web::answer(asked, status, &headers, body),
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
        let host = self.address.to_string();
        match self.dialect {
            Dialect::Message => {
                let request = Request::post("/")
                    .header(HOST, host)
                    .header(CONTENT_TYPE, "application/json")
                    .header("dispatch-deadline", super::rfc3339(deadline))
                    .body(Full::new(message::text(invocation)?.into()))
                    .map_err(|e| message::invalid(e.to_string()))?;
                Ok((request, Asked::Message))
            }
            Dialect::CloudEvent => {
                let (request, asked) = web::request(invocation, &self.function, &host, deadline)?;
                Ok((request.map(Full::new), Asked::Web(asked)))
            }
        }
    }
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
            web::clipped(body)
        ))),
    }
}
