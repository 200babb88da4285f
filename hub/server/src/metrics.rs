//! The hub's figures: one recorder a process, their names in one place.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

const SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0,
];

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

/// Their text, as Prometheus reads it.
pub(crate) fn render() -> String {
    match RECORDER.get() {
        Some(Some(handle)) => handle.render(),
        _ => String::new(),
    }
}
