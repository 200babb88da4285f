//! The journal's folder: its lock, and which segments are in it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dispatch_contract::Sequence;

use crate::damage::{Damage, DamageKind};
use crate::disk::{Disk, DiskFile};
use crate::error::OpenError;
use crate::frame::FRAME_HEAD;
use crate::header::{Found, HEADER_BLOCK, Header, VERSION};
use crate::kept;
use crate::patience::read_most;
use crate::segment::{Segment, first_of, path_of};

const LOCK: &str = "lock";

/// Makes the folder if it is not there and takes it for this process alone.
pub(crate) fn lock_folder(dir: &Path) -> Result<File, OpenError> {
    let unwritable = |source| OpenError::Unwritable {
        dir: dir.to_owned(),
        source,
    };
    make_durably(dir).map_err(unwritable)?;
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join(LOCK))
        .map_err(unwritable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(OpenError::Io {
            dir: dir.to_owned(),
            source,
        }),
    }
}

/// Makes the folder and those above it, and their names durable: a file is no safer than its folder's name.
fn make_durably(dir: &Path) -> io::Result<()> {
    let missing: Vec<_> = dir.ancestors().take_while(|d| !d.exists()).collect();
    std::fs::create_dir_all(dir)?;
    for made in missing {
        match made.parent() {
            Some(parent) if parent.as_os_str().is_empty() => File::open(".")?.sync_all()?,
            Some(parent) => File::open(parent)?.sync_all()?,
            None => {}
        }
    }
    Ok(())
}

/// The segments of a folder, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    pub(crate) segments: Vec<Arc<Segment>>,
    /// Segment files whose head cannot be read, with the size of the file.
    pub(crate) lost: Vec<Lost>,
    /// Heads of which one copy is damaged.
    pub(crate) worn: Vec<Damage>,
    /// Where retention says that the log begins.
    pub(crate) kept: Option<Sequence>,
    /// Where that file would be.
    dir: PathBuf,
    /// Files that are no part of the journal yet, or not any more.
    pub(crate) drafts: Vec<PathBuf>,
}

/// A segment whose head cannot be read.
#[derive(Debug, Clone)]
pub(crate) struct Lost {
    pub(crate) path: PathBuf,
    pub(crate) first: Sequence,
    pub(crate) bytes: u64,
}

impl Lost {
    /// No record in the file can have this sequence or a later one.
    pub(crate) fn bound(&self) -> Sequence {
        // Every record takes more bytes than half a frame's head.
        self.first.saturating_add(self.bytes / (FRAME_HEAD as u64 / 2))
    }
}

impl Inventory {
    /// Reads the heads of all segments.
    pub(crate) fn take(disk: &dyn Disk, dir: &Path) -> Result<Self, OpenError> {
        let mut inventory = Self {
            dir: dir.to_owned(),
            ..Self::default()
        };
        for path in disk.list(dir).map_err(|e| OpenError::of(dir, e))? {
            let Some(first) = first_of(&path) else {
                if path.extension().is_some_and(|e| e == "tmp" || e == "idx-tmp") {
                    inventory.drafts.push(path);
                }
                continue;
            };
            let read = disk.open(&path, false).and_then(|file| {
                let bytes = file.size()?;
                Ok((read_head(&*file), bytes))
            });
            let (found, bytes) = match read {
                Ok(read) => read,
                // Retention of a running hub took it away.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(OpenError::of(dir, e)),
            };
            match found {
                Found::Newer(found) => {
                    return Err(OpenError::NewerFormat {
                        dir: dir.to_owned(),
                        found,
                        supported: VERSION,
                    });
                }
                Found::Unreadable => inventory.lost.push(Lost { path, first, bytes }),
                Found::Header { header, whole } => {
                    if !whole {
                        inventory.worn.push(Damage {
                            segment: path.clone(),
                            offset: 0,
                            bytes: HEADER_BLOCK as u64,
                            missing: None,
                            kind: DamageKind::Segment,
                        });
                    }
                    let segment = Segment::new(path, header, bytes.max(HEADER_BLOCK as u64));
                    inventory.segments.push(Arc::new(segment));
                }
            }
        }
        // After the segments: retention of a running hub says so first and removes afterwards.
        inventory.kept = kept::load(disk, dir);
        inventory.segments.sort_by_key(|s| s.header.first);
        inventory.lost.sort_by_key(|l| l.first);
        inventory.outlive();
        Ok(inventory)
    }

    /// Segments that retention removed: when the power goes, names may come back that were removed before others.
    fn outlive(&mut self) {
        let Some(kept) = self.kept else {
            return;
        };
        let behind = self.segments.iter().skip(1);
        let outlived = behind.take_while(|next| next.header.first <= kept).count();
        for segment in self.segments.drain(..outlived) {
            self.drafts.push(segment.index_path());
            self.drafts.push(segment.path.clone());
        }
    }

    /// First sequence of the segment behind the `n`-th.
    pub(crate) fn until(&self, n: usize) -> Option<Sequence> {
        self.segments.get(n + 1).map(|s| s.header.first)
    }

    /// Whether a file is missing before the `n`-th segment, without a trace.
    pub(crate) fn gap_before(&self, n: usize) -> bool {
        let Some((before, this)) = n
            .checked_sub(1)
            .and_then(|b| Some((self.segments.get(b)?, self.segments.get(n)?)))
        else {
            return false;
        };
        let (from, to): (&Header, &Header) = (&before.header, &this.header);
        let lost = self
            .lost
            .iter()
            .any(|l| l.first > from.first && l.first < to.first);
        to.previous != from.first && !lost
    }

    /// The oldest segments, if they are missing and retention did not remove them.
    pub(crate) fn missing_head(&self) -> Option<Damage> {
        let lost = self.lost.first().map(|l| l.first);
        let first = self.segments.first().map(|s| s.header.first);
        let first = lost.into_iter().chain(first).min()?;
        let kept = self.kept.filter(|kept| *kept < first)?;
        Some(Damage {
            segment: path_of(&self.dir, kept),
            offset: 0,
            bytes: 0,
            missing: Some(kept..=first - 1),
            kind: DamageKind::Missing,
        })
    }

    /// What is to be said about segments whose head cannot be read.
    pub(crate) fn lost_damage(&self) -> Vec<Damage> {
        let damage = |lost: &Lost| {
            let behind = self.segments.iter().find(|s| s.header.first > lost.first);
            let until = behind.map_or_else(|| lost.bound(), |s| s.header.first);
            Damage {
                segment: lost.path.clone(),
                offset: 0,
                bytes: lost.bytes,
                missing: (until > lost.first).then(|| lost.first..=until - 1),
                kind: DamageKind::Segment,
            }
        };
        self.lost.iter().map(damage).collect()
    }
}

/// Reads the head; what cannot be read, although it was tried again, is damage and not an error.
fn read_head(file: &dyn DiskFile) -> Found {
    let mut block = vec![0u8; HEADER_BLOCK];
    read_most(file, &mut block, 0);
    Header::decode(&block)
}
