//! A door: how a driver listens for those who send to it.
//!
//! A driver binds a loopback port of its own and says so with its health; the hub's gateway forwards to it what comes
//! under `/driver/<organization>/<name>`. A driver that got `PORT` listens there. HTTP/1.1, for the gateway is the
//! only client; TLS is the gateway's.
//!
//! The invariants: a body is counted while it is read, before anything looks at it; every wait has a bound; and
//! [`Acceptor::accept`] comes back with `Ok` only after the hub has the events on disk. Everything else is "later": 503 and
//! `Retry-After`, so that the sender repeats, which the events' ids make safe.
//!
//! ```no_run
//! # use dispatch_driver_sdk::{Context, Door, Failure, Limits, reply};
//! # async fn drive(context: Context) -> Result<(), Failure> {
//! let door = Door::open(&context).await?;
//! let acceptor = door.acceptor();
//! door.serve(Limits::default(), move |arrival| {
//!     let acceptor = acceptor.clone();
//!     async move {
//!         let events = Vec::new(); // made of arrival.body
//!         match acceptor.accept(events).await {
//!             Ok(_) => reply(202, ""),
//!             Err(not) => not.reply(),
//!         }
//!     }
//! })
//! .await
//! # }
//! ```

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dispatch_contract::Event;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::hub::{EmitError, Emitted, Hub};
use crate::run::{Context, Failure};
use crate::stop::Stop;

/// When a sender that is told "later" should come again, in seconds.
pub const LATER: u32 = 5;
/// How long the hub may take: the most impatient senders wait three to five seconds.
const PATIENCE: Duration = Duration::from_millis(2500);
/// How often the hub is told where this driver listens, while it hears it and while it does not.
const TELL_EVERY: Duration = Duration::from_secs(10);
const TELL_AGAIN: Duration = Duration::from_millis(500);
/// Pause after a connection could not be accepted, for instance for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The most a connection's head takes of memory.
const READ_BYTES: usize = 64 << 10;
const MAX_HEADERS: usize = 200;
/// How long requests that are being answered may take once the driver stops; shorter than a driver's grace.
const DRAIN: Duration = Duration::from_secs(3);

/// What a sender may take of this process.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most bytes of one body.
    pub body: usize,
    /// How long the head of a request may take.
    pub head: Duration,
    /// How long a body may take from first byte to last.
    pub read: Duration,
    /// Connections at once; others wait in the socket's queue.
    pub connections: usize,
    /// What a sender hears whose body is not taken.
    pub unread: Unread,
}

/// What a sender hears whose body was too large, broke off or took too long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unread {
    /// What it was: 413, 400 or 408.
    #[default]
    Named,
    /// 503, with the same words: for senders that never repeat what is answered with a 4xx.
    Later,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 1 << 20,
            head: Duration::from_secs(10),
            read: Duration::from_secs(20),
            connections: 64,
            unread: Unread::default(),
        }
    }
}

/// A request whose body has been read, within the limits.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Its method.
    pub method: Method,
    /// Path and query behind the driver's public address; the path is at least `/`.
    pub uri: Uri,
    /// Its headers; a value may hold a secret.
    pub headers: HeaderMap,
    /// Its body as it came.
    pub body: Bytes,
}

impl Arrival {
    /// A header as text; `None` when it is missing, there twice, or no text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok(),
            _ => None,
        }
    }

    /// The media type in lower case, without parameters.
    pub fn media_type(&self) -> Option<String> {
        let text = self.header("content-type")?;
        let bare = text.split(';').next().unwrap_or_default();
        Some(bare.trim().to_ascii_lowercase())
    }
}

/// What a door answers.
pub type Reply = Response<Bytes>;

/// An answer with a status and a body: JSON if it begins like it, else text.
pub fn reply(status: u16, body: impl Into<Bytes>) -> Reply {
    let body = body.into();
    let kind = match body.first() {
        Some(b'{' | b'[') => "application/json",
        _ => "text/plain; charset=utf-8",
    };
    let empty = body.is_empty();
    let mut reply = Response::new(body);
    *reply.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if !empty {
        let headers = reply.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    reply
}

/// "The same again later": 503 and `Retry-After`.
pub fn later(problem: impl Into<Bytes>) -> Reply {
    let mut reply = reply(503, problem);
    reply.headers_mut().insert(header::RETRY_AFTER, LATER.into());
    reply
}

/// Why events are not on the hub's disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAccepted {
    /// The hub is full or away, or this driver stops: the same again later.
    #[error("the hub does not take events now")]
    Later,
    /// The hub will never take them.
    #[error("the hub refuses the events: {0}")]
    Refused(String),
}

impl NotAccepted {
    /// 503 with `Retry-After`, or 400.
    pub fn reply(&self) -> Reply {
        match self {
            Self::Later => later("the hub does not take events now"),
            Self::Refused(_) => reply(400, self.to_string()),
        }
    }
}

/// Hands events to the hub in the time a sender waits. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Acceptor {
    hub: Hub,
    stop: Stop,
}

impl Acceptor {
    /// Comes back with `Ok` only after the hub has all the events on disk.
    pub async fn accept(&self, events: Vec<Event>) -> Result<Emitted, NotAccepted> {
        Self::within(self.hub.emit(events, None, &self.stop)).await
    }

    /// The same, but an event that the hub refuses is left out, as by [`Hub::emit_or_skip`].
    pub async fn accept_or_skip(&self, events: Vec<Event>) -> Result<Emitted, NotAccepted> {
        Self::within(self.hub.emit_or_skip(events, None, &self.stop)).await
    }

    async fn within(emit: impl Future<Output = Result<Emitted, EmitError>>) -> Result<Emitted, NotAccepted> {
        match timeout(PATIENCE, emit).await {
            Ok(Ok(emitted)) => Ok(emitted),
            Ok(Err(EmitError::Refused(problem))) => Err(NotAccepted::Refused(problem)),
            // A token that is no longer good is the driver's misfortune and not the sender's fault.
            Ok(Err(EmitError::Stopped | EmitError::Denied(_))) | Err(_) => Err(NotAccepted::Later),
        }
    }
}

/// A bound port that is not served yet.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    address: SocketAddr,
    context: Context,
}

impl Door {
    /// Binds a free loopback port, or the one in `PORT`.
    pub async fn open(context: &Context) -> Result<Self, Failure> {
        let port = match std::env::var("PORT") {
            Ok(text) if !text.is_empty() => text
                .parse()
                .map_err(|_| Failure::settings(format!("PORT: {text:?} is not a port from 0 to 65535")))?,
            _ => 0,
        };
        Self::open_at(context, port).await
    }

    /// Binds that loopback port; 0 is a free one.
    pub async fn open_at(context: &Context, port: u16) -> Result<Self, Failure> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let listener = listener.await.map_err(Failure::failed)?;
        let address = listener.local_addr().map_err(Failure::failed)?;
        Ok(Self {
            listener,
            address,
            context: context.clone(),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What hands this driver's events to the hub.
    pub fn acceptor(&self) -> Acceptor {
        Acceptor {
            hub: self.context.hub.clone(),
            stop: self.context.stop.clone(),
        }
    }

    /// Serves until the driver stops, and then ends what is being answered. The hub is told where, and again every
    /// ten seconds: it may have begun anew.
    pub async fn serve<F, A>(self, limits: Limits, answer: F) -> Result<(), Failure>
    where
        F: Fn(Arrival) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Reply> + Send + 'static,
    {
        let Context { hub, stop } = self.context;
        hub.listens(self.address);
        tracing::info!(address = %self.address, "listening");
        let connections = TaskTracker::new();
        let places = Arc::new(Semaphore::new(limits.connections));
        let accepting = async {
            while let Ok(place) = places.clone().acquire_owned().await {
                match self.listener.accept().await {
                    Ok((stream, _)) => {
                        connections.spawn(converse(stream, place, limits, stop.clone(), answer.clone()));
                    }
                    Err(error) => {
                        tracing::warn!("cannot accept a connection: {error}");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        tokio::select! {
            () = accepting => {}
            () = tell(&hub) => {}
            () = stop.stopped() => {}
        }
        connections.close();
        if timeout(DRAIN, connections.wait()).await.is_err() {
            tracing::warn!(connections = connections.len(), "cut off while answering");
        }
        Ok(())
    }
}

/// Keeps the hub informed; never ends.
async fn tell(hub: &Hub) {
    loop {
        let pause = match hub.report_again().await {
            true => TELL_EVERY,
            false => TELL_AGAIN,
        };
        tokio::time::sleep(pause).await;
    }
}

/// One connection, until it ends or the driver stops.
async fn converse<F, A>(stream: TcpStream, place: OwnedSemaphorePermit, limits: Limits, stop: Stop, answer: F)
where
    F: Fn(Arrival) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Reply> + Send + 'static,
{
    let service = service_fn(move |request| {
        let answer = answer.clone();
        async move { Ok::<_, Infallible>(answered(request, limits, answer).await.map(Full::new)) }
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head)
            .max_headers(MAX_HEADERS)
            .max_buf_size(READ_BYTES)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.stopped() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection ended: {error}");
    }
    drop(place);
}

/// Reads the body within its bounds, then asks the driver.
async fn answered<F, A>(request: Request<Incoming>, limits: Limits, answer: F) -> Reply
where
    F: Fn(Arrival) -> A,
    A: Future<Output = Reply>,
{
    let (parts, body) = request.into_parts();
    match timeout(limits.read, whole(body, limits.body)).await {
        Ok(Ok(body)) => {
            answer(Arrival {
                method: parts.method,
                uri: parts.uri,
                headers: parts.headers,
                body,
            })
            .await
        }
        Ok(Err(problem)) => refused(problem, limits),
        Err(_) => refused(Problem::Slow, limits),
    }
}

/// Why there is no body.
#[derive(Debug, Clone, Copy)]
enum Problem {
    TooLarge,
    Broken,
    Slow,
}

/// What is left of the body is not read, so the connection is of no further use.
fn refused(problem: Problem, limits: Limits) -> Reply {
    let (status, words) = match problem {
        Problem::TooLarge => (413, format!("the body may have {} bytes", limits.body)),
        Problem::Broken => (400, "the body broke off".to_owned()),
        Problem::Slow => (408, "the body took too long".to_owned()),
    };
    let mut reply = match limits.unread {
        Unread::Named => reply(status, words),
        Unread::Later => {
            tracing::warn!("a request is told to come again: {words}");
            later(words)
        }
    };
    let close = HeaderValue::from_static("close");
    reply.headers_mut().insert(header::CONNECTION, close);
    reply
}

/// The body, counted as it comes: what a header promises is only believed when it is too much.
async fn whole(mut body: Incoming, most: usize) -> Result<Bytes, Problem> {
    if body.size_hint().lower() > most as u64 {
        return Err(Problem::TooLarge);
    }
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::Broken)?;
        if let Ok(data) = frame.into_data() {
            if data.len() > most - read.len() {
                return Err(Problem::TooLarge);
            }
            read.extend_from_slice(&data);
        }
    }
    Ok(read.freeze())
}
