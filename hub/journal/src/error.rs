//! Why a journal cannot be opened. Messages name the folder; the server adds the setting's name.

use std::io;
use std::path::{Path, PathBuf};

/// Why a journal cannot be opened, by what the operator can do about it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open: stop that one or choose another folder.
    #[error("the journal in {} is already opened by another process", dir.display())]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder cannot be made or written: change its permissions or choose another.
    #[error("the journal's folder {} cannot be written", dir.display())]
    Unwritable {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Written by a newer version: use that one.
    #[error(
        "the journal in {} has format {found}, this version reads up to {supported}: use a newer dispatch",
        dir.display()
    )]
    NewerFormat {
        /// The folder.
        dir: PathBuf,
        /// Its format.
        found: u32,
        /// The newest this version reads.
        supported: u32,
    },
    /// The disk failed.
    #[error("the journal in {} cannot be read or repaired", dir.display())]
    Io {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl OpenError {
    /// Sorts what the system said.
    pub(crate) fn of(dir: &Path, source: io::Error) -> Self {
        let dir = dir.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::AlreadyExists => Self::Unwritable { dir, source },
            _ => Self::Io { dir, source },
        }
    }
}
