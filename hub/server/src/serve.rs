//! The listening sockets: HTTP/1.1 connections, bounded in number over all of them, ended when the hub stops.
//!
//! hyper itself, not `axum::serve`: the doors must answer requests with more headers than hyper takes by
//! default with a message, and connections must end within the time a stop has. Who gets a place, and who
//! has to give it up, is in `places.rs`; how much may be on its way at once in `bodies.rs`.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use hyper::Request;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bodies::{self, Bodies, Counted, Held};
use crate::config::LiveLimits;
use crate::front::Front;
use crate::places::{Place, Places, Seat};

/// Above this hyper answers 431 by itself; below it the doors say which attribute is one too many.
const MAX_HEADERS: usize = 400;
/// The most a connection's head, or what is read ahead of a body, takes of memory.
const READ_BYTES: usize = 64 << 10;
/// Pause after a connection could not be accepted, for instance for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often that is said at most.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);
/// How often those who wait too long are sent away.
const SWEEP: Duration = Duration::from_secs(1);
/// Connections that are being told that there is no place, and as many that were sent away and have not gone: for
/// each, one of so many places. While there are more nobody is accepted, so that sockets stay bounded.
const ONE_LEAVING_OF: usize = 16;
const MOST_LEAVING: usize = 16;
/// How long being told may take.
const TURN_AWAY: Duration = Duration::from_millis(100);
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// What they are told.
const NO_PLACE: &str = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
    content-type: application/json\r\ncontent-length: 50\r\n\r\n\
    {\"code\":503,\"message\":\"all connections are taken\"}";

/// What a connection needs, whichever it is.
#[derive(Clone)]
pub(crate) struct Doors {
    /// Answers the requests.
    pub(crate) front: Front,
    /// How many connections there may be.
    pub(crate) limits: LiveLimits,
    /// What is being sent.
    pub(crate) bodies: Arc<Bodies>,
    /// Speaks TLS first; none where requests come as they are.
    pub(crate) tls: Option<TlsAcceptor>,
    /// Cancelled when the hub stops: no new connections, and each ends after its request.
    pub(crate) stop: CancellationToken,
}

/// Connections and the loops that accept them.
#[derive(Default)]
pub(crate) struct Serving {
    tasks: TaskTracker,
    places: Arc<Places>,
    cut: CancellationToken,
}

impl Serving {
    /// Begins to serve on this socket too.
    pub(crate) fn listen(&self, listener: TcpListener, doors: Doors) {
        let leaving = (doors.limits.load().connections / ONE_LEAVING_OF).clamp(1, MOST_LEAVING);
        let accepting = Accepting {
            listener,
            doors,
            tasks: self.tasks.clone(),
            places: self.places.clone(),
            cut: self.cut.clone(),
            turning_away: Arc::new(Semaphore::new(leaving)),
            leaving,
            complained: None,
        };
        self.tasks.spawn(accepting.run());
    }

    /// Connections that have not ended.
    pub(crate) fn count(&self) -> usize {
        self.places.count()
    }

    /// Waits until every connection has ended; for use after the hub was told to stop.
    pub(crate) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Cuts off what still runs.
    pub(crate) fn cut(&self) {
        self.cut.cancel();
    }
}

struct Accepting {
    listener: TcpListener,
    doors: Doors,
    tasks: TaskTracker,
    places: Arc<Places>,
    cut: CancellationToken,
    turning_away: Arc<Semaphore>,
    leaving: usize,
    complained: Option<Instant>,
}

impl Accepting {
    async fn run(mut self) {
        let stop = self.doors.stop.clone();
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = sweep.tick() => {
                    self.places.sweep();
                }
                accepted = self.next() => match accepted {
                    Ok((stream, peer)) => self.seat(stream, peer.ip()).await,
                    Err(error) => self.pause(&error).await,
                },
            }
        }
    }

    async fn next(&self) -> std::io::Result<(TcpStream, SocketAddr)> {
        self.places.cleared(self.leaving).await;
        self.listener.accept().await
    }

    /// Serves the connection if there is a place for it, else says that there is none.
    async fn seat(&self, stream: TcpStream, source: IpAddr) {
        let most = self.doors.limits.load().connections;
        let Some(place) = self.places.take(source, most) else {
            // Waits while many are being told, so that refusing costs little however many come.
            if let Ok(turn) = self.turning_away.clone().acquire_owned().await {
                self.tasks.spawn(async move {
                    turn_away(stream).await;
                    drop(turn);
                });
            }
            return;
        };
        let (doors, cut) = (self.doors.clone(), self.cut.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = cut.cancelled() => tracing::debug!(%source, "a connection was cut off"),
                () = place.seat.wanted() => tracing::debug!(%source, "a connection gave up its place"),
                () = connection(stream, doors, &place) => {}
            }
        });
    }

    async fn pause(&mut self, error: &std::io::Error) {
        self.places.send_one_away();
        if self.complained.is_none_or(|at| at.elapsed() > COMPLAIN_EVERY) {
            self.complained = Some(Instant::now());
            tracing::warn!(%error, connections = self.places.count(), "a connection cannot be accepted");
        }
        sleep(ACCEPT_PAUSE).await;
    }
}

/// Says that there is no place, and waits a little that it is heard.
async fn turn_away(mut stream: TcpStream) {
    let said = async {
        stream.write_all(NO_PLACE.as_bytes()).await?;
        stream.shutdown().await?;
        // Closing on what was not read would take the answer back.
        let mut unread = [0; 4096];
        while stream.read(&mut unread).await? > 0 {}
        std::io::Result::Ok(())
    };
    if !matches!(timeout(TURN_AWAY, said).await, Ok(Ok(()))) {
        tracing::trace!("a connection for which there was no place did not wait to hear it");
    }
}

async fn connection(stream: TcpStream, doors: Doors, place: &Place) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let Some(acceptor) = doors.tls.clone() else {
        return requests(stream, doors, place).await;
    };
    match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => requests(stream, doors, place).await,
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
}

async fn requests<S>(stream: S, doors: Doors, place: &Place)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (seat, stop) = (place.seat.clone(), doors.stop.clone());
    let service = service_fn(move |request| answer(doors.clone(), seat.clone(), request));
    let connection = http1::Builder::new()
        .max_headers(MAX_HEADERS)
        .max_buf_size(READ_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}

/// Answers one request; its body counts against what may be on its way until then.
async fn answer(doors: Doors, seat: Arc<Seat>, request: Request<Incoming>) -> Result<Response, Infallible> {
    seat.busy();
    if request.body().is_end_stream() {
        let response = doors
            .front
            .answer(request.map(|_| Body::empty()), seat.source())
            .await?;
        after(&seat, &response);
        return Ok(response);
    }
    let Some(held) = Held::begin(&doors.bodies).map(Arc::new) else {
        seat.idle();
        return Ok(bodies::overloaded().into_response());
    };
    let counted = |body| Counted::new(body, held.clone(), seat.clone());
    let response = doors.front.answer(request.map(counted), seat.source()).await?;
    let response = match held.refused() {
        true => bodies::overloaded().into_response(),
        false => response,
    };
    after(&seat, &response);
    Ok(response)
}

/// The connection waits again; one that is sent a stream is still being served.
fn after(seat: &Seat, response: &Response) {
    match response.body().size_hint().exact() {
        Some(_) => seat.idle(),
        None => seat.busy(),
    }
}

#[cfg(test)]
mod tests {
    use super::NO_PLACE;

    #[test]
    fn the_refusal_is_as_long_as_it_says() {
        let (head, body) = NO_PLACE.split_once("\r\n\r\n").unwrap();

        assert!(
            head.ends_with(&format!("content-length: {}", body.len())),
            "{head} {}",
            body.len()
        );
    }
}
