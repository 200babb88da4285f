//! The store: two files, two threads, one handle.

use std::path::Path;

use crate::OpenError;
use crate::file::{self, Kind};
use crate::migrations;
use crate::worker::Worker;

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

/// Resources and read models. Cheap to clone; all clones are one store.
#[derive(Clone)]
pub struct Store {
    pub(crate) resources: Worker,
    pub(crate) views: Worker,
    pub(crate) limits: Limits,
}

impl Store {
    /// Opens the files in `folder`, or makes them. Blocks: it reads the files to see that they are whole.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        Self::open_with(folder, Limits::default())
    }

    /// Opens with other limits.
    pub fn open_with(folder: &Path, limits: Limits) -> Result<Self, OpenError> {
        let start = |kind: &Kind, thread: &str| {
            let connection = file::open(folder, kind)?;
            Worker::start(thread, connection).map_err(|e| OpenError::Io {
                path: folder.join(kind.name),
                reason: e.to_string(),
            })
        };
        Ok(Self {
            resources: start(&RESOURCES, "store-resources")?,
            views: start(&VIEWS, "store-views")?,
            limits,
        })
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
