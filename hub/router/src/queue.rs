//! Which of a lane's events is tried next.
//!
//! First attempts go in the order of the log; retries when their time has come, before them. An event that waits
//! for an earlier one of its key is not here.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use dispatch_contract::Sequence;

#[derive(Debug, Default)]
pub(crate) struct Queue {
    fresh: VecDeque<Sequence>,
    due: VecDeque<Sequence>,
    waiting: BTreeSet<(Duration, Sequence)>,
}

impl Queue {
    /// An event that was never tried.
    pub(crate) fn push(&mut self, sequence: Sequence) {
        self.fresh.push_back(sequence);
    }

    /// An event to be tried as soon as there is a place.
    pub(crate) fn again(&mut self, sequence: Sequence) {
        self.due.push_back(sequence);
    }

    /// An event to be tried at `at`.
    pub(crate) fn wait(&mut self, at: Duration, sequence: Sequence) {
        self.waiting.insert((at, sequence));
    }

    /// Makes ready what is due, and says what that is.
    pub(crate) fn wake(&mut self, now: Duration) -> Vec<Sequence> {
        let mut woken = Vec::new();
        while let Some((at, sequence)) = self.waiting.first().copied()
            && at <= now
        {
            self.waiting.pop_first();
            self.due.push_back(sequence);
            woken.push(sequence);
        }
        woken
    }

    /// The next to try; it is no longer in the queue.
    pub(crate) fn pop(&mut self) -> Option<Sequence> {
        self.due.pop_front().or_else(|| self.fresh.pop_front())
    }

    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.waiting.first().map(|(at, _)| *at)
    }
    /// How many could start now.
    pub(crate) fn ready(&self) -> usize {
        self.due.len() + self.fresh.len()
    }
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}
