//! Backups: a copy of a hub's data, made while the hub runs or not, and a data folder made from one.
//!
//! The store is copied first and the journal after it, so the journal knows everything that the store does. Both are as
//! they were at one moment after the call: what was acknowledged before is there. What the hub can make again (the
//! dependencies of images, unpacked functions) is left out. A backup is complete when its folder has its name.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use dispatch_journal::Copied;
use serde::{Deserialize, Serialize};

/// Says what the folder is.
const MANIFEST: &str = "backup.json";
const JOURNAL: &str = "journal";
/// The layout of a backup.
const FORMAT: u32 = 1;

/// What is written into a backup about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Layout of the folder.
    pub format: u32,
    /// Which release made it.
    pub release: String,
    /// When it was finished, RFC 3339.
    pub taken: String,
    /// The journal's oldest sequence.
    pub first: u64,
    /// The journal's last sequence.
    pub head: u64,
}

/// Why a backup cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Choose another folder.
    #[error("{} is there already: choose another folder", folder.display())]
    Exists {
        /// The folder.
        folder: PathBuf,
    },
    /// Name the data folder of a hub.
    #[error("there is no hub's data in {} (--data)", folder.display())]
    NoData {
        /// The folder.
        folder: PathBuf,
    },
    /// Name the folder of a backup.
    #[error("{} is no backup: {reason}", folder.display())]
    NoBackup {
        /// The folder.
        folder: PathBuf,
        /// What is missing or wrong.
        reason: String,
    },
    /// The journal cannot be read, or its copy not written.
    #[error("cannot copy the journal")]
    Journal(#[source] dispatch_journal::OpenError),
    /// The store cannot be read, or its copy not written.
    #[error("cannot copy the store")]
    Store(#[source] dispatch_store::OpenError),
    /// The folder cannot be written.
    #[error("cannot write {}", folder.display())]
    Unwritable {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Copies the data of a hub to a new folder. Blocks.
pub fn backup(data: &Path, to: &Path) -> Result<(Manifest, Copied), BackupError> {
    if !data.join(JOURNAL).is_dir() {
        return Err(BackupError::NoData {
            folder: data.to_owned(),
        });
    }
    let draft = Draft::begin(to)?;
    let copied = draft.copy(data)?;
    let manifest = Manifest {
        format: FORMAT,
        release: env!("CARGO_PKG_VERSION").to_owned(),
        taken: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        first: copied.first,
        head: copied.head,
    };
    draft.write(&manifest).map_err(|e| draft.unwritable(e))?;
    draft.finish()?;
    Ok((manifest, copied))
}

/// Makes a data folder from a backup, which stays as it is. Blocks.
pub fn restore(from: &Path, data: &Path) -> Result<(Manifest, Copied), BackupError> {
    let no_backup = |reason: String| BackupError::NoBackup {
        folder: from.to_owned(),
        reason,
    };
    let text = fs::read(from.join(MANIFEST)).map_err(|e| no_backup(format!("{MANIFEST}: {e}")))?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|e| no_backup(format!("{MANIFEST}: {e}")))?;
    if manifest.format > FORMAT {
        return Err(no_backup(format!(
            "it has format {}, this release knows only up to {FORMAT}: use release {}",
            manifest.format, manifest.release
        )));
    }
    let draft = Draft::begin(data)?;
    let copied = draft.copy(from)?;
    if copied.head < manifest.head {
        return Err(no_backup(format!(
            "its journal ends at {}, and it was made with {}",
            copied.head, manifest.head
        )));
    }
    draft.finish()?;
    Ok((manifest, copied))
}

/// A folder that gets its name when it is complete; removed if it never is.
struct Draft {
    folder: PathBuf,
    name: PathBuf,
    complete: std::cell::Cell<bool>,
}

impl Draft {
    fn begin(name: &Path) -> Result<Self, BackupError> {
        if name.exists() {
            return Err(BackupError::Exists {
                folder: name.to_owned(),
            });
        }
        let mut folder = name.as_os_str().to_owned();
        folder.push(format!(".{}.partial", std::process::id()));
        let draft = Self {
            folder: folder.into(),
            name: name.to_owned(),
            complete: false.into(),
        };
        // For the owner only: there are secrets in it.
        let made = DirBuilder::new().mode(0o700).create(&draft.folder);
        made.map_err(|e| draft.unwritable(e))?;
        Ok(draft)
    }

    fn unwritable(&self, source: io::Error) -> BackupError {
        BackupError::Unwritable {
            folder: self.name.clone(),
            source,
        }
    }

    fn copy(&self, from: &Path) -> Result<Copied, BackupError> {
        dispatch_store::copy(from, &self.folder).map_err(BackupError::Store)?;
        dispatch_journal::copy(&from.join(JOURNAL), &self.folder.join(JOURNAL)).map_err(BackupError::Journal)
    }

    fn write(&self, manifest: &Manifest) -> io::Result<()> {
        let mut file = File::create_new(self.folder.join(MANIFEST))?;
        serde_json::to_writer_pretty(&mut file, manifest)?;
        file.write_all(b"\n")?;
        file.sync_all()
    }

    /// Everything is durable before the folder gets its name.
    fn finish(&self) -> Result<(), BackupError> {
        let parent = match self.name.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .and_then(|()| fs::rename(&self.folder, &self.name))
            .and_then(|()| File::open(parent)?.sync_all())
            .map_err(|e| self.unwritable(e))?;
        self.complete.set(true);
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.complete.get()
            && let Err(error) = fs::remove_dir_all(&self.folder)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %self.folder.display(), %error, "half a copy is left behind");
        }
    }
}
