//! Order by key: keys that are parked, events that come back from the log, and those that are given up.

use dispatch_contract::{Outcome, Page, Record, Sequence, Settled, Settlement, SubscriptionId};

use std::time::Duration;

use super::attempts::failure;
use super::{Machine, Moment};
use crate::caused;
use crate::keys::GivenUp;
use crate::lane::{Burial, Stage, State};
use crate::outbox::Post;

impl Machine {
    /// Tries parked keys of a subscription again (or one of them), from the parked event on, in order; with
    /// `skip` the parked event of each becomes a dead letter and its key goes on. Returns how many keys it were,
    /// `None` when the subscription is not known.
    pub fn unpark(&mut self, id: SubscriptionId, key: Option<&str>, skip: bool) -> Option<usize> {
        let slot = self.lanes.slot(id)?;
        let unparked = self.lanes.get_mut(slot)?.unpark(key, skip);
        self.touch(slot);
        Some(unparked)
    }

    /// The event failed for good and its lane keeps order: its key waits for a command.
    pub(super) fn park_key(&mut self, now: Moment, slot: usize, sequence: Sequence) {
        let Some(lane) = self.lanes.get_mut(slot) else {
            return;
        };
        lane.park_key(now.since_start, sequence, &self.limits);
        tracing::info!(
            organization = %lane.organization,
            subscription = %lane.name,
            event = sequence,
            "a key is parked: its events wait until it is unparked, all others go on"
        );
    }

    /// The event is given up: on to the dead letter sink, or settled.
    pub(super) fn bury(&mut self, now: Moment, slot: usize, sequence: Sequence, given_up: GivenUp) {
        let Some(lane) = self.lanes.get_mut(slot) else {
            return;
        };
        let Some(owed) = lane.owed.get_mut(&sequence) else {
            return;
        };
        if let Some(failed) = given_up.failed {
            owed.attempts = failed.attempts;
            owed.failures = failed.failures;
        }
        let last = owed.failures.last();
        let reason = match last {
            Some(failed) => format!("{}: {}", given_up.why, failed.reason),
            None => given_up.why.to_string(),
        };
        let code = last.and_then(|failed| failed.code);
        owed.failures
            .push(failure(now, Duration::ZERO, code, &given_up.why));
        if lane.dead_letter_sink.is_some() {
            let destination = lane.sink.destination();
            let destination = destination.as_deref().unwrap_or(&lane.name);
            let outcome = Outcome::Rejected { reason, code };
            owed.stage = Stage::DeadLetter(Box::new(Burial {
                event: caused::dead_letter(&owed.committed.event, destination, &outcome),
                attempts: 0,
                caused: Vec::new(),
            }));
            owed.state = State::Queued;
            return lane.queue.again(sequence);
        }
        lane.counts.dead_lettered += 1;
        self.settle(now, slot, sequence, Settled::DeadLettered, Vec::new());
    }

    /// Gives the lane those of the page's events that it wants back, in order, while it has room.
    pub(super) fn bring_back(
        &mut self,
        now: Moment,
        slot: usize,
        page: &Page,
        from: Sequence,
        until: Sequence,
    ) {
        let Some(lane) = self.lanes.get_mut(slot) else {
            return;
        };
        while let Some(sequence) = lane.wants_back(from, &self.limits).filter(|s| *s < until) {
            let entry = page
                .entries
                .binary_search_by_key(&sequence, |entry| entry.sequence);
            let record = entry.ok().map(|n| &page.entries[n].record);
            if let Some(Record::Event(committed)) = record {
                lane.take_back(sequence, committed, &self.limits);
                continue;
            }
            tracing::error!(
                subscription = %lane.name,
                event = sequence,
                "an event that waited for its key is no longer in the journal"
            );
            lane.lose(sequence, &self.limits);
            let settlement = Settlement {
                subscription: lane.id,
                event: sequence,
                settled: Settled::Dropped,
                attempts: 0,
                failures: vec![failure(
                    now,
                    Duration::ZERO,
                    None,
                    "it is no longer in the journal",
                )],
            };
            lane.unwritten += 1;
            self.outbox.push(Post::Settled {
                settlement,
                caused: Vec::new(),
            });
        }
    }
}
