//! Bytes of request bodies that are held at once, over all connections: bounded, whatever comes.
//!
//! A body counts as it arrives, not as it is announced, and until its request is answered. What would go past
//! the bound ends its request with 503 and `Retry-After`; everybody else goes on.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::config::LiveLimits;
use crate::places::Seat;
use crate::rest::error::ApiError;

/// When it is worth trying again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// All bodies together.
#[derive(Debug)]
pub(crate) struct Bodies {
    held: AtomicUsize,
    limits: LiveLimits,
}

impl Bodies {
    /// None yet; at most `inflight-bytes` of the limits.
    pub(crate) fn new(limits: LiveLimits) -> Self {
        Self {
            held: AtomicUsize::new(0),
            limits,
        }
    }

    /// Whether more would be taken.
    pub(crate) fn room(&self) -> Result<(), String> {
        let (held, most) = (self.held.load(Ordering::Relaxed), self.most());
        match held < most {
            true => Ok(()),
            false => Err(format!("{held} bytes of requests are held; at most {most} are")),
        }
    }

    fn most(&self) -> usize {
        self.limits.load().inflight_bytes
    }
}

/// What one request holds; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    bodies: Arc<Bodies>,
    bytes: AtomicUsize,
    refused: AtomicBool,
}

impl Held {
    /// Nothing yet; `None` when there is no room at all.
    pub(crate) fn begin(bodies: &Arc<Bodies>) -> Option<Self> {
        bodies.room().ok()?;
        Some(Self {
            bodies: bodies.clone(),
            bytes: AtomicUsize::new(0),
            refused: AtomicBool::new(false),
        })
    }

    /// So many bytes more, if there is room: one body always has some.
    pub(crate) fn grow(&self, bytes: usize) -> bool {
        let others = self.bodies.held.fetch_add(bytes, Ordering::Relaxed);
        if others > 0 && others + bytes > self.bodies.most() {
            self.bodies.held.fetch_sub(bytes, Ordering::Relaxed);
            self.refused.store(true, Ordering::Relaxed);
            return false;
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        true
    }

    /// Whether it was cut short for want of room.
    pub(crate) fn refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.bodies
            .held
            .fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

/// The answer when there is no room.
pub(crate) fn overloaded() -> ApiError {
    ApiError::unavailable("more is being sent than this hub holds at once", RETRY_AFTER)
}

/// A body that counts what it brings, and tells its connection's seat when it is being waited for.
pub(crate) struct Counted {
    body: Incoming,
    held: Arc<Held>,
    seat: Arc<Seat>,
}

impl Counted {
    /// Counts for `held`.
    pub(crate) fn new(body: Incoming, held: Arc<Held>, seat: Arc<Seat>) -> Self {
        Self { body, held, seat }
    }
}

/// The request's share of memory is used up.
#[derive(Debug, thiserror::Error)]
#[error("there is no room for more of it")]
pub(crate) struct NoRoom;

impl Body for Counted {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                self.seat.awaits_body();
                return Poll::Pending;
            }
        };
        let bytes = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) | None => 0,
        };
        if frame.is_none() || self.body.is_end_stream() {
            self.seat.busy();
        }
        Poll::Ready(match self.held.grow(bytes) {
            true => frame.map(|frame| frame.map_err(Into::into)),
            false => Some(Err(NoRoom.into())),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;

    fn bodies(inflight_bytes: usize) -> Arc<Bodies> {
        let limits = Limits {
            inflight_bytes,
            ..Limits::default()
        };
        Arc::new(Bodies::new(LiveLimits::new(limits)))
    }

    #[test]
    fn bodies_together_stay_within_the_bound_and_give_back_what_they_held() {
        let bodies = bodies(100);
        let first = Held::begin(&bodies).unwrap();
        let second = Held::begin(&bodies).unwrap();

        assert!(first.grow(60) && second.grow(40));
        assert!(!first.grow(1), "the bound is reached");
        assert!(first.refused() && !second.refused());
        assert!(Held::begin(&bodies).is_none(), "no room to begin with");

        drop(second);
        assert!(Held::begin(&bodies).unwrap().grow(40));
    }

    #[test]
    fn a_body_larger_than_the_bound_passes_alone() {
        let bodies = bodies(10);
        let large = Held::begin(&bodies).unwrap();

        assert!(large.grow(80));
        assert!(!large.grow(80), "but not more of it");

        drop(large);
        assert_eq!(bodies.room(), Ok(()));
    }
}
