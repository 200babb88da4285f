//! One HTTP/1.1 connection without TLS, driven by the attempt that uses it.
//!
//! There is no task per connection: while an attempt waits for its answer it polls the connection itself, so a
//! delivery wakes one task and not three. Nobody polls an idle connection; that the other side closed it
//! is seen when it is asked for next ([`Connection::is_open`]).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::poll_fn;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::CONNECT_TIMEOUT;

type Driver = http1::Connection<TokioIo<TcpStream>, Full<Bytes>>;

/// A connection and the half of it that moves bytes.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// `None` once it has ended.
    driver: Option<Pin<Box<Driver>>>,
}

impl Connection {
    pub(crate) async fn open(host: &str, port: u16) -> io::Result<Self> {
        let connecting = timeout(CONNECT_TIMEOUT, TcpStream::connect((host, port)));
        let stream = connecting.await.unwrap_or_else(|_| {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "connecting took too long",
            ))
        })?;
        stream.set_nodelay(true)?;
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (sender, driver) = shaken.map_err(io::Error::other)?;
        Ok(Self {
            sender,
            driver: Some(Box::pin(driver)),
        })
    }

    /// Whether an idle connection can be used: the other side has neither closed it nor said anything.
    pub(crate) async fn is_open(&mut self) -> bool {
        self.drive(std::future::ready(())).await;
        self.driver.is_some() && self.sender.is_ready()
    }

    /// Sends a request. The answer's body must be read under [`drive`](Self::drive), too.
    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Full<Bytes>>>> {
        let answer = self.sender.try_send_request(request);
        Self::driven(&mut self.driver, answer).await
    }

    /// Lets the connection work while `work` waits for it.
    pub(crate) async fn drive<T>(&mut self, work: impl Future<Output = T>) -> T {
        Self::driven(&mut self.driver, work).await
    }

    /// Whether another request can follow: the last answer was read to its end and nobody wants to close.
    pub(crate) async fn is_reusable(&mut self) -> bool {
        if self.driver.is_none() {
            return false;
        }
        let ready = self.sender.ready();
        // What is left to do is to notice the end of the body; nothing that waits.
        matches!(Self::driven(&mut self.driver, ready).now_or_never(), Some(Ok(())))
    }

    async fn driven<T>(driver: &mut Option<Pin<Box<Driver>>>, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        poll_fn(|context| {
            advance(driver, context);
            match work.as_mut().poll(context) {
                Poll::Ready(done) => Poll::Ready(done),
                Poll::Pending => {
                    // What the work has just asked for is done now, and may already be answered.
                    advance(driver, context);
                    work.as_mut().poll(context)
                }
            }
        })
        .await
    }
}

/// Moves bytes; forgets the driver when the connection has ended, so that whoever waits for it hears.
fn advance(driver: &mut Option<Pin<Box<Driver>>>, context: &mut Context<'_>) {
    if let Some(running) = driver
        && let Poll::Ready(ended) = running.as_mut().poll(context)
    {
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection to a sink broke");
        }
        *driver = None;
    }
}
