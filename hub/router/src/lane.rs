//! One subscription's way through the log: what it has looked at, what it owes, what it is doing about it.
//!
//! Everything before `cursor` has been looked at. A lane that is `live` gets new events as they are routed.
//! One that is behind (it was full, or has just started) stands at its cursor and is fed from the log until
//! the cursor reaches what has been routed. Owed events are in memory, in one bound, whatever state they are
//! in; what is not in memory is after the cursor, or was set aside to keep order (`keys.rs`, `lane/ordered.rs`).

mod ordered;
mod owed;
mod owed_before;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dispatch_contract::{Committed, DeliverySpec, Sequence, Sink, SubscriptionId, Through};

use crate::breaker::BreakerState;
use crate::gate::Gate;
use crate::keys::{Key, Keys, Place};
use crate::limits::Limits;
use crate::machine::Moment;
use crate::observer::DeliveryInfo;
use crate::queue::Queue;
use crate::status::LaneStatus;
use crate::subscription::Subscription;
use crate::turns::{Pace, Seat};
pub(crate) use owed::{Burial, Owed, Stage, State};
use owed_before::OwedBefore;

/// A crash repeats at most so many times `maxInFlight` deliveries of a lane: attempts under way, and settlements that
/// the log has not written. Twice, because a settlement waits for its sync about as long as an attempt for its
/// answer: with one bound for both the disk would cost a fast sink half its attempts.
const MAY_REPEAT: usize = 2;

pub(crate) struct Lane {
    pub(crate) id: SubscriptionId,
    pub(crate) organization: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) dead_letter_sink: Option<Arc<dyn Sink>>,
    pub(crate) delivery: DeliverySpec,

    pub(crate) cursor: Sequence,
    pub(crate) live: bool,
    /// Everything up to here was looked at, and here was an event: a mark that follows the log without
    /// following the marks in it.
    pub(crate) looked: Sequence,
    /// The last mark written.
    pub(crate) marked: Sequence,
    /// How many events it had taken when a mark last named what it owes.
    named_at: u64,
    /// Settled in an earlier life, at or after the cursor.
    settled_before: BTreeSet<Sequence>,
    /// Owed since an earlier life, before what its last mark covered.
    owed_before: OwedBefore,

    pub(crate) owed: BTreeMap<Sequence, Owed>,
    pub(crate) queue: Queue,
    /// `None`: no event waits for another.
    pub(crate) keys: Option<Box<Keys>>,
    held_bytes: usize,
    /// Bytes of the event that found no room: less is not worth a read.
    refused_bytes: usize,
    pub(crate) in_flight: usize,
    /// Settlements that the log has not written yet.
    pub(crate) unwritten: usize,
    pub(crate) gate: Gate,
    /// What its attempts taught: unknown is slow.
    pub(crate) pace: Pace,
    /// Of its organization, among those who take turns.
    pub(crate) seat: Seat,
    /// Events taken so far: each owed event knows its number, so the distance to the oldest is known.
    taken: u64,

    pub(crate) counts: Counts,
    /// Where the machine has it listed.
    pub(crate) listed: Listed,
}

#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) delivered: u64,
    pub(crate) retried: u64,
    pub(crate) rejected: u64,
    pub(crate) dead_lettered: u64,
}

#[derive(Default)]
pub(crate) struct Listed {
    pub(crate) ready: bool,
    pub(crate) hungry: bool,
    pub(crate) touched: bool,
    pub(crate) busy: bool,
    pub(crate) timer: Option<Duration>,
    /// Taking events from the page that is being read out.
    pub(crate) feeding: bool,
}

/// Whether a lane took an event.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    Taken,
    Full,
}

impl Lane {
    /// `routed` is the first sequence not routed yet.
    pub(crate) fn new(subscription: Subscription, routed: Sequence, seat: Seat) -> Self {
        let progress = subscription.progress;
        let mut owed_before = OwedBefore::new(&progress);
        let cursor = owed_before.next(0);
        Self {
            id: subscription.id,
            organization: subscription.organization,
            name: subscription.name,
            sink: subscription.sink,
            dead_letter_sink: subscription.dead_letter_sink,
            keys: ordered::keys_for(&subscription.delivery),
            gate: Gate::new(&subscription.delivery),
            delivery: subscription.delivery,
            cursor,
            live: cursor >= routed,
            looked: progress.through,
            marked: progress.through,
            named_at: 0,
            owed_before,
            settled_before: progress.beyond.into_iter().filter(|s| *s >= cursor).collect(),
            owed: BTreeMap::new(),
            queue: Queue::default(),
            held_bytes: 0,
            refused_bytes: 0,
            in_flight: 0,
            unwritten: 0,
            pace: Pace::Slow,
            seat,
            taken: 0,
            counts: Counts::default(),
            listed: Listed::default(),
        }
    }

    /// Offers the lane an event it wants, at or after its cursor. A full lane takes nothing.
    pub(crate) fn offer(&mut self, sequence: Sequence, committed: &Committed, limits: &Limits) -> Offer {
        if self.owed_before.covers(sequence) {
            return Offer::Taken;
        }
        let bytes = committed.event.encoded().len();
        if self.is_full(bytes, limits) {
            self.refused_bytes = bytes;
            return Offer::Full;
        }
        self.refused_bytes = 0;
        // What an earlier mark named costs the log nothing when it is settled.
        let number = self.taken + u64::from(!self.owed_before.is_behind(sequence));
        let (key, place) = match &self.keys {
            _ if self.settled_before.remove(&sequence) => (None, Place::Aside),
            None => (None, Place::First),
            Some(_) => self.join(sequence, committed, number, limits),
        };
        match place {
            Place::First => {
                self.queue.push(sequence);
                self.hold(sequence, committed, key, State::Queued, number);
            }
            Place::Behind => self.hold(sequence, committed, key, State::Behind, number),
            Place::Aside => {}
            Place::NoRoom => return Offer::Full,
        }
        self.taken = number;
        self.owed_before.looked_at(sequence);
        Offer::Taken
    }

    /// Takes an event into memory.
    fn hold(
        &mut self,
        sequence: Sequence,
        committed: &Committed,
        key: Option<Key>,
        state: State,
        number: u64,
    ) {
        let bytes = committed.event.encoded().len();
        self.held_bytes += bytes;
        let owed = Owed {
            committed: committed.clone(),
            attempts: 0,
            failures: Vec::new(),
            stage: Stage::Sink,
            state,
            key,
            number,
            bytes,
        };
        self.owed.insert(sequence, owed);
    }

    /// Takes a settled event out; what waited for it alone is queued.
    pub(crate) fn release(&mut self, sequence: Sequence, limits: &Limits) -> Option<Owed> {
        let owed = self.forget(sequence)?;
        if let Some(key) = owed.key {
            self.next_of(key, limits);
        }
        Some(owed)
    }

    fn forget(&mut self, sequence: Sequence) -> Option<Owed> {
        let owed = self.owed.remove(&sequence)?;
        self.held_bytes -= owed.bytes;
        Some(owed)
    }

    fn is_full(&self, bytes: usize, limits: &Limits) -> bool {
        self.is_stretched(limits)
            || (!self.owed.is_empty()
                && (self.owed.len() >= self.most_new(limits) || self.held_bytes + bytes > limits.queue_bytes))
    }

    fn is_stretched(&self, limits: &Limits) -> bool {
        self.beyond() >= limits.beyond as u64
    }

    /// Events taken after the oldest that is owed, or after the last mark that named what is: so many settled ones
    /// the log may have to remember.
    fn beyond(&self) -> u64 {
        let oldest = self.oldest();
        oldest.map_or(0, |(_, number)| self.taken - number.max(self.named_at))
    }

    /// It has looked at everything before this.
    pub(crate) fn advance(&mut self, until: Sequence) {
        self.cursor = self.owed_before.next(until);
    }

    /// Whether it is behind and has room worth a read: half of it, or a little when nothing else is ready.
    pub(crate) fn is_hungry(&self, limits: &Limits) -> bool {
        if self.live || self.is_stretched(limits) || self.is_aside_full(limits) {
            return false;
        }
        let within = |part: usize| {
            let events = self.most_new(limits).saturating_sub(self.owed.len());
            let bytes = limits.queue_bytes.saturating_sub(self.held_bytes);
            let worth = (limits.queue_bytes / part).max(self.refused_bytes);
            events >= (limits.queue_events / part).max(1) && bytes >= worth
        };
        self.owed.is_empty() || within(2) || (self.queue.ready() == 0 && within(16))
    }

    /// Whether a read would help it: it is behind, or wants events back.
    pub(crate) fn is_reading(&self, limits: &Limits) -> bool {
        self.is_hungry(limits) || self.wants_back(0, limits).is_some()
    }

    /// When something of it is due: an attempt, the end of a wait for the sink, the end of a key's parking.
    pub(crate) fn next_due(&self, limits: &Limits) -> Option<Duration> {
        let parked = self.keys.as_ref().and_then(|keys| keys.parked_since());
        let parked = parked.map(|since| since + limits.longest_parked);
        [self.queue.next_due(), self.gate.held(), parked]
            .into_iter()
            .flatten()
            .min()
    }

    /// Makes ready what is due.
    pub(crate) fn wake(&mut self, now: Duration, limits: &Limits) {
        for sequence in self.queue.wake(now) {
            if let Some(owed) = self.owed.get_mut(&sequence) {
                owed.state = State::Queued;
            }
        }
        if let Some(breaker) = self.gate.wake(now) {
            self.say(breaker);
        }
        self.give_up_old(now, limits);
    }

    /// Logs how the circuit breaker stands from now on.
    pub(crate) fn say(&self, breaker: BreakerState) {
        let (organization, subscription) = (&*self.organization, &*self.name);
        let breaker_is = breaker.as_str();
        match breaker {
            BreakerState::Open => {
                tracing::warn!(
                    organization,
                    subscription,
                    breaker_is,
                    "the sink is not asked for now"
                );
            }
            BreakerState::HalfOpen => {
                tracing::info!(
                    organization,
                    subscription,
                    breaker_is,
                    "one attempt asks the sink"
                );
            }
            BreakerState::Closed => {
                tracing::info!(organization, subscription, breaker_is, "the sink answers again");
            }
        }
    }

    /// Whether an attempt could start now.
    pub(crate) fn is_ready(&self) -> bool {
        let may_repeat = self.in_flight + self.unwritten;
        self.queue.ready() > 0
            && self.gate.admits(self.in_flight)
            && may_repeat < self.delivery.max_in_flight.max(1) * MAY_REPEAT
    }

    /// Whether it will soon be held up by settlements that the log has not written.
    pub(crate) fn presses(&self) -> bool {
        self.queue.ready() > 0 && self.unwritten >= self.delivery.max_in_flight && self.gate.held().is_none()
    }

    /// The oldest event it owes, and its number.
    fn oldest(&self) -> Option<(Sequence, u64)> {
        let owed = self.owed.first_key_value().map(|(s, owed)| (*s, owed.number));
        match &self.keys {
            None => owed,
            Some(keys) => {
                let aside = keys.oldest_aside().map(|(s, aside)| (s, aside.number));
                owed.into_iter().chain(aside).min()
            }
        }
    }

    /// The first sequence this lane may still owe; `None` when that is what has not been routed yet.
    pub(crate) fn first_needed(&self) -> Option<Sequence> {
        let owed = self.oldest().map(|(sequence, _)| sequence);
        match self.live {
            true => owed,
            false => Some(owed.map_or(self.cursor, |owed| owed.min(self.cursor))),
        }
    }

    /// How far it is, if that is news to the log. `routed` is the last event that was routed.
    ///
    /// Up to the oldest event it owes; but when events have waited so long that half of what may be settled behind
    /// them is, up to the last one it looked at, with the names of all it owes.
    pub(crate) fn mark(&mut self, routed: Sequence, limits: &Limits) -> Option<Through> {
        let looked = match self.live {
            true => self.looked.max(routed),
            false => self.looked,
        };
        let oldest = self.oldest().map(|(sequence, _)| sequence - 1);
        let mut sequence = oldest.unwrap_or(looked);
        let mut but_for = Vec::new();
        if self.beyond() >= (limits.beyond as u64).div_ceil(2) && looked > self.marked {
            sequence = looked;
            self.named_at = self.taken;
            but_for = self.owes();
        }
        if sequence <= self.marked {
            return None;
        }
        self.marked = sequence;
        Some(Through {
            subscription: self.id,
            sequence,
            but_for,
        })
    }

    /// All it owes among what it has looked at, and what it still has to look at before its last mark.
    fn owes(&self) -> Vec<Sequence> {
        let aside = self.keys.iter().flat_map(|keys| keys.all_aside());
        let aside = aside.map(|(sequence, _)| sequence);
        let mut owes: Vec<Sequence> = self.owed.keys().copied().chain(aside).collect();
        owes.extend(self.owed_before.iter());
        owes.sort_unstable();
        owes
    }

    pub(crate) fn info<'a>(&'a self, sequence: Sequence, owed: &'a Owed, attempt: u32) -> DeliveryInfo<'a> {
        DeliveryInfo {
            organization: &self.organization,
            subscription: self.id,
            subscription_name: &self.name,
            sequence,
            event: &owed.committed.event,
            arrival: owed.committed.arrival,
            attempt,
            dead_letter: matches!(owed.stage, Stage::DeadLetter(_)),
        }
    }

    pub(crate) fn status(&self, now: Moment) -> LaneStatus {
        let keys = self.keys.as_deref();
        LaneStatus {
            subscription: self.id,
            organization: self.organization.clone(),
            name: self.name.clone(),
            queued: self.queue.ready(),
            in_flight: self.in_flight,
            unwritten: self.unwritten,
            retrying: self.queue.waiting(),
            behind_keys: keys.map_or(0, |keys| keys.behind() + keys.aside()),
            parked_keys: keys.map_or(0, Keys::parked),
            breaker: self.gate.breaker(),
            held_until: self.gate.held().map(|at| now.unix_at(at)),
            concurrency: self.gate.concurrency(),
            behind: !self.live,
            oldest_owed: self.owed.values().next().map(|owed| owed.committed.arrival),
            delivered: self.counts.delivered,
            retried: self.counts.retried,
            rejected: self.counts.rejected,
            dead_lettered: self.counts.dead_lettered,
        }
    }
}
