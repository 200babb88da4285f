//! What the log has written: it frees lanes to start attempts, and moves the floor.
//!
//! The log takes settlements long before it writes them, and says so by its tail only. Until then they count: a crash
//! would undo them, and what they settled would be delivered again.

use dispatch_contract::{Page, Sequence, SubscriptionId};

use super::{Effect, Machine};

impl Machine {
    /// This page of the tail was followed; with a `gap`, records are missing before it or in it.
    pub(super) fn written(&mut self, page: &Page, gap: bool) {
        let written = self.outbox.written(page, gap);
        for subscription in written.settled {
            self.is_written_of(subscription);
        }
        if let Some(floor) = written.floor {
            self.floor = self.floor.max(floor.min(self.owed_from() - 1));
        }
    }

    /// One settlement of a lane is written, or never will be.
    pub(super) fn is_written_of(&mut self, subscription: SubscriptionId) {
        let Some(slot) = self.lanes.slot(subscription) else {
            return;
        };
        if let Some(lane) = self.lanes.get_mut(slot) {
            lane.unwritten = lane.unwritten.saturating_sub(1);
            if lane.is_ready() && !lane.listed.ready {
                self.touch(slot);
            }
        }
    }

    /// Asks the log to write soon what lanes will be held up by.
    pub(super) fn hasten(&mut self, effects: &mut Vec<Effect>) {
        if self.pressing && self.outbox.hasten() {
            self.pressing = false;
            effects.push(Effect::Hasten);
        }
    }

    /// Nobody owes anything at or before this, and the log has written so.
    pub fn floor(&self) -> Sequence {
        self.floor
    }
}
