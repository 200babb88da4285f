//! Events out of lanes: attempts start, end, and become settlements.

use std::time::Duration;

use dispatch_contract::{
    Answer, Attempt, Committed, Delivery, Event, NewEvent, Outcome, Sequence, Settled, Settlement,
};

use super::{Effect, Machine, Moment, Ticket};
use crate::caused;
use crate::gate::Ended;
use crate::lane::{Burial, Owed, Stage, State};
use crate::outbox::Post;
use crate::retry::{Verdict, judge};
use crate::turns::Pace;

impl Machine {
    /// Starts what may start, in turn.
    pub(super) fn start_attempts(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        while !self.draining
            && self.attempts.len() < self.limits.in_flight.max(1)
            && !self.outbox.is_full(self.limits.unwritten)
        {
            let Some(slot) = self.turns.next(&self.limits) else {
                return;
            };
            if let Some(lane) = self.lanes.get_mut(slot) {
                lane.listed.ready = false;
                if lane.in_flight >= self.turns.allowance(lane.seat, &self.limits) {
                    // It gets a turn again when one of its attempts ends.
                    continue;
                }
                if lane.is_ready() {
                    self.start_one(now, slot, effects);
                }
            }
            self.touch(slot);
        }
    }

    fn start_one(&mut self, now: Moment, slot: usize, effects: &mut Vec<Effect>) {
        let Some(lane) = self.lanes.get_mut(slot) else {
            return;
        };
        let Some(sequence) = lane.queue.pop() else {
            return;
        };
        if lane.keys.is_some()
            && let Some(given_up) = lane.given_up(sequence)
        {
            return self.bury(now, slot, sequence, given_up);
        }
        let Some(owed) = lane.owed.get_mut(&sequence) else {
            return;
        };
        let (sink, event, attempt) = match &mut owed.stage {
            Stage::Sink => {
                let event = &owed.committed.event;
                if caused::hops(event) >= self.limits.max_hops {
                    let reason = hop_limit(self.limits.max_hops, event);
                    keep_failure(
                        owed,
                        self.limits.max_failures_kept,
                        failure(now, Duration::ZERO, None, &reason),
                    );
                    lane.counts.dead_lettered += 1;
                    return self.settle(now, slot, sequence, Settled::DeadLettered, Vec::new());
                }
                owed.attempts += 1;
                (&lane.sink, event.clone(), owed.attempts)
            }
            Stage::DeadLetter(burial) => {
                let Some(sink) = &lane.dead_letter_sink else {
                    let caused = std::mem::take(&mut burial.caused);
                    lane.counts.dead_lettered += 1;
                    return self.settle(now, slot, sequence, Settled::DeadLettered, caused);
                };
                burial.attempts += 1;
                (sink, burial.event.clone(), burial.attempts)
            }
        };
        let delivery = Delivery {
            event,
            sequence,
            organization: lane.organization.clone(),
            subscription: lane.id,
            subscription_name: lane.name.clone(),
            attempt,
            timeout: lane.delivery.timeout,
        };
        let sink = sink.clone();
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        owed.state = State::InFlight(ticket);
        let own_sink = matches!(owed.stage, Stage::Sink);
        lane.in_flight += 1;
        lane.gate.started(now.since_start, ticket.0, own_sink);
        self.turns.started(lane.seat, lane.pace);
        self.attempts.insert(ticket, Some((slot, sequence)));
        if let Some(owed) = lane.owed.get(&sequence) {
            self.observer.attempt_started(lane.info(sequence, owed, attempt));
        }
        effects.push(Effect::Deliver {
            ticket,
            sink,
            delivery,
        });
    }

    /// How an attempt ended. Every [`Effect::Deliver`] is answered by this once.
    pub fn ended(&mut self, now: Moment, ticket: Ticket, answer: Answer, took: Duration) {
        let Some(Some((slot, sequence))) = self.attempts.remove(&ticket) else {
            return;
        };
        self.learn(now, slot, ticket, sequence, &answer.outcome, took);
        let Some(lane) = self.lanes.get_mut(slot) else {
            return;
        };
        let Some(owed) = lane.owed.get_mut(&sequence) else {
            return;
        };
        // All attempts of a stage but the last have failed, or there would be no further one.
        let attempt = match &owed.stage {
            Stage::Sink => owed.attempts,
            Stage::DeadLetter(burial) => burial.attempts,
        };
        let verdict = judge(
            &answer.outcome,
            attempt,
            &lane.delivery,
            &self.limits,
            &mut self.dice,
        );
        record_failure(owed, self.limits.max_failures_kept, now, took, &answer.outcome);
        let next = match verdict {
            Verdict::Again(wait) => Some(wait),
            Verdict::Done | Verdict::Dead => None,
        };
        if let Some(owed) = lane.owed.get(&sequence) {
            let info = lane.info(sequence, owed, attempt);
            self.observer.attempt_ended(info, &answer.outcome, took, next);
        }
        lane.counts.retried += u64::from(next.is_some());
        lane.counts.rejected += u64::from(matches!(answer.outcome, Outcome::Rejected { .. }));
        match next {
            Some(wait) => self.wait(now, slot, sequence, wait),
            None => self.conclude(now, slot, sequence, verdict, answer),
        }
        self.touch(slot);
    }

    /// What an attempt says about the sink, whatever becomes of its event.
    fn learn(
        &mut self,
        now: Moment,
        slot: usize,
        ticket: Ticket,
        sequence: Sequence,
        outcome: &Outcome,
        took: Duration,
    ) {
        let Some(lane) = self.lanes.get_mut(slot) else {
            return;
        };
        self.turns.ended(lane.seat, lane.pace);
        let in_flight = lane.in_flight;
        lane.in_flight -= 1;
        let pace = match took >= self.limits.slow_after {
            true => Pace::Slow,
            false => Pace::Quick,
        };
        if pace != lane.pace {
            lane.pace = pace;
            self.turns.changes(lane.seat, lane.in_flight, pace);
        }
        let own_sink = lane
            .owed
            .get(&sequence)
            .is_some_and(|owed| matches!(owed.stage, Stage::Sink));
        if !own_sink {
            return;
        }
        let ended = Ended {
            attempt: ticket.0,
            started: self.next_ticket,
            outcome,
            in_flight,
        };
        if let Some(breaker) = lane
            .gate
            .ended(now.since_start, &ended, &self.limits, &mut self.dice)
        {
            lane.say(breaker);
        }
    }

    fn wait(&mut self, now: Moment, slot: usize, sequence: Sequence, wait: Duration) {
        let at = now.since_start + wait;
        if let Some(lane) = self.lanes.get_mut(slot)
            && let Some(owed) = lane.owed.get_mut(&sequence)
        {
            owed.state = State::Waiting(at);
            lane.queue.wait(at, sequence);
        }
    }

    /// No further attempt of this stage: settle, or go on to the dead letter sink.
    fn conclude(&mut self, now: Moment, slot: usize, sequence: Sequence, verdict: Verdict, answer: Answer) {
        let Some(lane) = self.lanes.get_mut(slot) else {
            return;
        };
        let keeps_order = lane.keeps_order();
        let Some(owed) = lane.owed.get_mut(&sequence) else {
            return;
        };
        let failed = verdict != Verdict::Done && matches!(owed.stage, Stage::Sink);
        if failed && keeps_order && owed.key.is_some() {
            return self.park_key(now, slot, sequence);
        }
        let mut caused = caused_events(&owed.committed, &answer.events);
        let settled = match &mut owed.stage {
            Stage::Sink if verdict == Verdict::Done => Settled::Delivered,
            Stage::Sink if lane.dead_letter_sink.is_some() => {
                let destination = lane.sink.destination();
                let destination = destination.as_deref().unwrap_or(&lane.name);
                owed.stage = Stage::DeadLetter(Box::new(Burial {
                    event: caused::dead_letter(&owed.committed.event, destination, &answer.outcome),
                    attempts: 0,
                    caused,
                }));
                owed.state = State::Queued;
                return lane.queue.again(sequence);
            }
            Stage::Sink => Settled::DeadLettered,
            Stage::DeadLetter(burial) => {
                let mut all = std::mem::take(&mut burial.caused);
                all.append(&mut caused);
                caused = all;
                Settled::DeadLettered
            }
        };
        match settled {
            Settled::Delivered => lane.counts.delivered += 1,
            Settled::DeadLettered => lane.counts.dead_lettered += 1,
            Settled::Dropped => {}
        }
        self.settle(now, slot, sequence, settled, caused);
    }

    pub(super) fn settle(
        &mut self,
        now: Moment,
        slot: usize,
        sequence: Sequence,
        settled: Settled,
        caused: Vec<NewEvent>,
    ) {
        let Some(lane) = self.lanes.get_mut(slot) else {
            return;
        };
        let Some(mut owed) = lane.release(sequence, &self.limits) else {
            return;
        };
        let settlement = Settlement {
            subscription: lane.id,
            event: sequence,
            settled,
            attempts: owed.attempts,
            failures: std::mem::take(&mut owed.failures),
        };
        self.observer
            .settled(lane.info(sequence, &owed, owed.attempts), &settlement);
        lane.unwritten += 1;
        self.outbox.push(Post::Settled { settlement, caused });
        self.settled_since_marks += 1;
        self.mark_later(now.since_start, slot);
    }
}

fn caused_events(cause: &Committed, events: &[Event]) -> Vec<NewEvent> {
    let stamped = events.iter().filter_map(|event| {
        caused::stamp(&cause.event, event)
            .inspect_err(|error| tracing::warn!(%error, ?event, "an event caused by a delivery is left out"))
            .ok()
    });
    stamped
        .map(|event| NewEvent {
            organization: cause.organization.clone(),
            event,
            target: None,
        })
        .collect()
}

fn record_failure(owed: &mut Owed, most: usize, now: Moment, took: Duration, outcome: &Outcome) {
    let (reason, code) = match outcome {
        Outcome::Accepted => return,
        Outcome::Released { reason, code, .. } | Outcome::Rejected { reason, code } => (reason, *code),
    };
    let failure = match owed.stage {
        Stage::Sink => failure(now, took, code, reason),
        Stage::DeadLetter(_) => failure(now, took, code, &format!("dead letter sink: {reason}")),
    };
    keep_failure(owed, most, failure);
}

pub(super) fn failure(now: Moment, took: Duration, code: Option<u16>, reason: &str) -> Attempt {
    Attempt {
        at: now.unix_ms,
        took: took.as_millis().try_into().unwrap_or(u32::MAX),
        code,
        reason: caused::reason(reason),
    }
}

fn keep_failure(owed: &mut Owed, most: usize, failure: Attempt) {
    if owed.failures.len() >= most.max(1) {
        owed.failures.remove(0);
    }
    owed.failures.push(failure);
}

fn hop_limit(limit: u32, event: &Event) -> String {
    let cause = event
        .attribute(dispatch_contract::ext::CAUSATION)
        .unwrap_or("an unknown event");
    format!(
        "hop limit of {limit} reached: event {} of type {} was caused by {cause}",
        event.id(),
        event.ty()
    )
}
