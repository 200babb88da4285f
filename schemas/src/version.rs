//! What is running.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Version of a hub or of the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// `0.1.0`.
    pub version: String,
    /// Commit it was built from; empty when unknown.
    #[serde(default)]
    pub commit: String,
    /// When it was built, RFC 3339; empty when unknown.
    #[serde(default)]
    pub build_date: String,
    /// Always empty; the original's clients expect it.
    #[serde(default)]
    pub go_version: String,
    /// `rustc`, with its version when known.
    #[serde(default)]
    pub compiler: String,
    /// `linux/x86_64`.
    #[serde(default)]
    pub platform: String,
}
