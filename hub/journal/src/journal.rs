//! The handle: the contract's [`Log`], and what only this engine can. `opening.rs` makes one.

use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use bytes::Bytes;
use dispatch_contract::{
    AppendError, Appended, Group, Log, Page, ReadError, Record, Sequence, SubscriptionId, Tail,
};
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use crate::identities::identity_of;
use crate::lock::lock;
use crate::queue::{Item, Queue};
use crate::reading::read_page;
use crate::record;
use crate::tail::Follower;
use crate::upkeep::Job;
use crate::view::View;

/// The durable log of this machine. Cloning gives another handle to the same one.
///
/// Call [`close`](Journal::close) before the end; dropping the last handle does the same and blocks for it.
#[derive(Debug, Clone)]
pub struct Journal {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) view: Arc<View>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) upkeep: SyncSender<Job>,
    /// The committer's thread; none when it is driven by hand, or ended.
    pub(crate) committer: Mutex<Option<JoinHandle<()>>>,
    pub(crate) max_group_bytes: usize,
    pub(crate) identity_seed: u64,
}

/// Figures of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Segment files.
    pub segments: usize,
    /// Bytes of records in them.
    pub bytes: u64,
    /// The oldest sequence that is kept.
    pub first: Sequence,
    /// The last durable sequence; 0 when there is none.
    pub head: Sequence,
    /// Records removed by retention since opening.
    pub dropped: u64,
    /// Records found to be unreadable since opening.
    pub damaged: u64,
}

impl Journal {
    /// The last checkpoint a driver stored.
    pub fn checkpoint(&self, organization: &str, driver: &str) -> Option<Bytes> {
        lock(&self.inner.view.ledger).checkpoint(organization, driver)
    }

    /// Nobody needs anything at or before `sequence`: retention may remove it when it is old or too much.
    /// Until this is called nothing is removed. What comes after is kept, whatever its age.
    pub fn set_floor(&self, sequence: Sequence) {
        let view = &self.inner.view;
        let before = view.floor.swap(sequence, Ordering::AcqRel);
        let frees_oldest = view
            .end_of_oldest()
            .is_some_and(|last| (before + 1..=sequence).contains(&last));
        if frees_oldest {
            if self.inner.upkeep.try_send(Job::Retain).is_err() {
                tracing::trace!("retention looks at the new floor with its next tick");
            }
            self.inner.queue.ring();
        }
    }

    /// A deleted subscription: its progress leaves the next snapshot, and late settlements of it count no more.
    pub fn forget(&self, subscription: SubscriptionId) {
        lock(&self.inner.view.ledger).forget(subscription);
    }

    /// Figures for people and metrics.
    pub fn stats(&self) -> Stats {
        let view = &self.inner.view;
        let (segments, bytes) = view.size();
        Stats {
            segments,
            bytes,
            first: view.first(),
            head: view.head(),
            dropped: view.dropped(),
            damaged: view.damaged(),
        }
    }

    /// Writes what waits, syncs, and ends the journal's threads. Appends after this get [`AppendError::Closed`].
    pub async fn close(&self) {
        self.inner.queue.close();
        let thread = lock(&self.inner.committer).take();
        match thread {
            Some(thread) => {
                let joined = tokio::task::spawn_blocking(move || thread.join()).await;
                if !matches!(joined, Ok(Ok(()))) {
                    tracing::error!("the journal's committer panicked");
                }
            }
            None => {
                let mut bell = self.inner.view.listen();
                while !self.inner.view.is_closed() && bell.changed().await.is_ok() {}
            }
        }
    }

    fn item(&self, group: Group) -> Result<Item, AppendError> {
        let bytes = record::size_of(&group).map_err(AppendError::TooLarge)?;
        if bytes > self.inner.max_group_bytes {
            return Err(AppendError::TooLarge(format!(
                "a group of {bytes} bytes, {} are allowed",
                self.inner.max_group_bytes
            )));
        }
        let identities = group
            .events
            .iter()
            .map(|new| match new.target {
                Some(_) => None,
                None => Some(identity_of(
                    self.inner.identity_seed,
                    &new.organization,
                    &new.event,
                )),
            })
            .collect();
        Ok(Item {
            group,
            identities,
            bytes,
            reply: None,
        })
    }
}

impl Log for Journal {
    fn append(&self, group: Group) -> BoxFuture<'_, Result<Appended, AppendError>> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let mut item = self.item(group)?;
            item.reply = Some(reply);
            self.inner.queue.push(item).await?;
            // The reply is dropped only when the committer is gone.
            answer.await.unwrap_or(Err(AppendError::Closed))
        })
    }

    fn note(&self, group: Group) -> BoxFuture<'_, Result<(), AppendError>> {
        Box::pin(async move { self.inner.queue.push(self.item(group)?).await })
    }

    fn hasten(&self) {
        self.inner.queue.hasten();
    }

    fn read(&self, from: Sequence, max_bytes: usize) -> BoxFuture<'_, Result<Page, ReadError>> {
        Box::pin(async move {
            match self.inner.view.recent(from) {
                Some(page) => Ok(cut(&page, max_bytes)),
                None => read_page(&self.inner.view, from, max_bytes).await,
            }
        })
    }

    fn tail(&self, from: Sequence) -> Box<dyn Tail> {
        Box::new(Follower::new(self.inner.view.clone(), from))
    }

    fn head(&self) -> Sequence {
        self.inner.view.head()
    }

    fn kept_bytes(&self, organization: &str) -> Option<u64> {
        Some(self.inner.view.held_of(organization))
    }
}

/// The front of a page, at most about `max_bytes` of it.
fn cut(page: &Page, max_bytes: usize) -> Page {
    let mut bytes = 0;
    let fits = page.entries.iter().take_while(|entry| {
        let room = bytes < max_bytes.max(1);
        bytes += match &entry.record {
            Record::Event(committed) => committed.event.encoded().len(),
            Record::Settlement(_) | Record::Through(_) | Record::Checkpoint(_) => 64,
        };
        room
    });
    let entries: Vec<_> = fits.cloned().collect();
    let next = match page.entries.get(entries.len()) {
        Some(first_left) => first_left.sequence,
        None => page.next,
    };
    Page { entries, next }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
        let thread = lock(&self.committer).take();
        if thread.is_some_and(|t| t.join().is_err()) {
            tracing::error!("the journal's committer panicked");
        }
    }
}
