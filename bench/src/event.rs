//! The events of a measurement. Their id says who sent them and when.
//!
//! `{run}-{producer}-{number}-{microseconds}`, every part of a fixed width: a request is written once and only its
//! ids are overwritten. The time is counted from the start of this process, and in open loop it is the time at
//! which the event was due, not the one at which a slow hub let it go.

use std::io::Write as _;
use std::ops::Range;
use std::time::{Duration, Instant};

use clap::ValueEnum;

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

const BLANK_ID: &str = "00000000-0000-00000000-0000000000";

impl Stamp {
    /// Writes the id of the event over one.
    fn write(&self, mut place: &mut [u8]) -> std::io::Result<()> {
        let at = self.at.as_micros();
        write!(
            place,
            "{:08x}-{:04}-{:08}-{at:010}",
            self.run, self.producer, self.number
        )
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
    /// How they are written.
    pub(crate) mode: Mode,
    /// Their type; one of several if there are more than one.
    pub(crate) ty: String,
    /// How many types: `{ty}.0`, `{ty}.1`, …, in turn.
    pub(crate) types: usize,
    /// About how many bytes of data each has.
    pub(crate) size: usize,
    /// Events in a request; more than one are a batch.
    pub(crate) batch: usize,
    /// Instead of that of the mode.
    pub(crate) content_type: Option<String>,
}

const SOURCE: &str = "/bench";

impl Recipe {
    /// The request that posts `batch` events of the `turn`-th type, as bytes.
    pub(crate) fn request(&self, host: &str, path: &str, turn: usize) -> Request {
        let ty = match self.types {
            1 => self.ty.clone(),
            types => format!("{}.{}", self.ty, turn % types),
        };
        // `{"padding":""}` is there in any case.
        let data = format!(r#"{{"padding":"{}"}}"#, "x".repeat(self.size.saturating_sub(14)));
        let document = format!(
            r#"{{"specversion":"1.0","id":"{BLANK_ID}","source":"{SOURCE}","type":"{ty}","data":{data}}}"#
        );
        let (content_type, attributes, body) = match self.mode {
            _ if self.batch > 1 => {
                let events = vec![document; self.batch].join(",");
                (
                    dispatch_contract::BATCH_CONTENT_TYPE,
                    String::new(),
                    format!("[{events}]"),
                )
            }
            Mode::Structured => (
                dispatch_contract::STRUCTURED_CONTENT_TYPE,
                String::new(),
                document,
            ),
            Mode::Binary => (
                "application/json",
                format!(
                    "ce-specversion: 1.0\r\nce-id: {BLANK_ID}\r\nce-source: {SOURCE}\r\nce-type: {ty}\r\n"
                ),
                data,
            ),
        };
        let content_type = self.content_type.as_deref().unwrap_or(content_type);
        let text = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: {content_type}\r\n{attributes}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let ids = text.match_indices(BLANK_ID).map(|(at, id)| at..at + id.len());
        Request {
            body: text.len() - body.len(),
            ids: ids.collect(),
            bytes: text.into_bytes(),
        }
    }
}

/// A request that is posted again and again with other ids.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    bytes: Vec<u8>,
    /// Where the body begins.
    body: usize,
    ids: Vec<Range<usize>>,
}

impl Request {
    /// The bytes for the events from this one on.
    pub(crate) fn stamped(&mut self, first: &Stamp) -> std::io::Result<&[u8]> {
        for (n, id) in self.ids.iter().enumerate() {
            let stamp = Stamp {
                number: first.number + n,
                ..*first
            };
            stamp.write(&mut self.bytes[id.clone()])?;
        }
        Ok(&self.bytes)
    }

    /// What is behind the head.
    pub(crate) fn body(&self) -> &[u8] {
        &self.bytes[self.body..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dispatch_contract::Event;
    use http::{HeaderMap, HeaderName, HeaderValue};

    fn stamp() -> Stamp {
        Stamp {
            run: 0xbeef,
            producer: 3,
            number: 12,
            at: Duration::from_micros(4_567_890),
        }
    }

    fn recipe(mode: Mode, batch: usize) -> Recipe {
        Recipe {
            mode,
            ty: "bench.event".to_owned(),
            types: 3,
            size: 1024,
            batch,
            content_type: None,
        }
    }

    #[test]
    fn an_id_tells_all_that_went_into_it() {
        let mut id = BLANK_ID.as_bytes().to_vec();
        stamp().write(&mut id).unwrap();
        let id = String::from_utf8(id).unwrap();
        assert_eq!(id, "0000beef-0003-00000012-0004567890");
        assert_eq!(Stamp::read(&id), Some(stamp()));
        for other in ["", "0000beef-3-12", "0000beef-3-12-5-6", "x-3-12-5"] {
            assert_eq!(Stamp::read(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_posted_is_cloud_events_of_the_type_and_size_asked_for() {
        for (mode, batch) in [(Mode::Structured, 1), (Mode::Binary, 1), (Mode::Structured, 2)] {
            let mut request = recipe(mode, batch).request("h", "/v1/events", 4);
            let text = String::from_utf8(request.stamped(&stamp()).unwrap().to_vec()).unwrap();

            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let mut headers = HeaderMap::new();
            for line in head.lines().skip(1) {
                let (name, value) = line.split_once(": ").unwrap();
                let value = HeaderValue::from_str(value).unwrap();
                headers.insert(name.parse::<HeaderName>().unwrap(), value);
            }
            assert_eq!(headers["content-length"], body.len().to_string());
            let events = match (mode, batch) {
                (_, 2) => serde_json::from_str::<Vec<serde_json::Value>>(body)
                    .unwrap()
                    .iter()
                    .map(|event| Event::from_json(event.to_string().as_bytes()).unwrap())
                    .collect(),
                (Mode::Binary, _) => vec![Event::from_headers(&headers, body.to_owned().into()).unwrap()],
                (Mode::Structured, _) => vec![Event::from_json(body.as_bytes()).unwrap()],
            };
            assert_eq!(events.len(), batch);
            for (n, event) in events.iter().enumerate() {
                assert_eq!(Stamp::read(event.id()).unwrap().number, 12 + n);
                assert_eq!(event.ty(), "bench.event.1");
                assert_eq!(event.data().unwrap().bytes.len(), 1024);
            }
        }
    }
}
