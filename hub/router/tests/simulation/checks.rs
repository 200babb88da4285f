//! What must hold: at every step, at every mark, and when everything has come to rest.

use dispatch_contract::{Committed, Delivery, Sequence, Settled, SubscriptionId};
use dispatch_router::Subscription;

use crate::steps::{RETRY, limits};
use crate::world::World;

impl World {
    pub(crate) fn check_delivery(&self, delivery: &Delivery) {
        let known = self
            .subscriptions
            .values()
            .find(|(s, _)| s.id == delivery.subscription);
        let (subscription, _) = known.unwrap();
        assert!(
            !subscription.progress.covers(delivery.sequence),
            "settled in an earlier life"
        );
        let hops = delivery
            .event
            .attribute("dispatchhops")
            .map_or(0, |h| h.parse::<u32>().unwrap());
        assert!(hops < limits().max_hops);
        assert_eq!(delivery.organization, subscription.organization);
    }

    /// What a subscription is owed, judged one event at a time.
    pub(crate) fn wanted(&self, subscription: &Subscription, created: Sequence) -> Vec<Sequence> {
        let wants = |sequence: Sequence, committed: &Committed| match committed.target {
            Some(target) => target == subscription.id,
            None => subscription
                .filters
                .iter()
                .rev()
                .find(|v| v.from <= sequence)
                .is_some_and(|v| v.filter.matches(&committed.event)),
        };
        self.log
            .events()
            .into_iter()
            .filter(|(sequence, committed)| {
                *sequence > created
                    && committed.organization == subscription.organization
                    && wants(*sequence, committed)
            })
            .map(|(sequence, _)| sequence)
            .collect()
    }

    pub(crate) fn check_bounds(&self) {
        let limits = limits();
        assert!(self.machine.in_flight() <= limits.in_flight);
        assert!(self.in_flight.len() + self.cut_short.len() <= limits.in_flight);
        assert!(self.reads.len() <= limits.reads);
        for (subscription, _) in self.subscriptions.values() {
            let status = self.machine.status(subscription.id).unwrap();
            assert!(status.in_flight <= subscription.delivery.max_in_flight);
            assert!(status.queued + status.in_flight + status.retrying <= limits.queue_events);
            self.check_stretch(subscription);
        }
        assert!(
            self.life.settled.lock().unwrap().values().all(|n| *n == 1),
            "settled twice in one life"
        );
        assert!(
            self.life.routed.lock().unwrap().values().all(|n| *n == 1),
            "routed twice in one life"
        );
    }

    pub(crate) fn check_stretch(&self, subscription: &Subscription) {
        let only = Some(subscription.id);
        let pending = self
            .machine
            .pending(self.moment(), &subscription.organization, only, 1);
        let Some(oldest) = pending.first() else {
            return;
        };
        let settled = self.life.settled.lock().unwrap();
        let beyond = |key: &&(SubscriptionId, Sequence)| key.0 == subscription.id && key.1 > oldest.sequence;
        assert!(settled.keys().filter(beyond).count() <= limits().beyond);
    }

    pub(crate) fn check_nothing_owed(&self, id: SubscriptionId, through: Sequence) {
        let Some((subscription, created)) = self.subscriptions.values().find(|(s, _)| s.id == id) else {
            return;
        };
        let settled: Vec<Sequence> = self.log.settlements(id).iter().map(|s| s.event).collect();
        for sequence in self.wanted(subscription, *created) {
            assert!(
                sequence > through || settled.contains(&sequence),
                "{through} was marked while {sequence} is owed"
            );
        }
    }

    pub(crate) fn check_floor(&self) {
        for (subscription, _) in self.subscriptions.values() {
            self.check_nothing_owed(subscription.id, self.machine.floor());
        }
    }

    pub(crate) fn check_end(&self) {
        for (subscription, created) in self.subscriptions.values() {
            let status = self.machine.status(subscription.id).unwrap();
            assert!(
                !status.behind && status.queued + status.in_flight + status.retrying == 0,
                "{status:?}"
            );
            let wanted = self.wanted(subscription, *created);
            let settlements = self.log.settlements(subscription.id);
            for sequence in &wanted {
                let times = settlements.iter().filter(|s| s.event == *sequence).count();
                assert!(times >= 1, "{sequence} was lost for {}", subscription.name);
                assert!(
                    times == 1 || self.crashes > 0,
                    "{sequence} was settled {times} times"
                );
            }
            for settlement in &settlements {
                assert!(
                    wanted.contains(&settlement.event),
                    "{settlement:?} was never asked for"
                );
                assert!(settlement.attempts <= RETRY + 1);
                let failed = settlement.settled == Settled::DeadLettered;
                assert!(
                    !failed || !settlement.failures.is_empty(),
                    "a dead letter says why"
                );
            }
        }
    }
}
