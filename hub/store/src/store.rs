//! The store: two files, two threads, one handle.

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;

use crate::file::{self, Kind};
use crate::migrations;
use crate::sealing::Sealer;
use crate::worker::Worker;
use crate::{KeyError, KeySource, OpenError, Rotated};

/// Where the key of the secrets is unless somebody says otherwise.
const KEY_FILE: &str = "secret.key";

const RESOURCES: Kind = Kind {
    name: "resources.db",
    migrations: migrations::RESOURCES,
    is_view: false,
    synchronous: "FULL",
    remedy: "restore it from a backup, or use another data folder",
};

/// A crash of the machine may take the last moments; their cursors go with them, and they are fed again.
const VIEWS: Kind = Kind {
    name: "views.db",
    migrations: migrations::VIEWS,
    is_view: true,
    synchronous: "NORMAL",
    remedy: "delete it, and it is rebuilt from the journal",
};

/// All of them.
pub(crate) const FILES: [Kind; 2] = [RESOURCES, VIEWS];

/// How much the read models keep, per organization. The oldest go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Runs. Default 10,000.
    pub runs: u32,
    /// Dead letters. Default 100,000.
    pub dead_letters: u32,
    /// Event types seen. Default 10,000.
    pub event_types: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            runs: 10_000,
            dead_letters: 100_000,
            event_types: 10_000,
        }
    }
}

/// How a store is opened.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What the read models keep.
    pub limits: Limits,
    /// The key of the secrets; the file `secret.key` beside the others when `None`.
    pub key: Option<KeySource>,
}

/// Resources and read models. Cheap to clone; all clones are one store.
#[derive(Clone)]
pub struct Store {
    pub(crate) resources: Worker,
    pub(crate) views: Worker,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) limits: Limits,
}

impl Store {
    /// Opens the files in `folder`, or makes them. Blocks: it reads the files to see that they are whole.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        Self::open_with(folder, Options::default())
    }

    /// Opens with other limits or another key.
    pub fn open_with(folder: &Path, options: Options) -> Result<Self, OpenError> {
        let start = |kind: &Kind, thread: &str, connection: Connection| {
            Worker::start(thread, connection).map_err(|e| OpenError::Io {
                path: folder.join(kind.name),
                reason: e.to_string(),
            })
        };
        let mut resources = file::open(folder, &RESOURCES)?;
        let views = file::open(folder, &VIEWS)?;
        let key = options
            .key
            .unwrap_or_else(|| KeySource::File(folder.join(KEY_FILE)));
        let sealer = Arc::new(Sealer::open(&mut resources, key)?);
        Ok(Self {
            resources: start(&RESOURCES, "store-resources", resources)?,
            views: start(&VIEWS, "store-views", views)?,
            sealer,
            limits: options.limits,
        })
    }

    /// Makes a new master key for the secrets and wraps with it what the old one wrapped; both are known until that is
    /// done. Only for a key in a file.
    pub async fn rotate_key(&self) -> Result<Rotated, KeyError> {
        let sealer = Arc::clone(&self.sealer);
        let work = move |connection: &mut Connection| Ok(sealer.rotate(connection));
        self.resources.call(work).await.map_err(|_| KeyError::Closed)?
    }

    /// Lets queued calls end and closes the files. Later calls fail with [`StoreError::Closed`](crate::StoreError::Closed).
    pub async fn close(&self) {
        self.resources.close().await;
        self.views.close().await;
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
