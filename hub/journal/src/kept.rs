//! Where the log begins: written by retention before it removes a segment, so that an oldest segment that went missing
//! otherwise is noticed.
//!
//! ```text
//! magic "DISPKEPT", u32 version, u32 zero, u64 the first sequence that is kept, u32 zero, u32 checksum of all before
//! ```

use std::io;
use std::path::Path;

use dispatch_contract::Sequence;

use crate::active::remove_quietly;
use crate::disk::Disk;
use crate::header::{u32_at, u64_at};
use crate::patience::read_most;

/// The file's name.
pub(crate) const KEPT: &str = "kept";
const DRAFT: &str = "kept.tmp";
const MAGIC: &[u8; 8] = b"DISPKEPT";
const VERSION: u32 = 1;
const SIZE: usize = 32;

/// Says durably that nothing before `first` is kept.
pub(crate) fn save(disk: &dyn Disk, dir: &Path, first: Sequence) -> io::Result<()> {
    let mut bytes = [0u8; SIZE];
    bytes[0..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&first.to_le_bytes());
    let checksum = crc32c::crc32c(&bytes[..28]);
    bytes[28..].copy_from_slice(&checksum.to_le_bytes());
    let draft = dir.join(DRAFT);
    let saved = disk
        .create(&draft)
        .and_then(|file| {
            file.write_at(&bytes, 0)?;
            file.sync()
        })
        .and_then(|()| disk.rename(&draft, &dir.join(KEPT)))
        .and_then(|()| disk.sync_dir(dir));
    if saved.is_err() {
        remove_quietly(disk, &draft);
    }
    saved
}

/// What the file says; `None` when there is none that can be believed.
pub(crate) fn load(disk: &dyn Disk, dir: &Path) -> Option<Sequence> {
    let file = disk.open(&dir.join(KEPT), false).ok()?;
    let mut bytes = [0u8; SIZE];
    read_most(&*file, &mut bytes, 0);
    let whole = bytes[..8] == *MAGIC
        && u32_at(&bytes, 8)? == VERSION
        && crc32c::crc32c(&bytes[..28]) == u32_at(&bytes, 28)?;
    if whole { u64_at(&bytes, 16) } else { None }
}
