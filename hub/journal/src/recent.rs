//! The newest pages in memory, so that those who keep up never read a file.

use std::collections::VecDeque;
use std::sync::Arc;

use dispatch_contract::{Page, Sequence};

/// A bounded ring of pages without gaps between them.
#[derive(Debug)]
pub(crate) struct Recent {
    pages: VecDeque<Kept>,
    bytes: usize,
    most: usize,
}

#[derive(Debug)]
struct Kept {
    first: Sequence,
    bytes: usize,
    page: Arc<Page>,
}

impl Recent {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            pages: VecDeque::new(),
            bytes: 0,
            most,
        }
    }

    /// Adds the newest page and lets go of the oldest beyond the bound.
    pub(crate) fn push(&mut self, first: Sequence, bytes: usize, page: Arc<Page>) {
        self.bytes += bytes;
        self.pages.push_back(Kept { first, bytes, page });
        while self.bytes > self.most
            && let Some(oldest) = self.pages.pop_front()
        {
            self.bytes -= oldest.bytes;
        }
    }

    /// Everything of one page from `from` on; `None` when it is not, or no more, in memory.
    pub(crate) fn page(&self, from: Sequence) -> Option<Arc<Page>> {
        let behind = self.pages.partition_point(|k| k.first <= from);
        let kept = self.pages.get(behind.checked_sub(1)?)?;
        if from >= kept.page.next {
            return None;
        }
        if from == kept.first {
            return Some(kept.page.clone());
        }
        let skip = kept.page.entries.partition_point(|e| e.sequence < from);
        Some(Arc::new(Page {
            entries: kept.page.entries.get(skip..).unwrap_or_default().to_vec(),
            next: kept.page.next,
        }))
    }
}
