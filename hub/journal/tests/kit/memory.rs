//! A folder in memory that forgets what was not synced, as a machine does that loses power.
//!
//! Of a file's un-synced writes any subset of its 4 KiB pages may have reached the disk, in any order; a name that was
//! not synced may be the old one or the new one. After a failed sync the pages count as clean, as Linux does it: no
//! later sync writes them.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use dispatch_journal::disk::{Disk, DiskFile};

use super::Dice;

const PAGE: usize = 4096;

#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<Folder>>);

#[derive(Debug, Default)]
struct Folder {
    names: BTreeMap<PathBuf, File>,
    durable_names: BTreeMap<PathBuf, File>,
    /// Bytes that may still be reserved or written; `None` is as many as wanted.
    space: Option<u64>,
    /// Every operation counts.
    operations: u64,
    fault: Option<Fault>,
    /// Reads give at most so many bytes.
    longest_read: Option<usize>,
    /// A file was written although a write or a sync of it had failed.
    trusted: Vec<PathBuf>,
}

/// These operations fail.
#[derive(Debug, Clone)]
struct Fault {
    which: Range<u64>,
    errno: i32,
}

#[derive(Debug, Clone)]
struct File(Arc<Mutex<Content>>);

#[derive(Debug, Clone, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// A write or a sync failed: nothing written since the last good sync will ever be durable.
    failed: bool,
}

#[derive(Debug)]
struct Opened {
    folder: Memory,
    path: PathBuf,
    file: File,
}

impl Memory {
    fn folder(&self) -> MutexGuard<'_, Folder> {
        self.0.lock().unwrap()
    }

    /// So many operations, after so many that work, fail with this error.
    pub fn fail(&self, after: u64, count: u64, errno: i32) {
        let mut folder = self.folder();
        let from = folder.operations + after;
        folder.fault = Some(Fault {
            which: from..from.saturating_add(count),
            errno,
        });
    }

    /// Everything works again.
    pub fn mend(&self) {
        self.folder().fault = None;
    }

    /// Reads come short.
    pub fn read_at_most(&self, bytes: usize) {
        self.folder().longest_read = Some(bytes);
    }

    /// Files that were written after a write or a sync of them had failed.
    pub fn trusted(&self) -> Vec<PathBuf> {
        self.folder().trusted.clone()
    }

    /// How many operations there were.
    pub fn operations(&self) -> u64 {
        self.folder().operations
    }

    fn operate(&self) -> io::Result<MutexGuard<'_, Folder>> {
        let mut folder = self.folder();
        let now = folder.operations;
        folder.operations += 1;

        match &folder.fault {
            Some(fault) if fault.which.contains(&now) => Err(io::Error::from_raw_os_error(fault.errno)),
            _ => Ok(folder),
        }
    }

    /// What the disk holds after the power came back.
    pub fn after_power_loss(&self, dice: &mut Dice) -> Self {
        let folder = self.folder();
        let mut survived = BTreeMap::new();
        let mut paths: Vec<_> = folder.names.keys().chain(folder.durable_names.keys()).collect();
        paths.sort();
        paths.dedup();
        for path in paths {
            let (old, new) = (folder.durable_names.get(path), folder.names.get(path));
            let same = old.zip(new).is_some_and(|(a, b)| Arc::ptr_eq(&a.0, &b.0));
            let kept = if same || dice.roll(2) == 0 { old } else { new };
            if let Some(file) = kept {
                let content = file.0.lock().unwrap().torn(dice);
                survived.insert(path.clone(), File(Arc::new(Mutex::new(content))));
            }
        }
        Self(Arc::new(Mutex::new(Folder {
            names: survived.clone(),
            durable_names: survived,
            ..Folder::default()
        })))
    }

    /// All files as they are now.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let folder = self.folder();
        let content = |f: &File| f.0.lock().unwrap().now.clone();
        folder
            .names
            .iter()
            .map(|(p, f)| (p.clone(), content(f)))
            .collect()
    }
}

impl Content {
    /// A page here or there reached the disk before the power went.
    fn torn(&self, dice: &mut Dice) -> Self {
        let longest = if dice.roll(2) == 0 {
            self.durable.len()
        } else {
            self.now.len()
        };
        let mut left = self.durable.clone();
        left.resize(longest, 0);
        for (n, page) in left.chunks_mut(PAGE).enumerate() {
            let written = self.now.get(n * PAGE..).unwrap_or_default();
            let length = written.len().min(page.len());
            if page[..length] != written[..length] && dice.roll(2) == 0 {
                page[..length].copy_from_slice(&written[..length]);
            }
        }
        Self {
            now: left.clone(),
            durable: left,
            failed: false,
        }
    }
}

impl Disk for Memory {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = File(Arc::default());
        self.operate()?.names.insert(path.to_owned(), file.clone());
        let folder = self.clone();
        Ok(Box::new(Opened {
            folder,
            path: path.to_owned(),
            file,
        }))
    }
    fn open(&self, path: &Path, _: bool) -> io::Result<Box<dyn DiskFile>> {
        let found = self.operate()?.names.get(path).cloned();
        let file = found.ok_or(io::ErrorKind::NotFound)?;
        let folder = self.clone();
        Ok(Box::new(Opened {
            folder,
            path: path.to_owned(),
            file,
        }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut folder = self.operate()?;
        let file = folder.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        folder.names.insert(to.to_owned(), file);
        Ok(())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = self.operate()?.names.remove(path);
        removed.map(drop).ok_or(io::ErrorKind::NotFound.into())
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let folder = self.operate()?;
        let inside = folder.names.keys().filter(|p| p.parent() == Some(dir));
        Ok(inside.cloned().collect())
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        let mut folder = self.operate()?;
        folder.durable_names = folder.names.clone();
        Ok(())
    }
}

impl Opened {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.file.0.lock().unwrap()
    }
}

impl DiskFile for Opened {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let longest = self.folder.operate()?.longest_read.unwrap_or(usize::MAX);
        let content = self.content();
        let rest = content.now.get(offset as usize..).unwrap_or_default();
        let length = rest.len().min(buffer.len()).min(longest);
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let operated = self.folder.operate().map(drop);
        let mut content = self.content();
        if content.failed {
            self.folder.folder().trusted.push(self.path.clone());
        }
        // A write that fails may have written a part.
        let bytes = match &operated {
            Ok(()) => bytes,
            Err(_) => &bytes[..bytes.len() / 2],
        };
        content.failed |= operated.is_err();
        let end = offset as usize + bytes.len();
        if content.now.len() < end {
            content.now.resize(end, 0);
        }
        content.now[offset as usize..end].copy_from_slice(bytes);
        operated
    }
    fn allocate(&self, size: u64) -> io::Result<()> {
        let mut folder = self.folder.operate()?;
        let mut content = self.content();
        let more = size.saturating_sub(content.now.len() as u64);
        if let Some(space) = &mut folder.space {
            *space = space.checked_sub(more).ok_or(io::ErrorKind::StorageFull)?;
        }
        if more > 0 {
            content.now.resize(size as usize, 0);
        }
        Ok(())
    }
    fn truncate(&self, size: u64) -> io::Result<()> {
        drop(self.folder.operate()?);
        self.content().now.resize(size as usize, 0);
        Ok(())
    }
    fn sync(&self) -> io::Result<()> {
        let operated = self.folder.operate().map(drop);
        let mut content = self.content();
        content.failed |= operated.is_err();
        if !content.failed {
            content.durable = content.now.clone();
        }
        operated
    }
    fn size(&self) -> io::Result<u64> {
        drop(self.folder.operate()?);
        Ok(self.content().now.len() as u64)
    }
}
