//! Follows the log: from memory while it keeps up, from the files when it is behind.

use std::sync::Arc;
use std::time::Duration;

use dispatch_contract::{Page, Sequence, Tail};
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::reading::read_page;
use crate::view::View;

/// Size of a page read from the files.
const PAGE_BYTES: usize = 256 * 1024;
/// Wait after a read that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// One who follows. Dropping the future of [`Tail::next`] loses nothing.
#[derive(Debug)]
pub(crate) struct Follower {
    view: Arc<View>,
    bell: watch::Receiver<Sequence>,
    at: Sequence,
}

impl Follower {
    pub(crate) fn new(view: Arc<View>, from: Sequence) -> Self {
        let bell = view.listen();
        Self {
            view,
            bell,
            at: from.max(1),
        }
    }

    async fn next_page(&mut self) -> Option<Arc<Page>> {
        loop {
            // Asked before the head, so that what comes after is not missed.
            let closed = self.view.is_closed();
            let head = *self.bell.borrow_and_update();
            if let Some(page) = self.view.recent(self.at) {
                self.at = page.next;
                return Some(page);
            }
            if self.at <= head {
                match read_page(&self.view, self.at, PAGE_BYTES).await {
                    Ok(page) if page.entries.is_empty() => self.at = self.at.max(page.next),
                    Ok(page) => {
                        self.at = page.next;
                        return Some(Arc::new(page));
                    }
                    Err(error) => {
                        tracing::error!(%error, "cannot follow the journal, trying again");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
                continue;
            }
            if closed || self.bell.changed().await.is_err() {
                return None;
            }
        }
    }
}

impl Tail for Follower {
    fn next(&mut self) -> BoxFuture<'_, Option<Arc<Page>>> {
        Box::pin(self.next_page())
    }
}
