//! How far the lanes are, written into the log: often for lanes that work, seldom for those that only watch.

use std::time::Duration;

use super::Machine;
use crate::outbox::Post;

/// Settlements after which marks are written without waiting.
const SETTLEMENTS: usize = 512;

impl Machine {
    /// The lane's mark may have moved.
    pub(super) fn mark_later(&mut self, now: Duration, slot: usize) {
        if let Some(lane) = self.lanes.get_mut(slot)
            && !lane.listed.touched
        {
            lane.listed.touched = true;
            self.touched.push(slot);
        }
        self.marks_at.get_or_insert(now + self.limits.marks_every);
    }

    pub(super) fn marks_if_due(&mut self, now: Duration) {
        if self.draining {
            if self.attempts.is_empty() && !self.last_marks_written {
                self.last_marks_written = true;
                self.write_marks(true);
            }
            return;
        }
        let due = |at: Option<Duration>| at.is_some_and(|at| at <= now);
        let all = due(self.idle_marks_at);
        let some = due(self.marks_at) || self.settled_since_marks >= SETTLEMENTS;
        if (all || some) && !self.outbox.has_marks() {
            self.write_marks(all);
        }
    }

    /// When marks are due; while earlier ones wait for the log, its answer comes first.
    pub(super) fn marks_wake(&self) -> Option<Duration> {
        if self.draining || self.outbox.has_marks() {
            return None;
        }
        self.marks_at.into_iter().chain(self.idle_marks_at).min()
    }

    pub(super) fn write_marks(&mut self, all: bool) {
        let touched = std::mem::take(&mut self.touched);
        let slots: Vec<usize> = if all {
            self.lanes.slots().collect()
        } else {
            touched
        };
        let mut through = Vec::new();
        for slot in slots {
            let Some(lane) = self.lanes.get_mut(slot) else {
                continue;
            };
            lane.listed.touched = false;
            let Some(mark) = lane.mark(self.last_event, &self.limits) else {
                continue;
            };
            let named = !mark.but_for.is_empty();
            through.push(mark);
            if named {
                // It may have been held back by what it had settled.
                self.touch(slot);
            }
        }
        self.settled_since_marks = 0;
        self.marks_at = None;
        if all {
            self.idle_marks_at = None;
        }
        if !through.is_empty() {
            self.outbox.push(Post::Marks(through));
        }
        let floor = self.owed_from() - 1;
        if let Some(floor) = self.outbox.floor_after_all(floor) {
            self.floor = self.floor.max(floor);
        }
    }
}
