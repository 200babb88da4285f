//! One request over one connection to a driver, streamed both ways and bounded.
//!
//! Each request has a connection of its own: on this machine that costs little, and there is never one that the
//! other side closed just now, so nothing has to be sent twice.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tower_http::timeout::TimeoutBody;

use crate::door;
use crate::rest::error::ApiError;

/// How long a driver may take to begin its answer, and between two pieces of it.
const ANSWER: Duration = Duration::from_secs(60);

/// Sends it once; the answer's body is still on its way.
pub(super) async fn send(
    tasks: &TaskTracker,
    turn: OwnedSemaphorePermit,
    stream: TcpStream,
    mut request: Request<Body>,
    most: usize,
) -> Result<Response<TimeoutBody<Incoming>>, ApiError> {
    let unreachable = |error: &dyn std::fmt::Display| {
        tracing::debug!(%error, "a request could not be passed on to a driver");
        ApiError::new(StatusCode::BAD_GATEWAY, "the driver broke off")
    };
    if !request.headers().contains_key(HOST)
        && let Ok(address) = stream.peer_addr()
        && let Ok(host) = HeaderValue::from_str(&address.to_string())
    {
        request.headers_mut().insert(HOST, host);
    }
    *request.version_mut() = http::Version::HTTP_11;
    let handshake = http1::Builder::new().handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(|error| unreachable(&error))?;
    // Ends with the answer's body, or when nobody wants it any more.
    tasks.spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to a driver broke");
        }
        drop(turn);
    });
    let exceeded = Arc::new(Mutex::new(None));
    let request = request.map(|body| Bounded {
        body,
        left: most,
        exceeded: exceeded.clone(),
    });
    match timeout(ANSWER, sender.send_request(request)).await {
        Ok(Ok(response)) => Ok(response.map(|body| TimeoutBody::new(ANSWER, body))),
        Ok(Err(error)) => {
            let rest = exceeded.lock().unwrap_or_else(PoisonError::into_inner).take();
            match rest {
                Some(rest) => {
                    door::discard(rest).await;
                    Err(too_large(most))
                }
                None => Err(unreachable(&error)),
            }
        }
        Err(_) => Err(ApiError::new(
            StatusCode::GATEWAY_TIMEOUT,
            format!("the driver did not answer within {} s", ANSWER.as_secs()),
        )),
    }
}

/// More than is passed on.
pub(super) fn too_large(most: usize) -> ApiError {
    ApiError::too_large(format!("the body is larger than {most} bytes"))
}

/// A body that breaks off behind so many bytes, and leaves the rest to whoever tells its sender.
struct Bounded {
    body: Body,
    left: usize,
    exceeded: Arc<Mutex<Option<Body>>>,
}

/// The body is too large.
#[derive(Debug, thiserror::Error)]
#[error("the body is larger than is passed on")]
struct TooLarge;

impl hyper::body::Body for Bounded {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => return Poll::Pending,
        };
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Poll::Ready(Some(Ok(frame)))
            }
            None => {
                let rest = std::mem::take(&mut self.body);
                *self.exceeded.lock().unwrap_or_else(PoisonError::into_inner) = Some(rest);
                Poll::Ready(Some(Err(TooLarge.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
