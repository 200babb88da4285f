//! The listening socket: HTTP/1.1 connections, bounded in number, ended when the hub stops.
//!
//! hyper itself, not `axum::serve`: the doors must answer requests with more headers than hyper takes by
//! default with a message, and connections must end within the time a stop has.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Above this hyper answers 431 by itself; below it the doors say which attribute is one too many.
const MAX_HEADERS: usize = 400;
/// How long the head of a request may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause after a connection could not be accepted, for instance for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections and the loop that accepts them.
pub(crate) struct Serving {
    tasks: TaskTracker,
    cut: CancellationToken,
}

impl Serving {
    /// Begins to serve. Cancelling `stop` ends accepting, and each connection after its request.
    pub(crate) fn start(listener: TcpListener, router: Router, most: usize, stop: CancellationToken) -> Self {
        let tasks = TaskTracker::new();
        let cut = CancellationToken::new();
        tasks.spawn(accept(listener, router, most, stop, cut.clone(), tasks.clone()));
        Self { tasks, cut }
    }

    /// Waits until every connection has ended; for use after `stop` was cancelled.
    pub(crate) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Cuts off what still runs.
    pub(crate) fn cut(&self) {
        self.cut.cancel();
    }
}

async fn accept(
    listener: TcpListener,
    router: Router,
    most: usize,
    stop: CancellationToken,
    cut: CancellationToken,
    tasks: TaskTracker,
) {
    let places = Arc::new(Semaphore::new(most));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = next(&listener, &places) => accepted,
        };
        let Some((stream, peer, place)) = accepted else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (router, stop, cut) = (router.clone(), stop.clone(), cut.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = cut.cancelled() => tracing::debug!(%peer, "a connection was cut off"),
                () = connection(stream, peer, router, stop) => {}
            }
            drop(place);
        });
    }
}

/// The next connection, when there is a place for it.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, place)),
        Err(error) => {
            tracing::warn!(%error, "a connection cannot be accepted");
            None
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, stop: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "no TCP_NODELAY");
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection broke");
    }
}
