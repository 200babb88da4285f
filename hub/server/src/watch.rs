//! What the router tells while it works, as figures.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dispatch_contract::{Committed, Outcome, Sequence, Settled, Settlement, SubscriptionId};
use dispatch_router::{DeliveryInfo, Observer};
use metrics::{Counter, counter};

use crate::metrics::MAX_LABELS;

/// Called on the router's own loop: counts, and returns at once.
#[derive(Default)]
pub(crate) struct Watch {
    routed: Mutex<HashMap<Arc<str>, Counter>>,
    lanes: Mutex<HashMap<SubscriptionId, Lane>>,
}

#[derive(Clone)]
struct Lane {
    delivered: Counter,
    retried: Counter,
    refused: Counter,
    dead_lettered: Counter,
    dropped: Counter,
}

impl Lane {
    fn new(organization: &Arc<str>, subscription: &Arc<str>) -> Self {
        let labels = [
            ("organization", organization.to_string()),
            ("subscription", subscription.to_string()),
        ];
        Self {
            delivered: counter!("dispatch_events_delivered_total", &labels),
            retried: counter!("dispatch_events_retried_total", &labels),
            refused: counter!("dispatch_events_refused_total", &labels),
            dead_lettered: counter!("dispatch_events_dead_lettered_total", &labels),
            dropped: counter!("dispatch_events_dropped_total", &labels),
        }
    }
}

impl Watch {
    fn lane(&self, delivery: DeliveryInfo<'_>, count: impl FnOnce(&Lane)) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if lanes.len() >= MAX_LABELS {
            lanes.clear();
        }
        let new = || Lane::new(delivery.organization, delivery.subscription_name);
        count(lanes.entry(delivery.subscription).or_insert_with(new));
    }
}

impl Observer for Watch {
    fn routed(&self, _: Sequence, event: &Committed, matches: usize) {
        if matches == 0 {
            return;
        }
        let mut routed = self.routed.lock().unwrap_or_else(PoisonError::into_inner);
        if routed.len() >= MAX_LABELS {
            routed.clear();
        }
        let organization = &event.organization;
        let counter = routed.entry(organization.clone()).or_insert_with(
            || counter!("dispatch_events_routed_total", "organization" => organization.clone()),
        );
        counter.increment(matches as u64);
    }

    fn attempt_ended(
        &self,
        delivery: DeliveryInfo<'_>,
        outcome: &Outcome,
        _: Duration,
        next_retry: Option<Duration>,
    ) {
        match outcome {
            Outcome::Rejected { .. } => self.lane(delivery, |lane| lane.refused.increment(1)),
            _ if next_retry.is_some() => self.lane(delivery, |lane| lane.retried.increment(1)),
            _ => {}
        }
    }

    fn settled(&self, delivery: DeliveryInfo<'_>, settlement: &Settlement) {
        self.lane(delivery, |lane| match settlement.settled {
            Settled::Delivered => lane.delivered.increment(1),
            Settled::DeadLettered => lane.dead_lettered.increment(1),
            Settled::Dropped => lane.dropped.increment(1),
        });
    }
}
