//! Events into lanes: live from the log's tail, or from a page for lanes that are behind.
//!
//! Both ways find the lanes through the index, so a page serves all lanes that stand within it. A lane
//! becomes live when its cursor reaches what has been routed; that happens between two inputs, so no event
//! is skipped or taken twice.

use std::time::Duration;

use dispatch_contract::{Committed, Page, ReadError, Record, Sequence};

use super::{Effect, Machine, Moment};
use crate::lane::Offer;

/// How long reading rests after the log could not be read.
const READ_PAUSE: Duration = Duration::from_secs(1);
/// How many hungry lanes are looked at for one poll.
const LANES_LOOKED_AT: usize = 64;

impl Machine {
    /// The next records of the log's tail.
    pub fn follow(&mut self, now: Moment, page: &Page) {
        if self.draining {
            return;
        }
        let mut gap = false;
        for entry in &page.entries {
            if entry.sequence < self.routed {
                continue;
            }
            gap |= entry.sequence > self.routed;
            if let Record::Event(committed) = &entry.record {
                self.route(entry.sequence, committed);
                self.last_event = entry.sequence;
                self.idle_marks_at
                    .get_or_insert(now.since_start + self.limits.idle_marks_every);
            }
            self.routed = entry.sequence + 1;
        }
        gap |= page.next > self.routed;
        self.routed = self.routed.max(page.next);
        self.written(page, gap);
    }

    fn route(&mut self, sequence: Sequence, committed: &Committed) {
        let found = self.wanted_by(sequence, committed);
        self.observer.routed(sequence, committed, found.len());
        for slot in &found {
            let Some(lane) = self.lanes.get_mut(*slot) else {
                continue;
            };
            if !lane.live || sequence < lane.cursor {
                continue;
            }
            if lane.offer(sequence, committed, &self.limits) == Offer::Full {
                lane.live = false;
                lane.cursor = sequence;
                lane.looked = lane.looked.max(self.last_event);
            }
            self.touch(*slot);
        }
        self.found = found;
    }

    /// The lanes that want an event. Give the list back to `self.found` to spare the allocation.
    fn wanted_by(&mut self, sequence: Sequence, committed: &Committed) -> Vec<usize> {
        let mut found = std::mem::take(&mut self.found);
        found.clear();
        match committed.target {
            None => {
                self.index
                    .matches(&committed.organization, sequence, &committed.event, &mut found);
            }
            Some(id) => found.extend(self.lanes.slot(id).filter(|slot| {
                let lane = self.lanes.get(*slot);
                lane.is_some_and(|lane| lane.organization == committed.organization)
            })),
        }
        found
    }

    /// A page that was asked for by [`Effect::Read`].
    pub fn refill(&mut self, now: Moment, from: Sequence, result: Result<Page, ReadError>) {
        if let Some(place) = self.reads.iter().position(|at| *at == from) {
            self.reads.swap_remove(place);
        }
        let page = match result {
            Ok(page) if page.next > from => page,
            Ok(_) => {
                self.reads_not_before = now.since_start + READ_PAUSE;
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "subscriptions that are behind must wait");
                self.reads_not_before = now.since_start + READ_PAUSE;
                return;
            }
        };
        let until = page.next.min(self.routed);
        for slot in self.lanes_wanting(from, until) {
            self.bring_back(now, slot, &page, from, until);
            self.mark_later(now.since_start, slot);
            self.touch(slot);
        }
        let fed = self.lanes_within(from, until);
        let last = self.feed(&page, until, fed.len());
        for slot in fed {
            let Some(lane) = self.lanes.get_mut(slot) else {
                continue;
            };
            if std::mem::take(&mut lane.listed.feeding) {
                lane.advance(until);
                lane.live = lane.cursor >= self.routed;
                lane.looked = lane.looked.max(last);
            }
            self.mark_later(now.since_start, slot);
            self.touch(slot);
        }
    }

    /// The lanes whose next event to come back is in the range.
    fn lanes_wanting(&self, from: Sequence, until: Sequence) -> Vec<usize> {
        let wanting = self.hungry.iter().filter(|slot| {
            let wanted = self
                .lanes
                .get(**slot)
                .and_then(|lane| lane.wants_back(from, &self.limits));
            wanted.is_some_and(|wanted| wanted < until)
        });
        wanting.copied().collect()
    }

    /// The hungry lanes whose cursor is in the range; they are to be fed.
    fn lanes_within(&mut self, from: Sequence, until: Sequence) -> Vec<usize> {
        let mut fed = Vec::new();
        for slot in &self.hungry {
            let Some(lane) = self.lanes.get_mut(*slot) else {
                continue;
            };
            if (from..until).contains(&lane.cursor) && lane.is_hungry(&self.limits) {
                lane.listed.feeding = true;
                fed.push(*slot);
            }
        }
        fed
    }

    /// Offers the page's events to the lanes that are feeding, until it ends or all are full. Returns the
    /// last event offered.
    fn feed(&mut self, page: &Page, until: Sequence, mut feeding: usize) -> Sequence {
        let mut last = 0;
        for entry in &page.entries {
            if feeding == 0 || entry.sequence >= until {
                break;
            }
            let Record::Event(committed) = &entry.record else {
                continue;
            };
            let found = self.wanted_by(entry.sequence, committed);
            for slot in &found {
                let Some(lane) = self.lanes.get_mut(*slot) else {
                    continue;
                };
                if !lane.listed.feeding || entry.sequence < lane.cursor {
                    continue;
                }
                if lane.offer(entry.sequence, committed, &self.limits) == Offer::Full {
                    lane.listed.feeding = false;
                    lane.cursor = entry.sequence;
                    lane.looked = lane.looked.max(last);
                    feeding -= 1;
                }
            }
            self.found = found;
            last = entry.sequence;
        }
        last
    }

    pub(super) fn start_reads(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if self.draining || now < self.reads_not_before {
            return;
        }
        for _ in 0..self.hungry.len().min(LANES_LOOKED_AT) {
            if self.reads.len() >= self.limits.reads.max(1) {
                return;
            }
            let Some(slot) = self.hungry.pop_front() else {
                return;
            };
            let Some(lane) = self.lanes.get_mut(slot) else {
                continue;
            };
            let back = lane.wants_back(0, &self.limits);
            let next = Some(lane.cursor).filter(|_| lane.is_hungry(&self.limits));
            lane.listed.hungry = back.is_some() || next.is_some();
            if !lane.listed.hungry {
                continue;
            }
            self.hungry.push_back(slot);
            for from in back.into_iter().chain(next) {
                if !self.reads.contains(&from) && self.reads.len() < self.limits.reads.max(1) {
                    self.reads.push(from);
                    let max_bytes = self.limits.read_bytes;
                    effects.push(Effect::Read { from, max_bytes });
                }
            }
        }
    }
}
