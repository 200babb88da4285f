//! Whose turn it is to start an attempt: organizations share the machine, and so do the lanes of each.
//!
//! Deficit round robin over organizations, where every attempt costs the same: each organization that has
//! something to do starts one attempt in turn, for its lanes in turn. What is left is that those who hold
//! attempts for long do not end up holding all of them:
//!
//! * An organization may hold twice what is free, and a lane half of what its organization may still take. So the
//!   more is taken, the less anybody may still take, and something is left for those who hold nothing.
//! * Lanes whose sinks take long (or have not answered yet since the start) may together hold half of the
//!   machine, and an organization's of them at most what the others left of that half. So a quick sink finds a
//!   place however many slow ones there are.
//! * An organization may have a quota of its own.
//!
//! All of this is far above `maxInFlight` of a lane as long as few of them hold much.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::limits::{Limits, Quotas};

/// An organization's seat. Stays the same while it has lanes.
pub(crate) type Seat = usize;

#[derive(Debug, Default)]
pub(crate) struct Turns {
    shares: Vec<Share>,
    free_seats: Vec<Seat>,
    by_name: HashMap<Arc<str>, Seat>,
    /// Organizations with a lane that has something to do.
    ring: VecDeque<Seat>,
    in_flight: usize,
    slow: usize,
}

#[derive(Debug, Default)]
struct Share {
    lanes: usize,
    quota: Option<usize>,
    in_flight: usize,
    slow: usize,
    /// Lanes with something to do, by how fast they are.
    quick_ready: VecDeque<usize>,
    slow_ready: VecDeque<usize>,
    slow_last: bool,
    in_ring: bool,
}

/// What a lane counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    Quick,
    Slow,
}

impl Turns {
    /// A lane more of this organization.
    pub(crate) fn enter(&mut self, organization: &Arc<str>, limits: &Limits) -> Seat {
        let seat = match self.by_name.get(organization) {
            Some(seat) => *seat,
            None => {
                let seat = self.free_seats.pop().unwrap_or(self.shares.len());
                let quota = limits.quotas.get(organization);
                let share = Share {
                    quota,
                    ..Share::default()
                };
                match self.shares.get_mut(seat) {
                    Some(free) => *free = share,
                    None => self.shares.push(share),
                }
                self.by_name.insert(organization.clone(), seat);
                seat
            }
        };
        self.shares[seat].lanes += 1;
        seat
    }

    /// From now on these quotas; who is above theirs starts nothing until it is below.
    pub(crate) fn set_quotas(&mut self, quotas: &Quotas) {
        for (organization, seat) in &self.by_name {
            self.shares[*seat].quota = quotas.get(organization);
        }
    }

    /// A lane is gone, with what it had under way.
    pub(crate) fn exit(&mut self, seat: Seat, organization: &str, slot: usize, in_flight: usize, pace: Pace) {
        for _ in 0..in_flight {
            self.ended(seat, pace);
        }
        let share = &mut self.shares[seat];
        share.quick_ready.retain(|ready| *ready != slot);
        share.slow_ready.retain(|ready| *ready != slot);
        share.lanes -= 1;
        if share.lanes == 0 {
            self.by_name.remove(organization);
            self.free_seats.push(seat);
            self.ring.retain(|ready| *ready != seat);
        }
    }

    /// A lane has something to do and is not listed yet.
    pub(crate) fn ready(&mut self, seat: Seat, slot: usize, pace: Pace) {
        let share = &mut self.shares[seat];
        match pace {
            Pace::Quick => share.quick_ready.push_back(slot),
            Pace::Slow => share.slow_ready.push_back(slot),
        }
        if !share.in_ring {
            share.in_ring = true;
            self.ring.push_back(seat);
        }
    }

    /// The lane whose turn it is, no longer listed; `None` when nobody may start anything.
    pub(crate) fn next(&mut self, limits: &Limits) -> Option<usize> {
        let free = self.free(limits);
        if free == 0 {
            return None;
        }
        let slow_room = (limits.in_flight / 2).max(1).saturating_sub(self.slow);
        for _ in 0..self.ring.len() {
            let seat = self.ring.pop_front()?;
            let share = &mut self.shares[seat];
            let slot = share.take(free, slow_room);
            share.in_ring = !(share.quick_ready.is_empty() && share.slow_ready.is_empty());
            if share.in_ring {
                self.ring.push_back(seat);
            }
            if slot.is_some() {
                return slot;
            }
        }
        None
    }

    /// How many attempts one lane of an organization may have under way as things are.
    pub(crate) fn allowance(&self, seat: Seat, limits: &Limits) -> usize {
        let share = &self.shares[seat];
        let room = share.most(self.free(limits)).saturating_sub(share.in_flight);
        match share.lanes {
            1 => usize::MAX,
            _ => (room / 2).max(1),
        }
    }

    pub(crate) fn started(&mut self, seat: Seat, pace: Pace) {
        let slow = usize::from(pace == Pace::Slow);
        self.in_flight += 1;
        self.slow += slow;
        self.shares[seat].in_flight += 1;
        self.shares[seat].slow += slow;
    }

    pub(crate) fn ended(&mut self, seat: Seat, pace: Pace) {
        let slow = usize::from(pace == Pace::Slow);
        self.in_flight -= 1;
        self.slow -= slow;
        self.shares[seat].in_flight -= 1;
        self.shares[seat].slow -= slow;
    }

    /// A lane with so much under way counts as `pace` from now on, and did not before.
    pub(crate) fn changes(&mut self, seat: Seat, in_flight: usize, pace: Pace) {
        let share = &mut self.shares[seat];
        match pace {
            Pace::Slow => {
                self.slow += in_flight;
                share.slow += in_flight;
            }
            Pace::Quick => {
                self.slow -= in_flight;
                share.slow -= in_flight;
            }
        }
    }

    fn free(&self, limits: &Limits) -> usize {
        limits.in_flight.max(1).saturating_sub(self.in_flight)
    }
}

impl Share {
    fn most(&self, free: usize) -> usize {
        self.quota
            .unwrap_or(usize::MAX)
            .min(free.saturating_mul(2))
            .max(1)
    }

    fn take(&mut self, free: usize, slow_room: usize) -> Option<usize> {
        if self.in_flight >= self.most(free) {
            return None;
        }
        let slow_may = self.slow < slow_room && !self.slow_ready.is_empty();
        // Quick and slow ones alternate while there are both.
        self.slow_last = slow_may && (!self.slow_last || self.quick_ready.is_empty());
        match self.slow_last {
            true => self.slow_ready.pop_front(),
            false => self.quick_ready.pop_front(),
        }
    }
}
