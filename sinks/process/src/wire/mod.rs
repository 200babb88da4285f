//! How the engine speaks with a worker: a [`Door`] is opened before the process starts, and becomes the [`Wire`] on
//! which calls go once the worker has loaded its function.
//!
//! Every way of speaking is one file; all of them turn an invocation into an [`Answer`].

mod cloudevent;
mod frame;
mod frames;
mod http;
mod lambda;
mod owner;
mod proxy_event;
mod request;
mod response;
mod stream;
mod web;
mod web_frame;

use std::path::Path;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use dispatch_contract::{FunctionError, Invocation, Logs};
use dispatch_sink_sandbox::Network;
use rustix::process::Pid;
use serde_json::value::RawValue;
use tokio::process::Command;
use tokio::time::Instant;

pub(crate) use self::frame::Frame;
pub(crate) use self::http::Http;
use crate::launch::Launch;

/// The ways to speak with a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speech {
    /// Frames over a Unix-domain socket, to a program of ours that holds the function.
    Frames,
    /// Function messages as the bodies of requests to the `PORT` it is told.
    HttpMessage,
    /// CloudEvents as requests to the `PORT` it is told.
    HttpEvent,
    /// The worker asks an API of the engine for its calls, as AWS Lambda's runtimes do.
    Lambda,
    /// Standard input and output of a process for each call: there is nothing to open.
    Once,
}

/// Where a worker that is about to start will be met.
pub(crate) enum Door {
    Frames(frames::Socket),
    Http(http::Port, http::Dialect),
    Lambda(lambda::Desk),
}

/// The connection to a worker that loaded its function.
#[derive(Debug)]
pub(crate) enum Wire {
    Frames(frames::Link),
    Http(http::Http),
    Lambda(lambda::Lambda),
}

/// What a worker answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The payload, or how the function failed.
    pub(crate) result: Result<Bytes, FunctionError>,
    /// Lines the answer itself brought as logs.
    pub(crate) logs: Logs,
    /// The worker takes no other call.
    pub(crate) retire: bool,
    /// The worker stopped the call at its deadline; then there is no result.
    pub(crate) timed_out: bool,
}

impl Answer {
    /// The function answered this.
    fn of(result: Bytes) -> Self {
        Self {
            result: Ok(result),
            logs: Logs::default(),
            retire: false,
            timed_out: false,
        }
    }

    /// The function failed; the worker goes on.
    pub(crate) fn failed(error: FunctionError) -> Self {
        Self {
            result: Err(error),
            logs: Logs::default(),
            retire: false,
            timed_out: false,
        }
    }
}

/// Why no answer came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// The worker's end is gone.
    #[error("the worker closed its connection")]
    Closed,
    /// The worker announces more than it may send.
    #[error("the answer has {0} bytes")]
    TooLong(usize),
}

/// Why a worker that runs does not take calls.
#[derive(Debug)]
pub(crate) enum GreetError {
    /// The function cannot be loaded; the worker's own words.
    Refused(String),
    /// The worker went away, or cannot be heard.
    Lost(String),
}

impl Door {
    /// Opens what the worker will come to.
    pub(crate) fn open(launch: &Launch) -> std::io::Result<Self> {
        match launch.plan.speech {
            Speech::Frames | Speech::Once => frames::Socket::bind(&launch.sockets).map(Self::Frames),
            Speech::HttpMessage => http::Port::reserve().map(|p| Self::Http(p, http::Dialect::Message)),
            Speech::HttpEvent => http::Port::reserve().map(|p| Self::Http(p, http::Dialect::CloudEvent)),
            Speech::Lambda => lambda::Desk::open().map(Self::Lambda),
        }
    }

    /// The socket a contained worker must reach.
    pub(crate) fn socket(&self) -> Option<&Path> {
        match self {
            Self::Frames(socket) => Some(socket.path()),
            Self::Http(..) | Self::Lambda(_) => None,
        }
    }

    /// The ports a contained worker must reach.
    pub(crate) fn ports(&self) -> Option<Network> {
        let (listen, connect) = match self {
            Self::Frames(_) => return None,
            Self::Http(port, _) => (vec![port.number()], vec![]),
            Self::Lambda(desk) => (vec![], vec![desk.address().port()]),
        };
        Some(Network::Ports { listen, connect })
    }

    /// Tells the worker where the door is.
    pub(crate) fn announce(&self, worker: &mut Command) {
        match self {
            Self::Frames(socket) => worker.arg(socket.path()),
            Self::Http(port, _) => worker
                .env("PORT", port.number().to_string())
                .env("HOST", "127.0.0.1"),
            Self::Lambda(desk) => worker.env("AWS_LAMBDA_RUNTIME_API", desk.address().to_string()),
        };
    }

    /// Waits until the worker `leader` has loaded its function.
    pub(crate) async fn greet(self, launch: &Launch, leader: Pid) -> Result<Wire, GreetError> {
        match self {
            Self::Frames(socket) => frames::greet(socket, launch, leader).await.map(Wire::Frames),
            Self::Http(port, dialect) => http::greet(port, dialect, &launch.name, leader)
                .await
                .map(Wire::Http),
            Self::Lambda(desk) => lambda::greet(desk, &launch.name, leader).await.map(Wire::Lambda),
        }
    }
}

impl Wire {
    /// Calls the function once. Without an answer, nothing more can be said on this wire.
    pub(crate) async fn exchange(
        &mut self,
        invocation: &Invocation,
        deadline: Instant,
    ) -> Result<Answer, WireError> {
        match self {
            Self::Frames(link) => link.call(invocation, deadline).await,
            Self::Http(http) => http.call(invocation, deadline).await,
            Self::Lambda(lambda) => lambda.call(invocation, deadline).await,
        }
    }
}

impl Wire {
    /// The process that answers, where that is known.
    pub(crate) fn worker(&self) -> Option<Pid> {
        match self {
            Self::Frames(link) => Some(link.worker()),
            Self::Http(_) | Self::Lambda(_) => None,
        }
    }

    /// Adds what a call printed to an error that does not say where it came from.
    pub(crate) fn explained(&self, error: FunctionError, logs: &Logs) -> FunctionError {
        match self {
            Self::Http(http) => http.explained(error, logs),
            Self::Frames(_) | Self::Lambda(_) => error,
        }
    }
}

/// A moment of the runtime's clock as a date.
fn date(at: Instant) -> DateTime<Utc> {
    let left = at.saturating_duration_since(Instant::now());
    Utc::now() + left
}

fn rfc3339(at: Instant) -> String {
    date(at).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A body that is JSON, as it came; nothing is `null`. `None` when it is something else.
fn json_of(body: &Bytes) -> Option<Bytes> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Some(Bytes::from_static(b"null"));
    }
    let value: &RawValue = serde_json::from_slice(body).ok()?;
    Some(body.slice_ref(value.get().as_bytes()))
}
