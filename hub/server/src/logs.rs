//! Structured logs on standard error, filtered by `DISPATCH_LOG`, else by the configuration's `log`.

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is said when nobody says anything.
const DEFAULT_FILTER: &str = "info";

/// The filter of this process' log, once it has one.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Starts logging for the process. A second call changes nothing.
///
/// `DISPATCH_LOG` holds directives as in `dispatch_router=debug,info`; what it says wrongly is ignored, and
/// said so in the log.
pub fn log_to_stderr(format: LogFormat) {
    let wanted = environment();
    let (filter, wrong) = match EnvFilter::try_new(wanted.as_deref().unwrap_or(DEFAULT_FILTER)) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(DEFAULT_FILTER), Some(error.to_string())),
    };
    let (filter, handle) = reload::Layer::new(filter);
    let registry = tracing_subscriber::registry().with(filter);
    let started = match format {
        LogFormat::Text => {
            let lines = tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(std::io::stderr().is_terminal())
                .with_target(false);
            registry.with(lines).try_init()
        }
        LogFormat::Json => {
            let lines = tracing_subscriber::fmt::layer()
                .json()
                .flatten_event(true)
                .with_writer(std::io::stderr);
            registry.with(lines).try_init()
        }
    };
    if started.is_err() {
        return;
    }
    FILTER.get_or_init(|| handle);
    if let Some(problem) = wrong {
        tracing::warn!(problem, "DISPATCH_LOG is not a filter; using {DEFAULT_FILTER}");
    }
}

/// Filters the log by the configuration's word from now on; `DISPATCH_LOG`, when it is set, stays above it.
pub(crate) fn filter(directives: Option<&str>) {
    let Some(handle) = FILTER.get().filter(|_| environment().is_none()) else {
        return;
    };
    let filter = EnvFilter::new(directives.unwrap_or(DEFAULT_FILTER));
    if let Err(error) = handle.reload(filter) {
        tracing::error!(%error, "the log's filter cannot be changed");
    }
}

/// Whether these are directives.
pub(crate) fn check(directives: &str) -> Result<(), String> {
    match EnvFilter::try_new(directives) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{directives:?} is no filter: {error}")),
    }
}

fn environment() -> Option<String> {
    let said = std::env::var("DISPATCH_LOG").ok()?;
    (!said.trim().is_empty()).then_some(said)
}
