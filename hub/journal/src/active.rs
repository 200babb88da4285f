//! The segment that is being written, and files prepared to become the next one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dispatch_contract::Sequence;

use crate::chain::{LINK, Stamp};
use crate::clock::Clock;
use crate::disk::{Disk, DiskFile};
use crate::frame::FRAME_HEAD;
use crate::header::{HEADER_BLOCK, Header};
use crate::segment::{SPARE, Segment, path_of};

/// A segment is made smaller than asked for, down to this, when the disk is nearly full.
const SMALLEST: u64 = 256 * 1024;
/// The reserve is not smaller than this, if that much is wanted.
const SMALLEST_RESERVE: u64 = 1 << 20;
/// Kept free for the mark at the end.
pub(crate) const MARGIN: u64 = (FRAME_HEAD + LINK) as u64;

/// The segment that groups are written to.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) segment: Arc<Segment>,
    pub(crate) file: Box<dyn DiskFile>,
    /// The next frame goes here; everything before is durable.
    pub(crate) end: u64,
    pub(crate) capacity: u64,
    /// For the next frame.
    pub(crate) stamp: Stamp,
    /// Nothing is written here any more: a write or a sync failed, so what is behind `end` is unknown; or the chain was
    /// switched on or off.
    pub(crate) failed: bool,
    /// Begun with the reserve: events are not taken here.
    pub(crate) reserved: bool,
}

impl Active {
    pub(crate) fn room(&self) -> u64 {
        if self.failed {
            return 0;
        }
        self.capacity.saturating_sub(self.end + MARGIN)
    }
}

/// A reserved file without a name in the journal.
#[derive(Debug)]
pub(crate) struct Spare {
    pub(crate) path: PathBuf,
    pub(crate) file: Box<dyn DiskFile>,
    pub(crate) capacity: u64,
}

impl Spare {
    /// Reserves a file of `wanted` bytes, or of as many as the disk still gives but not less than `needed`.
    /// `number` tells it from other spare files of the same folder.
    pub(crate) fn prepare(
        disk: &dyn Disk,
        dir: &Path,
        number: u64,
        wanted: u64,
        needed: u64,
    ) -> io::Result<Self> {
        let path = dir.join(format!("spare-{number}.{SPARE}"));
        let least = needed.max(SMALLEST.min(wanted));
        let mut capacity = wanted.max(needed);
        loop {
            let made = disk.create(&path).and_then(|file| {
                file.allocate(capacity)?;
                file.sync()?;
                Ok(file)
            });
            match made {
                Ok(file) => {
                    return Ok(Self { path, file, capacity });
                }
                Err(e) => {
                    remove_quietly(disk, &path);
                    if !is_full(&e) || capacity <= least {
                        return Err(e);
                    }
                    capacity = (capacity / 4).max(least);
                }
            }
        }
    }

    /// Reserves the file that only settlements may fill.
    pub(crate) fn reserve(disk: &dyn Disk, dir: &Path, number: u64, wanted: u64) -> io::Result<Self> {
        Self::prepare(disk, dir, number, wanted, wanted.min(SMALLEST_RESERVE))
    }

    pub(crate) fn room(&self, snapshot: u64) -> u64 {
        self.capacity
            .saturating_sub(HEADER_BLOCK as u64 + snapshot + MARGIN)
    }

    /// Gives the written and synced file its place in the journal.
    pub(crate) fn adopt(
        self,
        disk: &dyn Disk,
        dir: &Path,
        header: Header,
        stamp: Stamp,
        end: u64,
    ) -> io::Result<Active> {
        let path = path_of(dir, header.first);
        disk.rename(&self.path, &path)?;
        disk.sync_dir(dir)?;
        let segment = Segment::new(path, header, end);
        segment.set_loaded();
        Ok(Active {
            segment: Arc::new(segment),
            file: self.file,
            end,
            capacity: self.capacity,
            stamp,
            failed: false,
            reserved: false,
        })
    }
}

/// Whether there is no space left.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Removes a file that is of no use; what cannot be removed is removed at the next opening.
pub(crate) fn remove_quietly(disk: &dyn Disk, path: &Path) {
    if let Err(error) = disk.remove(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!(path = %path.display(), %error, "cannot remove a file that is of no use");
    }
}

/// The head of a new segment.
/// `created` is the journal's own time.
pub(crate) fn new_header(
    clock: &dyn Clock,
    created: i64,
    first: Sequence,
    previous: Sequence,
    seed: u64,
    chained: bool,
) -> Header {
    Header {
        first,
        previous,
        created,
        salt: clock.salt(),
        seed,
        chained,
    }
}
