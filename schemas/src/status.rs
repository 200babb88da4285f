//! Where a resource is in its life.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// State of a resource, in the original's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Taken, nothing done yet.
    Initialized,
    /// Being made.
    Creating,
    /// Usable; of a run: it ended well.
    Ready,
    /// Being changed.
    Updating,
    /// Not usable; `reason` says why.
    Error,
    /// Being taken down; disappears when that is done.
    Deleting,
    /// An event driver that somebody told to wait.
    Paused,
}

impl Status {
    /// All of them, in the order of a life.
    pub const ALL: [Self; 7] = [
        Self::Initialized,
        Self::Creating,
        Self::Ready,
        Self::Updating,
        Self::Error,
        Self::Deleting,
        Self::Paused,
    ];

    /// The status with this word, whatever its case.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str().eq_ignore_ascii_case(word))
    }

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initialized => "INITIALIZED",
            Self::Creating => "CREATING",
            Self::Ready => "READY",
            Self::Updating => "UPDATING",
            Self::Error => "ERROR",
            Self::Deleting => "DELETING",
            Self::Paused => "PAUSED",
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}
