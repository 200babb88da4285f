//! The target: takes deliveries, reads their stamps and counts each once.
//!
//! A hub delivers to `/0`, `/1`, …, one path for each subscription. The event may be the one that was
//! posted, in either mode, or one that it caused (`causationid`), such as the record of a function's run.
//! The target has a thread of its own, so that it costs the producers nothing but its processor time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;

use crate::event::{Clock, Stamp};
use crate::sample::Samples;
use crate::wire::{Message, Messages, header};

const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
/// Connections that wait to be accepted: as many as come at once, or the rest tries again after a second.
const BACKLOG: u32 = 4096;
/// Pause after a connection could not be accepted, for instance for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

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

/// What a target takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    /// Paths: `/0`, `/1`, … count.
    pub(crate) paths: usize,
    /// Producers of this process.
    pub(crate) producers: usize,
    /// How long it takes for each delivery.
    pub(crate) takes: Duration,
}

/// A target that listens.
pub(crate) struct Target {
    /// Where.
    pub(crate) port: u16,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    clock: Clock,
    expected: Expected,
    received: Mutex<Received>,
}

impl Target {
    /// Listens on this address.
    pub(crate) fn listen(address: &str, expected: Expected, clock: Clock) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared {
            clock,
            expected,
            received: Mutex::default(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = {
            let _inside = runtime.enter();
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            socket.bind(address.parse()?)?;
            socket.listen(BACKLOG)?
        };
        let port = listener.local_addr()?.port();
        let (stop, stopped) = oneshot::channel();
        let shares = shared.clone();
        let thread = std::thread::Builder::new()
            .name("target".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        // The sender gone means the same as told to stop.
                        _ = stopped => {}
                        () = accept(listener, shares) => {}
                    }
                });
            })
            .context("no thread for the target")?;
        Ok(Self {
            port,
            shared,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Forgets what was, and counts only events of this run from now on.
    pub(crate) fn begin(&self, run: u32) -> Received {
        let expected = self.shared.expected;
        let fresh = Received {
            run,
            seen: vec![Vec::new(); expected.paths * expected.producers],
            ..Received::default()
        };
        std::mem::replace(&mut *self.shared.received(), fresh)
    }

    /// Deliveries so far.
    pub(crate) fn distinct(&self) -> usize {
        self.shared.received().distinct
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic over there has been printed there.
            thread.join().unwrap_or_default();
        }
    }
}

impl Shared {
    fn received(&self) -> MutexGuard<'_, Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a delivery.
    fn count(&self, path: Option<usize>, stamp: Option<Stamp>) {
        let now = self.clock.now();
        let mut received = self.received();
        let (Some(path), Some(stamp)) = (path, stamp) else {
            return;
        };
        let Expected { paths, producers, .. } = self.expected;
        if stamp.run != received.run || stamp.producer >= producers || path >= paths {
            return;
        }
        let events = &mut received.seen[path * producers + stamp.producer];
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
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            // Ends with its connection, at the latest with the runtime of this thread.
            Ok((stream, _)) => drop(tokio::spawn(serve(stream, shared.clone()))),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Answers until the other side goes or says what is not understood.
async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    stream.set_nodelay(true).unwrap_or_default();
    let mut messages = Messages::default();
    let mut answers = Vec::new();
    while messages.read_from(&mut stream).await.is_ok() {
        answers.clear();
        while let Ok(Some(message)) = messages.next() {
            if !shared.expected.takes.is_zero() {
                tokio::time::sleep(shared.expected.takes).await;
            }
            shared.count(path(&messages, &message), stamp(&messages, &message));
            answers.extend_from_slice(ANSWER);
        }
        if stream.write_all(&answers).await.is_err() {
            return;
        }
    }
}

/// The number in the first line: `POST /7 HTTP/1.1`.
fn path(messages: &Messages, message: &Message) -> Option<usize> {
    let head = messages.bytes(&message.head);
    let line = head.split(|&b| b == b'\r').next().unwrap_or_default();
    let target = std::str::from_utf8(line).ok()?.split(' ').nth(1)?;
    target.strip_prefix('/')?.parse().ok()
}

fn stamp(messages: &Messages, message: &Message) -> Option<Stamp> {
    let (head, body) = (messages.bytes(&message.head), messages.bytes(&message.body));
    match header(head, "ce-causationid").and_then(Stamp::read) {
        Some(stamp) => Some(stamp),
        None => Stamp::read(header(head, "ce-id").or_else(|| structured_id(body))?),
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
    use crate::wire::Connection;

    const ID: &str = "0000beef-0003-00000012-0004567890";
    const PATIENCE: Duration = Duration::from_secs(10);

    async fn post(to: &mut Connection, path: &str, headers: &str, body: &str) -> u16 {
        let length = body.len();
        let text = format!("POST {path} HTTP/1.1\r\n{headers}content-length: {length}\r\n\r\n{body}");
        let exchange = to.exchange(text.as_bytes());
        tokio::time::timeout(PATIENCE, exchange).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn a_stamp_is_found_in_both_modes_and_in_what_an_event_caused() {
        let expected = Expected {
            paths: 3,
            producers: 4,
            takes: Duration::ZERO,
        };
        let target = Target::listen("127.0.0.1:0", expected, Clock::start()).unwrap();
        target.begin(0xbeef);
        let mut connection = Connection::open(&format!("127.0.0.1:{}", target.port))
            .await
            .unwrap();

        let structured = format!(r#"{{"specversion":"1.0","id":"{ID}","source":"/s"}}"#);
        post(&mut connection, "/0", "", &structured).await;
        post(&mut connection, "/1", &format!("CE-ID: {ID}\r\n"), "").await;
        let caused = format!("ce-id: 5b2c\r\nce-causationid: {ID}\r\n");
        post(&mut connection, "/2", &caused, "").await;
        assert_eq!(post(&mut connection, "/2", &caused, "").await, 204);
        post(&mut connection, "/3", &caused, "").await;
        post(&mut connection, "/0", "", "{}").await;

        let received = target.begin(0);
        assert_eq!((received.distinct, received.repeated), (3, 1));
    }

    #[tokio::test]
    async fn a_slow_target_counts_when_it_answers() {
        let expected = Expected {
            paths: 1,
            producers: 4,
            takes: Duration::from_millis(200),
        };
        let target = Target::listen("127.0.0.1:0", expected, Clock::start()).unwrap();
        target.begin(0xbeef);
        let address = format!("127.0.0.1:{}", target.port);
        let mut connection = Connection::open(&address).await.unwrap();

        let begun = std::time::Instant::now();
        post(&mut connection, "/0", &format!("ce-id: {ID}\r\n"), "").await;

        assert!(begun.elapsed() >= Duration::from_millis(200));
        assert_eq!(target.distinct(), 1);
    }
}
