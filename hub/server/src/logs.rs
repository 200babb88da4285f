//! Structured logs on standard error, filtered by `DISPATCH_LOG`.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is said when `DISPATCH_LOG` says nothing.
const DEFAULT_FILTER: &str = "info";

/// Starts logging for the process. A second call changes nothing.
///
/// `DISPATCH_LOG` holds directives as in `dispatch_router=debug,info`; what it says wrongly is ignored, and
/// said so in the log.
pub fn log_to_stderr(format: LogFormat) {
    let wanted = std::env::var("DISPATCH_LOG").unwrap_or_default();
    let wanted = if wanted.trim().is_empty() {
        DEFAULT_FILTER
    } else {
        &wanted
    };
    let (filter, wrong) = match EnvFilter::try_new(wanted) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(DEFAULT_FILTER), Some(error.to_string())),
    };
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
    if let (Ok(()), Some(problem)) = (started, wrong) {
        tracing::warn!(problem, "DISPATCH_LOG is not a filter; using {DEFAULT_FILTER}");
    }
}
