//! What must hold: at every step, at every mark, and when everything has come to rest.

use std::collections::BTreeMap;

use dispatch_contract::{Committed, Delivery, Order, Sequence, Settled, SubscriptionId};
use dispatch_router::{BreakerState, Subscription};

use crate::steps::{RETRY, SET_ASIDE, limits};
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

    /// No earlier event of the same key is owed.
    pub(crate) fn check_order(&self, delivery: &Delivery) {
        let mut known = self.subscriptions.values();
        let (subscription, created) = known.find(|(s, _)| s.id == delivery.subscription).unwrap();
        let Some(key) = delivery
            .event
            .key()
            .filter(|_| subscription.delivery.order == Order::Key)
        else {
            return;
        };
        let settled = self.life.settled.lock().unwrap();
        let events: BTreeMap<Sequence, Committed> = self.log.events().into_iter().collect();
        for earlier in self.wanted(subscription, *created) {
            let done = earlier >= delivery.sequence
                || events[&earlier].event.key() != Some(key)
                || subscription.progress.covers(earlier)
                || settled.contains_key(&(subscription.id, earlier));
            assert!(
                done,
                "{} was tried while {earlier} of {key} is owed",
                delivery.sequence
            );
        }
    }

    /// The breaker is not open, half open one attempt goes, and the rate holds over every window.
    pub(crate) fn check_gate(&mut self, delivery: &Delivery) {
        let id = delivery.subscription;
        let status = self.machine.status(self.moment(), id).unwrap();
        assert_ne!(status.breaker, BreakerState::Open);
        if status.breaker == BreakerState::HalfOpen && delivery.event.attribute("knativeerrordest").is_none()
        {
            let probes = self.probes.entry(id).or_default();
            *probes += 1;
            assert_eq!(*probes, 1, "half open, one attempt asks the sink");
        }
        let starts = self.starts.entry(id).or_default();
        starts.push(self.now);
        let (subscription, _) = self.subscriptions.values().find(|(s, _)| s.id == id).unwrap();
        let Some(rate) = subscription.delivery.rate else {
            return;
        };
        for (n, start) in starts.iter().enumerate() {
            let window = (self.now - *start).as_nanos() / rate.interval().as_nanos();
            assert!((starts.len() - n) as u128 <= u128::from(rate.burst()) + window);
        }
    }

    fn forget_probes(&mut self) {
        let now = self.moment();
        let machine = &self.machine;
        self.probes.retain(|id, _| {
            let status = machine.status(now, *id);
            status.is_some_and(|status| status.breaker == BreakerState::HalfOpen)
        });
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

    pub(crate) fn check_bounds(&mut self) {
        self.forget_probes();
        let limits = limits();
        assert!(self.machine.in_flight() <= limits.in_flight);
        assert!(self.in_flight.len() + self.cut_short.len() <= limits.in_flight);
        assert!(self.reads.len() <= limits.reads);
        for (subscription, _) in self.subscriptions.values() {
            let status = self.machine.status(self.moment(), subscription.id).unwrap();
            let most = subscription.delivery.max_in_flight;
            assert!(status.in_flight <= most && status.in_flight + status.unwritten <= 2 * most);
            assert!(status.queued + status.in_flight + status.retrying <= limits.queue_events);
            let most_aside = SET_ASIDE + 2 * limits.queue_events;
            assert!(status.behind_keys <= most_aside && status.parked_keys <= status.behind_keys);
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

    /// What a crash would undo, as the log shows it, is within what the lane counts.
    pub(crate) fn check_repeats(&self) {
        let settled = self.life.settled.lock().unwrap();
        for (subscription, _) in self.subscriptions.values() {
            let status = self.machine.status(self.moment(), subscription.id).unwrap();
            let written = self.log.settlements(subscription.id);
            let lost = settled.keys().filter(|(id, sequence)| {
                *id == subscription.id && written.iter().all(|s| s.event != *sequence)
            });
            assert!(lost.count() <= status.unwritten);
        }
    }

    /// What the log has to remember of settlements behind what is owed has a bound.
    pub(crate) fn check_stretch(&self, id: SubscriptionId) {
        let Some((subscription, created)) = self.subscriptions.values().find(|(s, _)| s.id == id) else {
            return;
        };
        let only = Some(subscription.id);
        let pending = self
            .machine
            .pending(self.moment(), &subscription.organization, only, usize::MAX);
        let oldest = pending.iter().map(|pending| pending.sequence).min();
        if let Some(oldest) = oldest {
            let progress = self.log.progress(id, *created);
            assert!(progress.beyond.range(oldest..).count() <= limits().beyond);
        }
    }

    pub(crate) fn check_nothing_owed(&self, id: SubscriptionId, through: Sequence, but_for: &[Sequence]) {
        let Some((subscription, created)) = self.subscriptions.values().find(|(s, _)| s.id == id) else {
            return;
        };
        let settled: Vec<Sequence> = self.log.settlements(id).iter().map(|s| s.event).collect();
        for sequence in self.wanted(subscription, *created) {
            assert!(
                sequence > through || settled.contains(&sequence) || but_for.contains(&sequence),
                "{through} was marked while {sequence} is owed"
            );
        }
        assert!(but_for.is_sorted() && but_for.iter().all(|owed| *owed <= through));
    }

    pub(crate) fn check_floor(&self) {
        for (subscription, _) in self.subscriptions.values() {
            self.check_nothing_owed(subscription.id, self.machine.floor(), &[]);
        }
    }

    pub(crate) fn check_end(&self) {
        for (subscription, created) in self.subscriptions.values() {
            let status = self.machine.status(self.moment(), subscription.id).unwrap();
            assert!(
                !status.behind
                    && status.queued + status.in_flight + status.retrying + status.behind_keys == 0,
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
