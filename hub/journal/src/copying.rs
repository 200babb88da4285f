//! A copy of a journal's folder, made while a hub writes to it or not: for backups, and to restore them.
//!
//! What was acknowledged before the call is in the copy, and the copy is a beginning of the log: whole frames, in
//! order, without a hole. Sealed segments never change, so they are linked where the file system allows it; of the
//! newest as much is copied as could be read whole. Nothing in the folder is changed and no lock is taken: if retention
//! takes a segment away meanwhile, the copy is begun again.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dispatch_contract::Sequence;

use crate::damage::Damage;
use crate::disk::RealDisk;
use crate::error::OpenError;
use crate::folder::Inventory;
use crate::kept;
use crate::recover::walk_whole;
use crate::segment::Segment;
use crate::walk::{Item, Walked};

/// How often a copy is begun again because retention was faster.
const TRIES: usize = 10;
/// Looks at the newest segment until what looks damaged in it is believed.
const LOOKS: usize = 5;

/// What a copy holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Its oldest sequence.
    pub first: Sequence,
    /// Its last sequence; 0 when the journal is empty.
    pub head: Sequence,
    /// Segment files.
    pub segments: usize,
    /// How many of them take no space of their own.
    pub linked: usize,
    /// Bytes in all of them.
    pub bytes: u64,
}

/// Copies the journal in `from` to the folder `to`, which is made. Everything is on stable storage when this returns.
pub fn copy(from: &Path, to: &Path) -> Result<Copied, OpenError> {
    let unwritable = |source| OpenError::of(to, source);
    fs::create_dir(to).map_err(unwritable)?;
    let mut tries = 1;
    loop {
        let inventory = Inventory::take(&RealDisk, from)?;
        match copy_all(&inventory, to) {
            Ok(copied) => return Ok(copied),
            Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES => {
                tries += 1;
                for entry in fs::read_dir(to).map_err(unwritable)? {
                    fs::remove_file(entry.map_err(unwritable)?.path()).map_err(unwritable)?;
                }
            }
            Err(error) => return Err(unwritable(error)),
        }
    }
}

fn copy_all(inventory: &Inventory, to: &Path) -> io::Result<Copied> {
    let first = inventory.segments.first().map(|s| s.header.first);
    let mut copied = Copied {
        first: first.unwrap_or(1),
        head: first.unwrap_or(1) - 1,
        segments: inventory.segments.len(),
        linked: 0,
        bytes: 0,
    };
    // Linked first, before retention takes one away; a damaged head is copied with its damage.
    let newest = inventory.segments.last();
    let sealed = inventory.segments.iter().map(|s| &s.path);
    let sealed = sealed.take(copied.segments.saturating_sub(1));
    for path in inventory.lost.iter().map(|l| &l.path).chain(sealed) {
        let (bytes, linked) = link(path, to)?;
        copied.bytes += bytes;
        copied.linked += usize::from(linked);
        let index = path.with_extension(crate::segment::INDEX);
        match link(&index, to) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            Ok(_) | Err(_) => {}
        }
    }
    if let Some(newest) = newest {
        let walked = settled_end(newest)?;
        copy_front(&newest.path, to, walked.end)?;
        copied.bytes += walked.end;
        copied.head = walked.next - 1;
    }
    // Where the log begins in the copy; where it was said to begin if its oldest segments are missing.
    kept::save(
        &RealDisk,
        to,
        inventory.kept.unwrap_or(copied.first).min(copied.first),
    )?;
    File::open(to)?.sync_all()?;
    Ok(copied)
}

/// How far the newest segment can be read. A place that looks damaged may be one that is being written: it is believed
/// only if it looks the same again.
fn settled_end(segment: &Arc<Segment>) -> io::Result<Walked> {
    let mut before: Option<Vec<Damage>> = None;
    let mut looks = 0;
    loop {
        let mut damage = Vec::new();
        let walked = walk_whole(&RealDisk, segment, None, &mut |item| match item {
            Item::Damage(found) => damage.push(found),
            Item::Frame(_) => {}
        })?;
        looks += 1;
        let same = before.is_some_and(|b| damage.iter().all(|d| b.contains(d)));
        if damage.is_empty() || same || looks >= LOOKS {
            return Ok(walked);
        }
        before = Some(damage);
    }
}

/// Links a file that never changes into a folder, or copies it. Says how large it is and whether it was linked.
fn link(file: &Path, to: &Path) -> io::Result<(u64, bool)> {
    let target = name_in(file, to)?;
    match fs::hard_link(file, &target) {
        Ok(()) => Ok((fs::metadata(&target)?.len(), true)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
        // Another file system, or one without links. The system shares the blocks where it can.
        Err(_) => {
            let bytes = fs::copy(file, &target)?;
            File::open(&target)?.sync_all()?;
            Ok((bytes, false))
        }
    }
}

fn copy_front(file: &Path, to: &Path, length: u64) -> io::Result<()> {
    let mut copy = File::create_new(name_in(file, to)?)?;
    let written = io::copy(&mut File::open(file)?.take(length), &mut copy)?;
    if written < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    copy.sync_all()
}

fn name_in(file: &Path, to: &Path) -> io::Result<PathBuf> {
    let name = file.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    Ok(to.join(name))
}
