//! The hub's figures: one recorder a process, their names in one place.
//!
//! Counters are kept as handles, so that counting is an addition; those of deliveries are in `watch.rs`.
//! Depth and age of the lanes are asked of the router when somebody reads `/metrics`, so a lane that is gone is
//! gone there too.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use dispatch_router::{BreakerState, LaneStatus};
use http::StatusCode;
use metrics::{Counter, counter, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::door::Accepted;
use crate::quotas;

/// Organizations and subscriptions with figures of their own; further ones share the label `other`.
pub(crate) const MAX_LABELS: usize = 2000;
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
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    // A function's own lane may have the name of a subscription; together they are one line.
    let mut gauges: BTreeMap<(&str, &str), Gauges> = BTreeMap::new();
    for lane in lanes {
        let oldest = lane.oldest_owed.and_then(|at| u64::try_from(at).ok());
        let age = oldest.map_or(Duration::ZERO, |at| now.saturating_sub(Duration::from_millis(at)));
        let gauge = gauges.entry((&lane.organization, &lane.name)).or_default();
        gauge.depth += lane.queued + lane.in_flight + lane.retrying + lane.behind_keys;
        gauge.oldest = age.max(gauge.oldest);
        gauge.parked += lane.parked_keys;
        gauge.breaker = gauge.breaker.max(breaker(lane.breaker));
        gauge.concurrency += lane.concurrency;
        gauge.in_flight += lane.in_flight;
    }
    type Column = (&'static str, fn(&Gauges) -> f64);
    let columns: [Column; 6] = [
        ("dispatch_queue_depth", |g| g.depth as f64),
        ("dispatch_oldest_undelivered_seconds", |g| g.oldest.as_secs_f64()),
        ("dispatch_parked_keys", |g| g.parked as f64),
        ("dispatch_breaker_state", |g| f64::from(g.breaker)),
        ("dispatch_concurrency_limit", |g| g.concurrency as f64),
        ("dispatch_in_flight", |g| g.in_flight as f64),
    ];
    for (name, value) in columns {
        text.push_str(&format!("# TYPE {name} gauge\n"));
        for ((organization, subscription), gauge) in &gauges {
            // Names hold nothing that would need escaping.
            let labels = format!("organization=\"{organization}\",subscription=\"{subscription}\"");
            text.push_str(&format!("{name}{{{labels}}} {}\n", value(gauge)));
        }
    }
    text
}

#[derive(Default)]
struct Gauges {
    depth: usize,
    oldest: Duration,
    parked: usize,
    breaker: u8,
    concurrency: usize,
    in_flight: usize,
}

fn breaker(state: BreakerState) -> u8 {
    match state {
        BreakerState::Closed => 0,
        BreakerState::HalfOpen => 1,
        BreakerState::Open => 2,
    }
}

/// Counts what a door took.
pub(crate) fn received(organization: &Arc<str>, accepted: Accepted) {
    static TAKEN: ByOrganization<[Counter; 2]> = OnceLock::new();
    let make = |organization: Arc<str>| {
        [
            counter!("dispatch_events_received_total", "organization" => organization.clone()),
            counter!("dispatch_events_duplicate_total", "organization" => organization),
        ]
    };
    counted(&TAKEN, organization, make, |[received, duplicate]| {
        received.increment((accepted.accepted + accepted.duplicates) as u64);
        duplicate.increment(accepted.duplicates as u64);
    });
}

/// Counts events that a door did not take because of this quota of their organization.
pub(crate) fn over_quota(organization: &Arc<str>, quota: &'static str, events: usize) {
    static PER_SECOND: ByOrganization<Counter> = OnceLock::new();
    static STORED: ByOrganization<Counter> = OnceLock::new();
    static IN_FLIGHT: ByOrganization<Counter> = OnceLock::new();
    let refused = match quota {
        quotas::BYTES_STORED => &STORED,
        quotas::IN_FLIGHT => &IN_FLIGHT,
        _ => &PER_SECOND,
    };
    let make = |organization: Arc<str>| {
        let labels = [
            ("organization", organization.to_string()),
            ("quota", quota.to_owned()),
        ];
        counter!("dispatch_events_over_quota_total", &labels)
    };
    counted(refused, organization, make, |refused| {
        refused.increment(events as u64)
    });
}

/// Counts runs that are listed no more because of their `age`, or because there are too many (`count`).
pub(crate) fn runs_forgotten(reason: &'static str, runs: usize) {
    if runs > 0 {
        counter!("dispatch_runs_forgotten_total", "reason" => reason).increment(runs as u64);
    }
}

type ByOrganization<C> = OnceLock<Mutex<HashMap<Arc<str>, C>>>;

/// Counts with the counters of an organization, as long as there are not too many of them.
fn counted<C>(
    all: &ByOrganization<C>,
    organization: &Arc<str>,
    make: impl FnOnce(Arc<str>) -> C,
    count: impl FnOnce(&C),
) {
    let mut known = all
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let other: Arc<str> = "other".into();
    let apart = known.contains_key(organization) || known.len() < MAX_LABELS;
    let organization = if apart { organization } else { &other };
    let make = || make(organization.clone());
    count(known.entry(organization.clone()).or_insert_with(make));
}

/// Counts an answer of an API.
pub(crate) fn api_request(organization: &Arc<str>, api: &Arc<str>, status: StatusCode) {
    let labels = [
        ("organization", organization.to_string()),
        ("api", api.to_string()),
        ("code", status.as_str().to_owned()),
    ];
    counter!("dispatch_api_requests_total", &labels).increment(1);
}

/// Whether a driver's process is up.
pub(crate) fn driver_up(organization: &str, driver: &str, up: bool) {
    let labels = [
        ("organization", organization.to_owned()),
        ("driver", driver.to_owned()),
    ];
    gauge!("dispatch_driver_up", &labels).set(if up { 1.0 } else { 0.0 });
}
