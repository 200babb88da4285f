//! Web hooks as targets of subscriptions.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Invalid;
use crate::invalid::{at_most, required};

/// A web hook that gets events as CloudEvents over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SinkSettings {
    /// An `http` or `https` URL, without credentials.
    pub uri: String,
    /// How events are written. Default `binary`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<SinkMode>,
}

/// Content modes of the CloudEvents HTTP binding, sections 3.1 and 3.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SinkMode {
    /// Attributes as headers, data as the body.
    #[default]
    Binary,
    /// All in one JSON document.
    Structured,
}

/// Checks the outside of a URL; whether it can be reached is not asked.
pub(crate) fn check_uri(field: &str, uri: &str) -> Result<(), Invalid> {
    required(field, uri)?;
    at_most(field, "characters", uri.len(), 2048)?;
    let lower = uri.to_ascii_lowercase();
    let rest = lower
        .strip_prefix("http://")
        .or_else(|| lower.strip_prefix("https://"));
    let authority = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
    match authority {
        _ if uri.chars().any(|c| c.is_whitespace() || c.is_control()) => Err(Invalid::new(
            field,
            "must not contain spaces or control characters",
        )),
        Some(authority) if authority.contains('@') => {
            Err(Invalid::new(field, "must not contain credentials"))
        }
        Some(authority) if !authority.is_empty() && !authority.starts_with(':') => Ok(()),
        _ => Err(Invalid::new(
            field,
            "must be a URL that starts with http:// or https:// and names a host",
        )),
    }
}
