//! The hub as a driver sees it, in memory: takes batches with their checkpoint, all or nothing, and can refuse,
//! keep silent, go away and come back on its port.
//!
//! It outlives the drivers that are started and killed, as a real hub does, and keeps every arrival, duplicates too.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use dispatch_contract::Event;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::{JoinHandle, JoinSet};

use crate::receive;

/// An event that arrived.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// The event.
    pub event: Event,
    /// When.
    pub at: SystemTime,
    /// Whether it had arrived before.
    pub duplicate: bool,
}

/// A POST of events, whatever became of it.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// `(source, id)` of its events.
    pub events: Vec<(String, String)>,
    /// When.
    pub at: Instant,
}

/// How the hub answers POSTs of events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mood {
    /// Takes them.
    #[default]
    Takes,
    /// Refuses them with a status.
    Refuses(StatusCode),
    /// Is full: 503 and `Retry-After` with so many seconds.
    Full(u32),
    /// Reads them and never answers.
    Silent,
}

#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) token: Option<String>,
    pub(crate) mood: Mood,
    pub(crate) arrived: Vec<Arrived>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) problems: Vec<String>,
    pub(crate) known: HashSet<(String, String)>,
    pub(crate) checkpoint: Option<Bytes>,
    pub(crate) refused: usize,
    pub(crate) posts: usize,
    pub(crate) health: Vec<Value>,
}

pub(crate) type Shared = Arc<Mutex<Kept>>;

/// The running hub. Stops when dropped.
pub struct DriverHub {
    address: SocketAddr,
    kept: Shared,
    app: Router,
    server: Option<JoinHandle<()>>,
    /// Keeps the port for a hub that is away: it never listens.
    away: Option<TcpSocket>,
}

impl DriverHub {
    /// Listens on a free port.
    pub async fn start() -> Result<Self> {
        let kept = Shared::default();
        let app = receive::routes(kept.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = Some(tokio::spawn(serve(listener, app.clone())));
        Ok(Self {
            address,
            kept,
            app,
            server,
            away: None,
        })
    }

    /// A driver with this token starts: other tokens are denied, and what an earlier driver said of itself is void.
    pub(crate) fn expect(&self, token: &str) {
        let mut kept = lock(&self.kept);
        kept.token = Some(token.to_owned());
        kept.health.clear();
    }
    /// What `K_SINK` is to say.
    pub fn sink(&self) -> String {
        format!("http://{}/sink", self.address)
    }
    /// `HOST:PORT`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
    /// Changes how POSTs of events are answered from now on; how many of them there were before.
    pub fn be(&self, mood: Mood) -> usize {
        let mut kept = lock(&self.kept);
        kept.mood = mood;
        kept.attempts.len()
    }
    /// Answers every POST with this status and takes nothing; `None` takes them again.
    pub fn refuse(&self, status: Option<StatusCode>) {
        self.be(status.map_or(Mood::Takes, Mood::Refuses));
    }
    /// Cuts every connection and refuses new ones. What it took it keeps.
    pub async fn go_away(&mut self) -> Result<()> {
        if let Some(server) = self.server.take() {
            server.abort();
            // Ended as asked.
            server.await.unwrap_or_default();
            let away = TcpSocket::new_v4()?;
            away.set_reuseaddr(true)?;
            away.bind(self.address)?;
            self.away = Some(away);
        }
        Ok(())
    }
    /// Listens again on the same port.
    pub async fn come_back(&mut self) -> Result<()> {
        ensure!(self.server.is_none(), "the hub is there already");
        let listener = TcpListener::bind(self.address)
            .await
            .with_context(|| format!("listen on {} again", self.address))?;
        self.away = None;
        self.server = Some(tokio::spawn(serve(listener, self.app.clone())));
        Ok(())
    }
    /// POSTs that were refused.
    pub fn refused(&self) -> usize {
        lock(&self.kept).refused
    }
    /// POSTs that were taken.
    pub fn posts(&self) -> usize {
        lock(&self.kept).posts
    }
    /// Every POST of valid events from the `from`-th on, whatever became of it.
    pub fn attempts(&self, from: usize) -> Vec<Attempt> {
        lock(&self.kept).attempts.get(from..).unwrap_or_default().to_vec()
    }
    /// What was wrong with requests.
    pub fn problems(&self) -> Vec<String> {
        lock(&self.kept).problems.clone()
    }
    /// Everything that arrived, in order, duplicates too.
    pub fn arrived(&self) -> Vec<Arrived> {
        lock(&self.kept).arrived.clone()
    }
    /// Every event once, in the order of first arrival.
    pub fn events(&self) -> Vec<Event> {
        self.arrived()
            .into_iter()
            .filter(|a| !a.duplicate)
            .map(|a| a.event)
            .collect()
    }
    /// How many events there are, each counted once.
    pub fn count(&self) -> usize {
        lock(&self.kept).known.len()
    }
    /// Whether this event was taken.
    pub fn has(&self, event: &(String, String)) -> bool {
        lock(&self.kept).known.contains(event)
    }
    /// The driver's last checkpoint.
    pub fn checkpoint(&self) -> Option<Bytes> {
        lock(&self.kept).checkpoint.clone()
    }
    /// Makes the driver find this checkpoint.
    pub fn set_checkpoint(&self, checkpoint: impl Into<Bytes>) {
        lock(&self.kept).checkpoint = Some(checkpoint.into());
    }
    /// What the driver said of itself, in order.
    pub fn health(&self) -> Vec<Value> {
        lock(&self.kept).health.clone()
    }
    /// Where the driver listens, if it said so.
    pub fn listens(&self) -> Option<String> {
        let kept = lock(&self.kept);
        let said = kept
            .health
            .iter()
            .rev()
            .find_map(|health| health["listen"].as_str());
        said.map(str::to_owned)
    }
    /// Waits until a condition holds.
    pub async fn until(&self, what: &str, within: Duration, holds: impl Fn(&Self) -> bool) -> Result<()> {
        let held = crate::soon(within, || holds(self)).await;
        ensure!(held, "not within {within:?}: {what}");
        Ok(())
    }
}

impl Drop for DriverHub {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

pub(crate) fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves until it is aborted; its connections end with it, which those of `axum::serve` would not.
async fn serve(listener: TcpListener, app: Router) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let service = TowerToHyperService::new(app.clone());
                connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}
