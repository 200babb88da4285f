//! Those who send to a driver that listens: each repeats its delivery until it hears yes, as real ones do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::task::JoinSet;

use crate::hub::DriverHub;
use crate::world::Upstream;

/// How long a driver may take to say where it listens.
const FOUND: Duration = Duration::from_secs(30);
/// How long a sender waits before it comes again: less than it is told to, as impatient ones do.
const PAUSE: Duration = Duration::from_secs(1);

/// What a sender heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Yes: it does not come again.
    Taken,
    /// Not now, in a way that every sender understands.
    Later,
    /// Nobody is there, or the connection broke off.
    Nobody,
    /// What makes a real sender give up; in words.
    Wrong(String),
}

/// All who send to one driver, over its restarts. They give up when this is dropped.
#[derive(Default)]
pub struct Senders {
    seen: Arc<Mutex<Seen>>,
    tasks: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    place: Option<String>,
    upstream: Upstream,
}

impl Senders {
    /// Waits until the driver said where it listens; who sends goes there from now on.
    pub async fn find(&mut self, hub: &DriverHub) -> Result<()> {
        let found = crate::soon(FOUND, || hub.listens().is_some()).await;
        ensure!(
            found,
            "it did not say within {} s where it listens",
            FOUND.as_secs()
        );
        lock(&self.seen).place = hub.listens();
        Ok(())
    }

    /// Where the driver listens, or listened last: `127.0.0.1:PORT`.
    pub fn place(&self) -> Option<String> {
        lock(&self.seen).place.clone()
    }

    /// One more, who delivers to that place until it hears yes.
    pub fn send<F, A>(&mut self, deliver: F)
    where
        F: Fn(String) -> A + Send + Sync + 'static,
        A: Future<Output = Answer> + Send,
    {
        let seen = self.seen.clone();
        lock(&seen).upstream.waiting += 1;
        self.tasks.spawn(async move {
            while !is_taken(&seen, &deliver).await {
                tokio::time::sleep(PAUSE).await;
            }
        });
    }

    /// What they heard; a complaint is told once.
    pub fn upstream(&self) -> Upstream {
        let mut seen = lock(&self.seen);
        let upstream = seen.upstream.clone();
        seen.upstream.complaint = None;
        Upstream {
            told_later: Some(upstream.told_later.unwrap_or_default()),
            ..upstream
        }
    }
}

async fn is_taken<F, A>(seen: &Mutex<Seen>, deliver: &F) -> bool
where
    F: Fn(String) -> A,
    A: Future<Output = Answer>,
{
    let place = lock(seen).place.clone();
    let answer = match place {
        Some(place) => deliver(place).await,
        None => Answer::Nobody,
    };
    let upstream = &mut lock(seen).upstream;
    match answer {
        Answer::Taken => {
            upstream.waiting -= 1;
            return true;
        }
        Answer::Later => *upstream.told_later.get_or_insert_default() += 1,
        Answer::Nobody => {}
        Answer::Wrong(heard) => {
            upstream.complaint.get_or_insert(heard);
        }
    }
    false
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
