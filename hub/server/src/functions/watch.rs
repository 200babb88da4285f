//! Hears from the router what follows a failed attempt, so that its run shows when it is tried again.

use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use dispatch_contract::{Committed, Outcome, Sequence, Settlement};
use dispatch_router::{DeliveryInfo, Observer};

use super::{Functions, run};

/// Watches runs, and lets another observer watch everything.
pub(super) struct RunWatch {
    pub(super) functions: Functions,
    pub(super) next: Arc<dyn Observer>,
}

impl Observer for RunWatch {
    fn routed(&self, sequence: Sequence, event: &Committed, matches: usize) {
        self.next.routed(sequence, event, matches);
    }

    fn attempt_started(&self, delivery: DeliveryInfo<'_>) {
        self.next.attempt_started(delivery);
    }

    fn attempt_ended(
        &self,
        delivery: DeliveryInfo<'_>,
        outcome: &Outcome,
        took: Duration,
        next_retry: Option<Duration>,
    ) {
        if *outcome != Outcome::Accepted && !delivery.dead_letter {
            let name = run::name_of(&format!("{}-{}", delivery.sequence, delivery.subscription));
            let wait = next_retry.and_then(|wait| TimeDelta::from_std(wait).ok());
            let at = wait.map(|wait| run::nanos(Utc::now() + wait));
            self.functions.0.ongoing.next_attempt(name, at);
        }
        self.next.attempt_ended(delivery, outcome, took, next_retry);
    }

    fn settled(&self, delivery: DeliveryInfo<'_>, settlement: &Settlement) {
        self.next.settled(delivery, settlement);
    }
}
