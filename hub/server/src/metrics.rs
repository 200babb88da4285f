//! The hub's figures: one recorder a process, their names in one place.
//!
//! Counters of the doors and of the router's deliveries are kept as handles, so that counting is an addition.
//! Depth and age of the lanes are asked of the router when somebody reads `/metrics`, so a lane that is gone is
//! gone there too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use dispatch_contract::{Committed, Outcome, Sequence, Settled, Settlement, SubscriptionId};
use dispatch_router::{DeliveryInfo, LaneStatus, Observer};
use metrics::{Counter, counter, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::door::Accepted;

/// Organizations and subscriptions with figures of their own; further ones share the label `other`.
const MAX_LABELS: usize = 2000;
const SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0,
];

static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Installs the recorder. A second call changes nothing.
pub(crate) fn install() {
    RECORDER.get_or_init(|| {
        let fsync = Matcher::Full("dispatch_journal_fsync_seconds".to_owned());
        let built = PrometheusBuilder::new()
            .set_buckets_for_metric(fsync, SECONDS)
            .and_then(PrometheusBuilder::install_recorder);
        match built {
            Ok(handle) => Some(handle),
            Err(error) => {
                tracing::warn!(%error, "there are no metrics");
                None
            }
        }
    });
}

/// Empties the recorder's buffers; to be called every few seconds.
pub(crate) fn upkeep() {
    if let Some(Some(handle)) = RECORDER.get() {
        handle.run_upkeep();
    }
}

/// All figures as Prometheus reads them.
pub(crate) fn render(lanes: &[LaneStatus]) -> String {
    let mut text = match RECORDER.get() {
        Some(Some(handle)) => handle.render(),
        _ => String::new(),
    };
    let depth = |lane: &LaneStatus| (lane.queued + lane.in_flight + lane.retrying) as f64;
    per_lane(&mut text, "dispatch_queue_depth", lanes, depth);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let age = |lane: &LaneStatus| {
        let oldest = lane.oldest_owed.and_then(|at| u64::try_from(at).ok());
        oldest.map_or(0.0, |at| now.saturating_sub(Duration::from_millis(at)).as_secs_f64())
    };
    per_lane(&mut text, "dispatch_oldest_undelivered_seconds", lanes, age);
    text
}

/// One gauge for each lane there is now. Names hold nothing that would need escaping.
fn per_lane(text: &mut String, name: &str, lanes: &[LaneStatus], value: impl Fn(&LaneStatus) -> f64) {
    let mut lines = format!("# TYPE {name} gauge\n");
    for lane in lanes {
        let labels = format!("organization=\"{}\",subscription=\"{}\"", lane.organization, lane.name);
        lines.push_str(&format!("{name}{{{labels}}} {}\n", value(lane)));
    }
    text.push_str(&lines);
}

/// Counts what a door took.
pub(crate) fn received(organization: &Arc<str>, accepted: Accepted) {
    struct Taken {
        received: Counter,
        duplicate: Counter,
    }
    static TAKEN: OnceLock<Mutex<HashMap<Arc<str>, Taken>>> = OnceLock::new();
    let mut taken = TAKEN.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let other: Arc<str> = "other".into();
    let known = taken.contains_key(organization) || taken.len() < MAX_LABELS;
    let organization = if known { organization } else { &other };
    let counters = taken.entry(organization.clone()).or_insert_with(|| Taken {
        received: counter!("dispatch_events_received_total", "organization" => organization.clone()),
        duplicate: counter!("dispatch_events_duplicate_total", "organization" => organization.clone()),
    });
    counters.received.increment((accepted.accepted + accepted.duplicates) as u64);
    counters.duplicate.increment(accepted.duplicates as u64);
}

/// Whether a driver's process is up.
pub(crate) fn driver_up(organization: &str, driver: &str, up: bool) {
    let labels = [("organization", organization.to_owned()), ("driver", driver.to_owned())];
    gauge!("dispatch_driver_up", &labels).set(if up { 1.0 } else { 0.0 });
}

/// Counts what the router does.
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
