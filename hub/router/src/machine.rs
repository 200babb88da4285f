//! Every decision of the router, with no I/O, no clock and no task: one owner, inputs in, effects out.
//!
//! Each input (`put`, `follow`, `refill`, `ended`, `noted`, …) only changes what the machine knows;
//! [`Machine::poll`] then says everything that is to be done now, and [`Machine::wake_at`] when to ask
//! again if nothing happens. `routing.rs` brings events into lanes, `attempts.rs` out of them, `parking.rs`
//! sets aside what waits for its key, `marks.rs` writes down how far the lanes are, `written.rs` learns what the log has
//! written, `told.rs` answers questions.

mod attempts;
mod marks;
mod parking;
mod routing;
mod told;
mod written;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use dispatch_contract::{AppendError, Delivery, Group, Sequence, Settled, Settlement, Sink, SubscriptionId};

use crate::index::Index;
use crate::lane::{Lane, State};
use crate::lanes::Lanes;
use crate::limits::{Limits, Quotas};
use crate::observer::Observer;
use crate::outbox::Outbox;
use crate::retry::Dice;
use crate::subscription::Subscription;
use crate::turns::Turns;

/// A point in time: for waits, and for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Since the machine started; never goes back.
    pub since_start: Duration,
    /// Unix milliseconds; may jump.
    pub unix_ms: i64,
}

impl Moment {
    /// A point of the machine's time, for people.
    pub(crate) fn unix_at(self, at: Duration) -> i64 {
        let ahead = at.saturating_sub(self.since_start).as_millis();
        self.unix_ms
            .saturating_add(i64::try_from(ahead).unwrap_or(i64::MAX))
    }
}

/// Names one attempt. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub(crate) u64);

/// Something to be done for the machine.
pub enum Effect {
    /// Try the sink once and report with [`Machine::ended`], whatever happens.
    Deliver {
        /// Which attempt.
        ticket: Ticket,
        /// The sink to try.
        sink: Arc<dyn Sink>,
        /// What to give it.
        delivery: Delivery,
    },
    /// Cut an attempt short; it is still reported with [`Machine::ended`].
    Abort(Ticket),
    /// Read a page of the log and answer with [`Machine::refill`].
    Read {
        /// From which sequence.
        from: Sequence,
        /// About how much.
        max_bytes: usize,
    },
    /// Hand this to the log and answer with [`Machine::noted`].
    Note(Group),
    /// Ask the log to write soon what it was handed.
    Hasten,
}

/// The router's state.
pub struct Machine {
    limits: Limits,
    observer: Arc<dyn Observer>,
    dice: Dice,
    lanes: Lanes,
    index: Index,
    /// The first sequence not routed yet.
    routed: Sequence,
    /// The last event that was routed.
    last_event: Sequence,
    /// `None`: the lane is gone.
    attempts: HashMap<Ticket, Option<(usize, Sequence)>>,
    next_ticket: u64,
    aborts: Vec<Ticket>,
    /// Lanes with an attempt to start.
    turns: Turns,
    /// The next time each lane has something due.
    timers: BTreeSet<(Duration, usize)>,
    /// Lanes that have something to read and room for it, in turn.
    hungry: VecDeque<usize>,
    reads: Vec<Sequence>,
    reads_not_before: Duration,
    /// Lanes whose mark may have moved.
    touched: Vec<usize>,
    /// Lanes that owe something.
    busy: BTreeSet<usize>,
    settled_since_marks: usize,
    marks_at: Option<Duration>,
    idle_marks_at: Option<Duration>,
    outbox: Outbox,
    /// A lane has attempts to start, and many settlements that are not written.
    pressing: bool,
    floor: Sequence,
    draining: bool,
    last_marks_written: bool,
    found: Vec<usize>,
}

impl Machine {
    /// A machine for a log whose last record is `head`: what comes after it will be told by
    /// [`follow`](Self::follow). `seed` decides the jitter.
    pub fn new(head: Sequence, limits: Limits, seed: u64, observer: Arc<dyn Observer>) -> Self {
        Self {
            limits,
            observer,
            dice: Dice::new(seed),
            lanes: Lanes::default(),
            index: Index::default(),
            routed: head + 1,
            last_event: 0,
            attempts: HashMap::new(),
            next_ticket: 0,
            aborts: Vec::new(),
            turns: Turns::default(),
            timers: BTreeSet::new(),
            hungry: VecDeque::new(),
            reads: Vec::new(),
            reads_not_before: Duration::ZERO,
            touched: Vec::new(),
            busy: BTreeSet::new(),
            settled_since_marks: 0,
            marks_at: None,
            idle_marks_at: None,
            outbox: Outbox::default(),
            pressing: false,
            floor: head,
            draining: false,
            last_marks_written: false,
            found: Vec::new(),
        }
    }

    /// Takes in a new or changed subscription. A known one keeps its queue, its progress and what is under
    /// way; its new filters judge what the lane has not looked at yet.
    pub fn put(&mut self, now: Moment, subscription: Subscription) {
        let filters = subscription.filters.clone();
        let slot = match self.lanes.slot(subscription.id) {
            None => {
                let seat = self.turns.enter(&subscription.organization, &self.limits);
                self.lanes.insert(Lane::new(subscription, self.routed, seat))
            }
            Some(slot) => {
                if let Some(lane) = self.lanes.get_mut(slot) {
                    lane.name = subscription.name;
                    lane.sink = subscription.sink;
                    lane.dead_letter_sink = subscription.dead_letter_sink;
                    lane.set_delivery(now.since_start, subscription.delivery);
                }
                slot
            }
        };
        if let Some(lane) = self.lanes.get(slot) {
            let looked = if lane.live { self.routed } else { lane.cursor } - 1;
            self.index.put(slot, &lane.organization, &filters, looked);
            if let Some(needed) = lane.first_needed() {
                self.floor = self.floor.min(needed - 1);
            }
        }
        self.idle_marks_at
            .get_or_insert(now.since_start + self.limits.idle_marks_every);
        self.touch(slot);
    }

    /// Forgets a subscription: what is under way is cut short, what it owes is dropped.
    pub fn remove(&mut self, now: Moment, id: SubscriptionId) {
        let Some((slot, lane)) = self
            .lanes
            .slot(id)
            .and_then(|slot| Some((slot, self.lanes.remove(slot)?)))
        else {
            return;
        };
        self.index.remove(slot);
        self.turns
            .exit(lane.seat, &lane.organization, slot, lane.in_flight, lane.pace);
        self.hungry.retain(|s| *s != slot);
        self.touched.retain(|s| *s != slot);
        self.busy.remove(&slot);
        if let Some(at) = lane.listed.timer {
            self.timers.remove(&(at, slot));
        }
        for (sequence, owed) in &lane.owed {
            if let State::InFlight(ticket) = owed.state {
                self.attempts.insert(ticket, None);
                self.aborts.push(ticket);
            }
            let settlement = Settlement {
                subscription: id,
                event: *sequence,
                settled: Settled::Dropped,
                attempts: owed.attempts,
                failures: owed.failures.clone(),
            };
            self.observer
                .settled(lane.info(*sequence, owed, owed.attempts), &settlement);
        }
        self.marks_at
            .get_or_insert(now.since_start + self.limits.marks_every);
    }

    /// From now on these quotas. What is under way goes on.
    pub fn set_quotas(&mut self, quotas: Quotas) {
        self.turns.set_quotas(&quotas);
        self.limits.quotas = quotas;
        // A lane that had all its organization left it waits for one of its attempts to end; now there may be more.
        for slot in self.lanes.slots() {
            self.touch(slot);
        }
    }

    /// Stops: nothing new starts, nothing more is routed. What is under way may end.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Writes the last marks although attempts are still under way; these will be made again.
    pub fn stop(&mut self) {
        self.draining = true;
        if !self.last_marks_written {
            self.last_marks_written = true;
            self.write_marks(true);
        }
    }

    /// Whether a drain has come to its end: nothing under way, everything handed to the log.
    pub fn is_drained(&self) -> bool {
        self.draining && self.attempts.is_empty() && self.is_written()
    }

    /// Whether a draining machine has handed everything to the log.
    pub fn is_written(&self) -> bool {
        self.last_marks_written && self.outbox.is_handed_over() && !self.outbox.is_closed()
    }

    /// Whether the log is gone, so that nothing can be handed to it any more.
    pub fn is_log_closed(&self) -> bool {
        self.outbox.is_closed()
    }

    /// The log's answer to [`Effect::Note`].
    pub fn noted(&mut self, now: Moment, result: Result<(), AppendError>) {
        if let Some(given_up) = self.outbox.noted(now.since_start, result) {
            self.is_written_of(given_up);
        }
    }

    /// Everything that is to be done at `now`.
    pub fn poll(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        effects.extend(self.aborts.drain(..).map(Effect::Abort));
        self.wake_lanes(now.since_start);
        self.start_attempts(now, effects);
        self.start_reads(now.since_start, effects);
        self.marks_if_due(now.since_start);
        effects.extend(self.outbox.next_group(now.since_start).map(Effect::Note));
        self.hasten(effects);
    }

    /// When to poll although nothing happened.
    pub fn wake_at(&self) -> Option<Duration> {
        let timer = self.timers.first().map(|(at, _)| *at).filter(|_| !self.draining);
        let read = Some(self.reads_not_before)
            .filter(|at| !self.draining && !at.is_zero() && !self.hungry.is_empty() && self.reads.is_empty());
        [timer, read, self.marks_wake(), self.outbox.wake_at()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Attempts under way.
    pub fn in_flight(&self) -> usize {
        self.attempts.len()
    }

    /// Lists a lane wherever its state says it belongs. To be called after every change to a lane.
    fn touch(&mut self, slot: usize) {
        let Some(lane) = self.lanes.get_mut(slot) else {
            return;
        };
        if lane.is_ready() && !lane.listed.ready {
            lane.listed.ready = true;
            self.turns.ready(lane.seat, slot, lane.pace);
        }
        self.pressing |= lane.presses();
        if !lane.listed.hungry && lane.is_reading(&self.limits) {
            lane.listed.hungry = true;
            self.hungry.push_back(slot);
        }
        let due = lane.next_due(&self.limits);
        if due != lane.listed.timer {
            if let Some(at) = lane.listed.timer {
                self.timers.remove(&(at, slot));
            }
            self.timers.extend(due.map(|at| (at, slot)));
            lane.listed.timer = due;
        }
        let busy = lane.first_needed().is_some();
        if busy != lane.listed.busy {
            lane.listed.busy = busy;
            match busy {
                true => self.busy.insert(slot),
                false => self.busy.remove(&slot),
            };
        }
    }

    fn wake_lanes(&mut self, now: Duration) {
        while let Some((at, slot)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.pop_first();
            if let Some(lane) = self.lanes.get_mut(slot) {
                lane.listed.timer = None;
                lane.wake(now, &self.limits);
            }
            self.touch(slot);
        }
    }

    /// The first sequence that some lane may still owe.
    fn owed_from(&self) -> Sequence {
        self.busy
            .iter()
            .filter_map(|slot| self.lanes.get(*slot)?.first_needed())
            .fold(self.routed, Sequence::min)
    }
}
