//! The web hooks of the three subscriptions, and what they have seen.
//!
//! `plain` takes everything. `ordered` takes everything and looks at the order. `failing` refuses some events
//! twice before it takes them, and some for good.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use dispatch_fixtures::process::until;
use dispatch_fixtures::wire::{Message, Messages};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::producers::KEYS;

/// The subscriptions.
pub(crate) const NAMES: [&str; 3] = ["plain", "ordered", "failing"];

/// How long the connections of a killed hub may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// An event: its key and its number.
pub(crate) type Id = (u32, u32);

/// `3-17`.
pub(crate) fn id(text: &str) -> Result<Id> {
    let (key, number) = text.split_once('-').context("an id of somebody else")?;
    let id: Id = (key.parse()?, number.parse()?);
    ensure!(id.0 < KEYS, "a key that is none: {text}");
    Ok(id)
}

/// Whether `failing` refuses it for good.
pub(crate) fn is_refused((_, number): Id) -> bool {
    number % 50 == 7
}

/// What one web hook has seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// How often each event of each key was taken, and in which life of the hub for the last time.
    taken: Vec<Vec<(u8, u32)>>,
    /// Taken again although it had been taken.
    pub(crate) repeats: usize,
    /// How many of them each kill brought about: those that were taken in the life it ended.
    pub(crate) repeats_by_kill: Vec<usize>,
    /// Which life of the hub this is, from 0.
    life: u32,
    /// Those taken since [`Hooks::new_life`].
    pub(crate) this_life: BTreeSet<Id>,
    /// Events that came before one they must follow.
    pub(crate) disorder: Vec<Id>,
}

impl Seen {
    /// How often it was taken.
    pub(crate) fn times(&self, (key, number): Id) -> u8 {
        let of = self.taken.get(key as usize);
        of.and_then(|of| of.get(number as usize)).map_or(0, |of| of.0)
    }

    fn take(&mut self, (key, number): Id) {
        self.taken.resize_with(KEYS as usize, Vec::new);
        let of = &mut self.taken[key as usize];
        // A kill may bring back what was taken; nothing may come before what it follows.
        if number as usize > of.len() {
            self.disorder.push((key, number));
        }
        of.resize(of.len().max(number as usize + 1), (0, 0));
        let (times, last) = &mut of[number as usize];
        if *times > 0 {
            self.repeats += 1;
            // A connection nobody had looked at as the hub was killed is seen in the next life.
            let killed = if *last == self.life {
                last.saturating_sub(1)
            } else {
                *last
            };
            self.repeats_by_kill.resize(self.life as usize + 1, 0);
            self.repeats_by_kill[killed as usize] += 1;
        }
        (*times, *last) = (times.saturating_add(1), self.life);
        self.this_life.insert((key, number));
    }
}

/// The running web hooks.
pub(crate) struct Hooks {
    address: SocketAddr,
    seen: Arc<[Mutex<Seen>; 3]>,
    /// Connections of the hub.
    open: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl Hooks {
    /// Starts them on a free port.
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let seen: Arc<[Mutex<Seen>; 3]> = Arc::default();
        let open = Arc::new(AtomicUsize::new(0));
        let (all, count) = (seen.clone(), open.clone());
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, open) = (all.clone(), count.clone());
                open.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    // The hub is killed: connections break.
                    serve(stream, &seen).await.unwrap_or_default();
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Ok(Self {
            address,
            seen,
            open,
            server,
        })
    }

    /// Where to send events of a subscription.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    /// What one has seen.
    pub(crate) fn seen(&self, lane: usize) -> MutexGuard<'_, Seen> {
        lock(&self.seen[lane])
    }

    /// The hub was killed: when everything it sent was seen, its next life may begin.
    pub(crate) async fn new_life(&self) -> Result<()> {
        until("the connections of the killed hub end", PATIENCE, async || {
            Ok(self.open.load(Ordering::SeqCst) == 0)
        })
        .await?;
        for lane in 0..NAMES.len() {
            let mut seen = self.seen(lane);
            seen.this_life.clear();
            seen.life += 1;
        }
        Ok(())
    }

    /// The most events of each that one kill brought a second time.
    pub(crate) fn most_repeats(&self) -> Vec<usize> {
        let most = |lane| self.seen(lane).repeats_by_kill.iter().copied().max();
        (0..NAMES.len()).map(|lane| most(lane).unwrap_or(0)).collect()
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(stream: TcpStream, seen: &[Mutex<Seen>; 3]) -> Result<()> {
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.into_split();
    let mut requests = Messages::new(read);
    while let Some(request) = requests.next().await? {
        let status = take(&request, seen)?;
        let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n");
        write.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

/// Takes an event or refuses it; gives the status.
fn take(request: &Message, seen: &[Mutex<Seen>; 3]) -> Result<u16> {
    let path = request.start().split(' ').nth(1).unwrap_or_default();
    let lane = NAMES.iter().position(|name| path.strip_prefix('/') == Some(name));
    let lane = lane.context("no such web hook")?;
    let id = id(request.header("ce-id").context("no id")?)?;
    let attempt: u32 = request.header("dispatch-attempt").unwrap_or("1").parse()?;
    if NAMES[lane] == "failing" {
        // 500 is about the event; 503 would be about the web hook, which would then be asked less.
        if is_refused(id) || (id.1 % 10 == 3 && attempt <= 2) {
            return Ok(500);
        }
    }
    lock(&seen[lane]).take(id);
    Ok(204)
}
