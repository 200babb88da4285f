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
    /// The secrets in it cannot be opened.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The folder or file cannot be used: missing rights, no space.
    #[error("cannot open {}: {reason}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}

/// Why secrets cannot be read or encrypted. The messages are for whoever starts the hub.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Put the key back, or start with empty data.
    #[error("{from} is not there, and there are secrets that only its key opens: put it back")]
    Missing {
        /// The key's file.
        from: String,
    },
    /// It is another hub's key, or one that was replaced.
    #[error(
        "{from} holds key {has}, but the secrets of this hub were encrypted with key {wants}: give the key they were encrypted with"
    )]
    Wrong {
        /// Where the key comes from.
        from: String,
        /// What the key that would open them is called.
        wants: String,
        /// What the given one is called.
        has: String,
    },
    /// It cannot be read or written, or is no key.
    #[error("{from} cannot be used as secret key: {reason}")]
    Unusable {
        /// Where the key comes from.
        from: String,
        /// What is wrong.
        reason: String,
    },
    /// Whoever gave it must give another.
    #[error(
        "the secret key was given when the hub was started: start it with a new key before the old one (NEW,OLD), and then without the old one"
    )]
    Given,
    /// The file of the store cannot be read or written.
    #[error("the keys in the store cannot be read or written")]
    Store(#[source] rusqlite::Error),
    /// What an older release kept plainly cannot be encrypted.
    #[error("secrets that were kept plainly cannot be encrypted")]
    Upgrade(#[source] StoreError),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
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
    /// A secret that cannot be decrypted: somebody changed the file, or moved what is in it.
    #[error("{kind} {name} cannot be decrypted: what is stored was changed or belongs elsewhere")]
    Unsealed {
        /// `secret`, `data key`.
        kind: &'static str,
        /// Its name.
        name: String,
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
