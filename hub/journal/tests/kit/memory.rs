//! A folder in memory that forgets what was not synced, as a machine does that loses power.
//!
//! Of a file's un-synced writes any subset of its 4 KiB pages may have reached the disk, in any order; a name that was
//! not synced may be the old one or the new one.

use std::collections::BTreeMap;
use std::io;
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
    /// Every operation counts; at this one and after it the power is gone.
    operations: u64,
    power_until: Option<u64>,
}

#[derive(Debug, Clone)]
struct File(Arc<Mutex<Content>>);

#[derive(Debug, Clone, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Debug)]
struct Opened {
    folder: Memory,
    file: File,
}

impl Memory {
    fn folder(&self) -> MutexGuard<'_, Folder> {
        self.0.lock().unwrap()
    }

    /// From this operation on, counted from now, nothing works any more.
    pub fn fail_after(&self, operations: u64) {
        let mut folder = self.folder();
        folder.power_until = Some(folder.operations + operations);
    }

    /// How many operations there were.
    pub fn operations(&self) -> u64 {
        self.folder().operations
    }

    fn operate(&self) -> io::Result<MutexGuard<'_, Folder>> {
        let mut folder = self.folder();
        folder.operations += 1;
        match folder.power_until {
            Some(end) if folder.operations > end => Err(io::Error::other("no power")),
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
        }
    }
}

impl Disk for Memory {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = File(Arc::default());
        self.operate()?.names.insert(path.to_owned(), file.clone());
        let folder = self.clone();
        Ok(Box::new(Opened { folder, file }))
    }
    fn open(&self, path: &Path, _: bool) -> io::Result<Box<dyn DiskFile>> {
        let found = self.operate()?.names.get(path).cloned();
        let file = found.ok_or(io::ErrorKind::NotFound)?;
        let folder = self.clone();
        Ok(Box::new(Opened { folder, file }))
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
        drop(self.folder.operate()?);
        let content = self.content();
        let rest = content.now.get(offset as usize..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        drop(self.folder.operate()?);
        let mut content = self.content();
        let end = offset as usize + bytes.len();
        if content.now.len() < end {
            content.now.resize(end, 0);
        }
        content.now[offset as usize..end].copy_from_slice(bytes);
        Ok(())
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
        drop(self.folder.operate()?);
        let mut content = self.content();
        content.durable = content.now.clone();
        Ok(())
    }
    fn size(&self) -> io::Result<u64> {
        drop(self.folder.operate()?);
        Ok(self.content().now.len() as u64)
    }
}
