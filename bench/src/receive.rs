//! The target: takes deliveries, reads their stamps and counts each once.
//!
//! A hub delivers to `/0`, `/1`, …, one path for each subscription. The event may be the one that was
//! posted, in either mode, or one that it caused (`causationid`), such as the record of a function's run.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::event::{Clock, Stamp};
use crate::sample::Samples;

/// What was received in the present phase.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// Deliveries, each event once for each path.
    pub(crate) distinct: usize,
    /// Deliveries of what was there already.
    pub(crate) repeated: usize,
    /// From due to delivered.
    pub(crate) latency: Samples,
    /// When the last distinct delivery came.
    pub(crate) last: Duration,
    run: u32,
    /// A bit for each event, by path and producer.
    seen: Vec<Vec<u64>>,
}

/// A target that listens.
pub(crate) struct Target {
    /// Where.
    pub(crate) port: u16,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    clock: Clock,
    paths: usize,
    producers: usize,
    received: Mutex<Received>,
}

impl Target {
    /// Listens on this address.
    pub(crate) async fn listen(
        address: &str,
        paths: usize,
        producers: usize,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            clock,
            paths,
            producers,
            received: Mutex::default(),
        });
        let routes = Router::new()
            .route("/{path}", post(deliver))
            .with_state(shared.clone());
        let serve = axum::serve(
            axum::serve::ListenerExt::tap_io(listener, |stream| {
                stream.set_nodelay(true).unwrap_or_default();
            }),
            routes,
        );
        let server = tokio::spawn(async move { serve.await.unwrap_or_default() });
        Ok(Self { port, shared, server })
    }

    /// Forgets what was, and counts only events of this run from now on.
    pub(crate) fn begin(&self, run: u32) -> Received {
        let mut received = self.shared.received();
        let fresh = Received {
            run,
            seen: vec![Vec::new(); self.shared.paths * self.shared.producers],
            ..Received::default()
        };
        std::mem::replace(&mut received, fresh)
    }

    /// Deliveries so far.
    pub(crate) fn distinct(&self) -> usize {
        self.shared.received().distinct
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn received(&self) -> MutexGuard<'_, Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn deliver(
    State(shared): State<Arc<Shared>>,
    Path(path): Path<usize>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let now = shared.clock.now();
    let Some(stamp) = stamp(&headers, &body) else {
        return StatusCode::NO_CONTENT;
    };
    let mut received = shared.received();
    if stamp.run != received.run || stamp.producer >= shared.producers || path >= shared.paths {
        return StatusCode::NO_CONTENT;
    }
    let events = &mut received.seen[path * shared.producers + stamp.producer];
    let (word, bit) = (stamp.number / 64, 1 << (stamp.number % 64));
    if events.len() <= word {
        events.resize(word + 1, 0);
    }
    let is_new = events[word] & bit == 0;
    events[word] |= bit;
    if is_new {
        received.distinct += 1;
        received.latency.add(now.saturating_sub(stamp.at));
        received.last = now;
    } else {
        received.repeated += 1;
    }
    StatusCode::NO_CONTENT
}

fn stamp(headers: &HeaderMap, body: &[u8]) -> Option<Stamp> {
    let header = |name: &str| headers.get(name)?.to_str().ok();
    match header("ce-causationid").and_then(Stamp::read) {
        Some(stamp) => Some(stamp),
        None => Stamp::read(header("ce-id").or_else(|| structured_id(body))?),
    }
}

/// The id of an event in structured mode, without reading all of it: a target must cost little.
fn structured_id(body: &[u8]) -> Option<&str> {
    const KEY: &[u8] = b"\"id\":\"";
    let head = body.get(..body.len().min(512))?;
    let at = head.windows(KEY.len()).position(|window| window == KEY)? + KEY.len();
    let len = head[at..].iter().position(|&b| b == b'"')?;
    std::str::from_utf8(&head[at..at + len]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_found_in_both_modes_and_in_what_an_event_caused() {
        let id = "0000beef-3-12-4567890";
        let structured = format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s"}}"#);
        let mut binary = HeaderMap::new();
        binary.insert("ce-id", id.parse().unwrap());
        let mut caused = HeaderMap::new();
        caused.insert("ce-id", "5b2c".parse().unwrap());
        caused.insert("ce-causationid", id.parse().unwrap());

        let expected = Stamp::read(id);
        assert_eq!(stamp(&HeaderMap::new(), structured.as_bytes()), expected);
        assert_eq!(stamp(&binary, b""), expected);
        assert_eq!(stamp(&caused, b""), expected);
        assert_eq!(stamp(&HeaderMap::new(), b"{}"), None);
    }
}
