//! The events of a measurement. Their id says who sent them and when.
//!
//! `{run}-{producer}-{number}-{microseconds}`: the time is counted from the start of this process, and in
//! open loop it is the time at which the event was due, not the one at which a slow hub let it go.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::ValueEnum;
use http::request::Builder;
use http_body_util::Full;

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// All in one JSON document.
    Structured,
    /// Attributes as headers.
    Binary,
}

/// Who sent an event, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Which phase of which process.
    pub(crate) run: u32,
    /// Which producer.
    pub(crate) producer: usize,
    /// Which of its events.
    pub(crate) number: usize,
    /// When, since the clock's start.
    pub(crate) at: Duration,
}

/// The clock all stamps are read from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    /// Starts now.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }
    /// Time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.0.elapsed()
    }
    /// When that will be.
    pub(crate) fn instant(&self, at: Duration) -> Instant {
        self.0 + at
    }
}

impl Stamp {
    /// The id of the event.
    pub(crate) fn id(&self) -> String {
        let at = self.at.as_micros();
        format!("{:08x}-{}-{}-{at}", self.run, self.producer, self.number)
    }

    /// Reads an id.
    pub(crate) fn read(id: &str) -> Option<Self> {
        let mut parts = id.split('-');
        let stamp = Self {
            run: u32::from_str_radix(parts.next()?, 16).ok()?,
            producer: parts.next()?.parse().ok()?,
            number: parts.next()?.parse().ok()?,
            at: Duration::from_micros(parts.next()?.parse().ok()?),
        };
        parts.next().is_none().then_some(stamp)
    }
}

/// What the events of a measurement have in common.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    mode: Mode,
    ty: String,
    padding: String,
}

const SOURCE: &str = "/bench";

impl Recipe {
    /// Events of this type whose data has about `size` bytes.
    pub(crate) fn new(mode: Mode, ty: &str, size: usize) -> Self {
        // `{"padding":""}` is there in any case.
        let padding = "x".repeat(size.saturating_sub(14));
        Self {
            mode,
            ty: ty.to_owned(),
            padding,
        }
    }

    /// The request that posts one event.
    pub(crate) fn request(&self, to: Builder, stamp: &Stamp) -> http::Result<http::Request<Full<Bytes>>> {
        let id = stamp.id();
        let ty = &self.ty;
        let mut body = String::with_capacity(self.padding.len() + 256);
        let to = match self.mode {
            Mode::Structured => {
                write!(
                    body,
                    r#"{{"specversion":"1.0","id":"{id}","source":"{SOURCE}","type":"{ty}","data":"#
                )
                .unwrap_or_default();
                to.header("content-type", dispatch_contract::STRUCTURED_CONTENT_TYPE)
            }
            Mode::Binary => to
                .header("content-type", "application/json")
                .header("ce-specversion", "1.0")
                .header("ce-id", id)
                .header("ce-source", SOURCE)
                .header("ce-type", ty),
        };
        body.push_str(r#"{"padding":""#);
        body.push_str(&self.padding);
        body.push_str(r#""}"#);
        if self.mode == Mode::Structured {
            body.push('}');
        }
        to.body(Full::from(body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dispatch_contract::Event;
    use http_body_util::BodyExt as _;

    fn stamp() -> Stamp {
        Stamp {
            run: 0xbeef,
            producer: 3,
            number: 12,
            at: Duration::from_micros(4_567_890),
        }
    }

    #[test]
    fn an_id_tells_all_that_went_into_it() {
        assert_eq!(stamp().id(), "0000beef-3-12-4567890");
        assert_eq!(Stamp::read(&stamp().id()), Some(stamp()));
        for other in ["", "0000beef-3-12", "0000beef-3-12-5-6", "x-3-12-5"] {
            assert_eq!(Stamp::read(other), None, "{other}");
        }
    }

    #[tokio::test]
    async fn what_is_posted_is_a_cloud_event_of_the_size_asked_for() {
        for mode in [Mode::Structured, Mode::Binary] {
            let recipe = Recipe::new(mode, "bench.event", 1024);
            let request = recipe
                .request(http::Request::post("http://x/"), &stamp())
                .unwrap();
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let event = match mode {
                Mode::Structured => Event::from_json(&body).unwrap(),
                Mode::Binary => Event::from_headers(&parts.headers, body).unwrap(),
            };
            assert_eq!((event.id(), event.ty()), (stamp().id().as_str(), "bench.event"));
            assert_eq!(event.data().unwrap().bytes.len(), 1024);
        }
    }
}
