//! A journal without threads: whoever opened it does its work, one step at a time, on a thread of their own.
//!
//! For simulations. The steps are exactly what the threads of [`Journal::open`](crate::Journal::open) do, so what holds
//! here holds there; only when each happens is the caller's choice. With a [`Disk`](crate::disk::Disk) and a
//! [`Clock`](crate::clock::Clock) that repeat themselves, a run repeats itself byte for byte.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use crate::committer::{BATCH_BYTES, Committer, Goodbye};
use crate::queue::{Queue, Taken};
use crate::upkeep::{Job, Worker};

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// There may be more to do at once.
    More,
    /// Nothing before a group comes, or so much time has passed.
    Wait(Duration),
    /// The journal was closed and everything is written.
    Ended,
}

/// The work of a journal that was opened by [`Journal::open_manual`](crate::Journal::open_manual).
///
/// Dropping it before [`Next::Ended`] is a crash of the process: nothing more is written, whoever waits is told that
/// the journal is closed.
pub struct Work {
    committer: Option<Committer>,
    queue: Arc<Queue>,
    worker: Worker,
    inbox: Receiver<Job>,
    goodbye: Option<Goodbye>,
}

impl Work {
    pub(crate) fn new(committer: Committer, worker: Worker, inbox: Receiver<Job>) -> Self {
        Self {
            queue: committer.queue.clone(),
            goodbye: Some(committer.goodbye()),
            committer: Some(committer),
            worker,
            inbox,
        }
    }

    /// One step of whichever has something to do, the committer first.
    pub fn step(&mut self) -> Next {
        match self.commit() {
            Next::More => Next::More,
            Next::Wait(committer) => match self.upkeep() {
                Next::Wait(upkeep) => Next::Wait(committer.min(upkeep)),
                other => other,
            },
            Next::Ended => self.upkeep(),
        }
    }

    /// What the thread that writes does next: takes the groups that wait, writes and answers them.
    pub fn commit(&mut self) -> Next {
        let Some(committer) = &mut self.committer else {
            return Next::Ended;
        };
        match self.queue.poll(BATCH_BYTES) {
            Taken::Groups(items) => {
                committer.write(items);
                Next::More
            }
            Taken::Nothing { due } => Next::Wait(due.unwrap_or(Duration::MAX)),
            Taken::Closed => {
                if let Some(committer) = self.committer.take() {
                    committer.finish();
                }
                Next::Ended
            }
        }
    }

    /// What the thread beside it does next: one job, or retention when it is time.
    pub fn upkeep(&mut self) -> Next {
        if let Ok(job) = self.inbox.try_recv() {
            self.worker.work(job);
            return Next::More;
        }
        if self.committer.is_none() {
            if let Some(goodbye) = self.goodbye.take() {
                self.worker.end();
                drop(goodbye);
            }
            return Next::Ended;
        }
        match self.worker.until_tick() {
            Duration::ZERO => {
                self.worker.work(Job::Retain);
                Next::More
            }
            left => Next::Wait(left),
        }
    }

    /// Steps until the journal is closed, as a task of the runtime; waits by tokio's clock, with which the injected one
    /// must agree.
    pub async fn run(mut self) {
        let queue = self.queue.clone();
        loop {
            let bell = queue.bell();
            match self.step() {
                Next::More => tokio::task::yield_now().await,
                Next::Wait(most) => {
                    // Either way it is time to look again.
                    tokio::time::timeout(most, bell).await.unwrap_or_default();
                }
                Next::Ended => break,
            }
        }
    }
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work")
            .field("ended", &self.committer.is_none())
            .finish_non_exhaustive()
    }
}
