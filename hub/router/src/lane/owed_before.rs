//! What a lane owes since an earlier life, before the last mark it wrote then.
//!
//! Such a mark named the events that were still owed; a restart looks at these alone, and goes on behind the mark.

use std::collections::BTreeSet;

use dispatch_contract::{Progress, Sequence};

#[derive(Debug)]
pub(super) struct OwedBefore {
    through: Sequence,
    owed: BTreeSet<Sequence>,
}

impl OwedBefore {
    pub(super) fn new(progress: &Progress) -> Self {
        Self {
            through: progress.through,
            owed: progress.owed.clone(),
        }
    }

    /// Where a lane that has looked at everything before `until` goes on.
    pub(super) fn next(&mut self, until: Sequence) -> Sequence {
        if self.owed.first().is_some_and(|first| *first < until) {
            self.owed = self.owed.split_off(&until);
        }
        let next = self.owed.first().copied();
        until.max(next.unwrap_or(self.through.saturating_add(1)))
    }

    /// Whether it came before the mark.
    pub(super) fn is_behind(&self, sequence: Sequence) -> bool {
        sequence <= self.through
    }

    /// Whether an event that is looked at now was settled behind the mark, or never owed.
    pub(super) fn covers(&self, sequence: Sequence) -> bool {
        sequence <= self.through && !self.owed.contains(&sequence)
    }

    /// The event was looked at.
    pub(super) fn looked_at(&mut self, sequence: Sequence) {
        if sequence <= self.through {
            self.owed.remove(&sequence);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Sequence> {
        self.owed.iter().copied()
    }
}
