//! What the machine tells about its lanes.

use dispatch_contract::{Sequence, SubscriptionId};

use super::{Machine, Moment};
use crate::lane::{Lane, Owed, State};
use crate::status::{LaneStatus, PendingDelivery, Waits};

impl Machine {
    /// How one subscription stands.
    pub fn status(&self, now: Moment, id: SubscriptionId) -> Option<LaneStatus> {
        Some(self.lanes.get(self.lanes.slot(id)?)?.status(now))
    }

    /// How all subscriptions stand, in no order.
    pub fn statuses(&self, now: Moment) -> Vec<LaneStatus> {
        self.lanes.iter().map(|lane| lane.status(now)).collect()
    }

    /// At most `limit` deliveries of an organization (of one subscription) that have not ended: what is parked,
    /// then what is in memory, then what is set aside behind others; each oldest first.
    pub fn pending(
        &self,
        now: Moment,
        organization: &str,
        subscription: Option<SubscriptionId>,
        limit: usize,
    ) -> Vec<PendingDelivery> {
        let lanes = || {
            self.lanes.iter().filter(|lane| {
                &*lane.organization == organization && subscription.is_none_or(|id| id == lane.id)
            })
        };
        let parked = lanes().flat_map(|lane| set_aside(lane, true));
        let in_memory = lanes().flat_map(|lane| {
            lane.owed
                .iter()
                .map(move |(s, owed)| in_memory(now, lane, *s, owed))
        });
        let behind = lanes().flat_map(|lane| set_aside(lane, false));
        parked.chain(in_memory).chain(behind).take(limit).collect()
    }
}

fn in_memory(now: Moment, lane: &Lane, sequence: Sequence, owed: &Owed) -> PendingDelivery {
    let held = lane.gate.held();
    let (waits, next_attempt) = match owed.state {
        State::InFlight(_) => (Waits::Answer, None),
        State::Behind => (Waits::Key, None),
        State::Queued if held.is_some() => (Waits::Sink, held),
        State::Queued => (Waits::Turn, None),
        State::Waiting(at) => match held.filter(|held| *held > at) {
            Some(held) => (Waits::Sink, Some(held)),
            None => (Waits::Retry, Some(at)),
        },
    };
    PendingDelivery {
        subscription: lane.id,
        sequence,
        event: Some(owed.committed.event.clone()),
        waits,
        in_order: owed.key.is_some(),
        attempts: owed.attempts,
        failures: owed.failures.clone(),
        next_attempt: next_attempt.map(|at| now.unix_at(at)),
    }
}

/// What is not in memory: the parked events, or what waits behind others.
fn set_aside(lane: &Lane, parked: bool) -> impl Iterator<Item = PendingDelivery> {
    let keys = lane.keys.iter();
    let all = keys.flat_map(|keys| keys.all_aside());
    all.filter(move |(_, failed)| failed.is_some() == parked)
        .map(|(sequence, failed)| PendingDelivery {
            subscription: lane.id,
            sequence,
            event: None,
            waits: match failed {
                Some(_) => Waits::Unpark,
                None => Waits::Key,
            },
            in_order: true,
            attempts: failed.map_or(0, |failed| failed.attempts),
            failures: failed.map(|failed| failed.failures.clone()).unwrap_or_default(),
            next_attempt: None,
        })
}
