//! How opening and using the store can fail, by what the caller does next.

use std::path::PathBuf;

/// Why the store cannot be opened. The messages are for whoever starts the hub.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Written by a newer release: use that one, or another data folder.
    #[error("{} has data format {found}, but this release knows only up to {known}: use a newer release or another data folder", path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: i64,
        /// What is known here.
        known: i64,
    },
    /// Some other program's database: use another data folder.
    #[error("{} is not a file of Dispatch: use another data folder", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Damaged: restore `resources.db` from a backup; `views.db` may be deleted and is rebuilt from the journal.
    #[error("{} is damaged ({reason}): {remedy}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
        /// What can be done.
        remedy: &'static str,
    },
    /// The folder or file cannot be used: missing rights, no space.
    #[error("cannot open {}: {reason}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}

/// Why a call failed. The texts of the first two are the original's.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Take another name.
    #[error("{kind} {name} already exists")]
    AlreadyExists {
        /// `function`, `base image`, ….
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// Create it first.
    #[error("{kind} {name} not found")]
    NotFound {
        /// `function`, `base image`, ….
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// It is not what the caller took it for: read it again.
    #[error("{kind} {name} was changed meanwhile")]
    Conflict {
        /// `function`, `base image`, ….
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The name or organization can name nothing.
    #[error("bad request when processing {kind} {name}: {reason}")]
    Refused {
        /// `function`, `base image`, ….
        kind: &'static str,
        /// Its name.
        name: String,
        /// What is allowed.
        reason: &'static str,
    },
    /// What is stored cannot be read back. A bug, or a file somebody changed.
    #[error("internal error when processing {kind} {name}")]
    Unreadable {
        /// `function`, `run`, ….
        kind: &'static str,
        /// Its name.
        name: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The disk is full: free some space; nothing was written.
    #[error("the disk is full")]
    Full,
    /// The file cannot be read or written; nothing was written.
    #[error("the store cannot be read or written")]
    Io(#[source] rusqlite::Error),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full,
            _ => Self::Io(error),
        }
    }
}
