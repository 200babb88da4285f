//! A lane that keeps order by key: events join their key's line, leave memory when a key is parked, and come
//! back from the log when their turn is near.
//!
//! Room is kept for what comes back: while something is wanted, new events fill three quarters of the lane.
//! What comes back is older than anything new of its key, so the lane never waits for itself.

use std::time::Duration;

use dispatch_contract::{Committed, DeliverySpec, Order, Sequence};

use super::{Lane, Owed, Stage, State};
use crate::keys::{Aside, Failed, GivenUp, Key, Keys, Place};
use crate::limits::Limits;

const TOO_MANY: &str = "too many events are parked or wait behind a parked one";
const TOO_LONG: &str = "it was parked too long";

pub(super) fn keys_for(delivery: &DeliverySpec) -> Option<Box<Keys>> {
    (delivery.order == Order::Key).then(Box::default)
}

impl Lane {
    /// The settings of a changed subscription. An order counts for events taken from now on; without one,
    /// parked keys are tried again.
    pub(crate) fn set_delivery(&mut self, now: Duration, delivery: DeliverySpec) {
        self.gate.change(now, &delivery);
        match (delivery.order, &mut self.keys) {
            (Order::Key, Some(_)) | (Order::None, None) => {}
            (Order::Key, none) => *none = keys_for(&delivery),
            (Order::None, Some(keys)) => {
                for key in keys.parked_keys() {
                    keys.unpark(key, false);
                }
                if keys.is_empty() {
                    self.keys = None;
                }
            }
        }
        self.delivery = delivery;
    }

    /// Puts a new event into the line of its key, if it has one and the lane keeps order.
    pub(super) fn join(
        &mut self,
        sequence: Sequence,
        committed: &Committed,
        number: u64,
        limits: &Limits,
    ) -> (Option<Key>, Place) {
        let (Some(keys), Some(text)) = (&mut self.keys, committed.event.key()) else {
            return (None, Place::First);
        };
        if self.delivery.order == Order::None {
            return (None, Place::First);
        }
        let key = keys.key(text);
        let place = keys.join(key, sequence, number, limits.room_behind());
        if place == Place::NoRoom {
            self.relieve(limits);
        }
        (Some(key), place)
    }

    /// The first event of a key is settled.
    pub(super) fn next_of(&mut self, key: Key, limits: &Limits) {
        let keys = self.keys.as_mut();
        let next = keys.and_then(|keys| keys.leave(key, limits.room_behind()));
        if let Some(sequence) = next
            && let Some(owed) = self.owed.get_mut(&sequence)
        {
            owed.state = State::Queued;
            self.queue.again(sequence);
        }
    }

    /// Whether a key is parked when its event failed for good.
    pub(crate) fn keeps_order(&self) -> bool {
        self.delivery.order == Order::Key
    }

    /// Parks the key of an event that failed for good: what is in memory of its line leaves it.
    pub(crate) fn park_key(&mut self, now: Duration, sequence: Sequence, limits: &Limits) {
        let Some(owed) = self.owed.get_mut(&sequence) else {
            return;
        };
        let (Some(key), Some(keys)) = (owed.key, &mut self.keys) else {
            return;
        };
        let newest = owed.failures.len().saturating_sub(1);
        let failed = Failed {
            attempts: owed.attempts,
            failures: owed.failures.split_off(newest),
        };
        for sequence in keys.park(now, key, failed) {
            if let Some(Owed { number, bytes, .. }) = self.owed.remove(&sequence) {
                self.held_bytes -= bytes;
                keys.put_aside(sequence, Aside { key, number });
            }
        }
        self.relieve(limits);
    }

    /// Tries parked keys again, or one of them; with `skip` the first event of each becomes a dead letter.
    /// Returns how many keys.
    pub(crate) fn unpark(&mut self, key: Option<&str>, skip: bool) -> usize {
        let Some(keys) = &mut self.keys else {
            return 0;
        };
        let chosen = match key {
            Some(text) => vec![keys.key(text)],
            None => keys.parked_keys(),
        };
        chosen.into_iter().filter(|key| keys.unpark(*key, skip)).count()
    }

    /// Gives up the key that was parked longest when too much is set aside.
    pub(crate) fn relieve(&mut self, limits: &Limits) {
        if let Some(keys) = &mut self.keys
            && keys.aside() >= limits.set_aside
        {
            keys.give_up_oldest(TOO_MANY);
        }
    }

    /// Gives up keys that were parked too long.
    pub(super) fn give_up_old(&mut self, now: Duration, limits: &Limits) {
        if let Some(keys) = &mut self.keys
            && let Some(until) = now.checked_sub(limits.longest_parked)
        {
            keys.give_up_since(until, TOO_LONG);
        }
    }

    /// Whether the event is to become a dead letter without a further attempt, and is not yet on its way there.
    pub(crate) fn given_up(&mut self, sequence: Sequence) -> Option<GivenUp> {
        let owed = self.owed.get(&sequence)?;
        let key = owed.key.filter(|_| matches!(owed.stage, Stage::Sink))?;
        self.keys.as_mut()?.given_up(key, sequence)
    }

    /// Events a lane holds that are new to it; the rest of its room is for those that come back.
    pub(super) fn most_new(&self, limits: &Limits) -> usize {
        match &self.keys {
            Some(keys) if keys.has_wanted() => limits.queue_events - limits.queue_events / 4,
            _ => limits.queue_events,
        }
    }

    pub(super) fn is_aside_full(&self, limits: &Limits) -> bool {
        let keys = self.keys.as_deref();
        keys.is_some_and(|keys| keys.aside() >= limits.set_aside)
    }

    /// The next event that is to come back from the log, from `from` on, if there is room for it.
    pub(crate) fn wants_back(&self, from: Sequence, limits: &Limits) -> Option<Sequence> {
        let wanted = self.keys.as_ref()?.wanted(from, limits.room_behind())?;
        let room = self.owed.len() < limits.queue_events && self.held_bytes < limits.queue_bytes;
        (room || self.owed.is_empty()).then_some(wanted)
    }

    /// An event is back.
    pub(crate) fn take_back(&mut self, sequence: Sequence, committed: &Committed, limits: &Limits) {
        let keys = self.keys.as_mut();
        let Some((aside, place)) = keys.and_then(|keys| keys.back(sequence, limits.room_behind())) else {
            return;
        };
        let state = match place {
            Place::First => State::Queued,
            Place::Behind | Place::Aside | Place::NoRoom => State::Behind,
        };
        if state == State::Queued {
            self.queue.again(sequence);
        }
        self.hold(sequence, committed, Some(aside.key), state, aside.number);
    }

    /// An event that is to come back is no longer in the log.
    pub(crate) fn lose(&mut self, sequence: Sequence, limits: &Limits) {
        if let Some(keys) = &mut self.keys {
            keys.lose(sequence, limits.room_behind());
        }
    }
}
