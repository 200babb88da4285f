//! The few things the journal asks of a disk.
//!
//! Everything the journal does to its folder after taking the lock goes through [`Disk`], so that a test or a
//! simulation can fail a sync, run out of space or lose un-synced pages. [`RealDisk`] is the machine's own.

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use rustix::io::Errno;

/// A folder of files.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Makes an empty file, replacing what was there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file to read it, and with `write` to write it as well.
    fn open(&self, path: &Path, write: bool) -> io::Result<Box<dyn DiskFile>>;
    /// Renames a file, replacing what was there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// The files of a folder, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;
    /// Makes names in the folder durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// An open file. Positions are explicit, so that readers and the writer can share it.
pub trait DiskFile: Debug + Send + Sync {
    /// Reads some bytes at `offset`; 0 at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all bytes at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes the file `size` bytes long and reserves the space; what was not written reads as zeros.
    fn allocate(&self, size: u64) -> io::Result<()>;
    /// Makes the file `size` bytes long; what was behind is gone.
    fn truncate(&self, size: u64) -> io::Result<()>;
    /// Makes everything written durable (`fdatasync`).
    fn sync(&self) -> io::Result<()>;
    /// How long the file is.
    fn size(&self) -> io::Result<u64>;
}

/// The machine's own file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, path: &Path, write: bool) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(write).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        std::fs::read_dir(dir)?.map(|e| e.map(|e| e.path())).collect()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

#[derive(Debug)]
struct RealFile(File);

/// Written at a time where the file system cannot reserve space.
const ZEROS: &[u8] = &[0; 256 * 1024];

impl RealFile {
    /// Bytes that a file of this size needs beside those it has.
    fn lacks(&self, size: u64) -> io::Result<u64> {
        let has = self.0.metadata()?.blocks() * 512;
        Ok(size.saturating_sub(has))
    }

    /// Bytes that its disk has for us, as far as it says.
    fn free(&self) -> io::Result<u64> {
        let disk = fstatvfs(&self.0)?;
        match disk.f_blocks {
            // A file system in memory without a limit.
            0 => Ok(u64::MAX),
            _ => Ok(disk.f_bavail.saturating_mul(disk.f_frsize)),
        }
    }

    fn fill_with_zeros(&self, size: u64) -> io::Result<()> {
        let mut at = self.size()?;
        while at < size {
            let part = usize::try_from(size - at).unwrap_or(usize::MAX).min(ZEROS.len());
            self.0.write_all_at(&ZEROS[..part], at)?;
            at += part as u64;
        }
        Ok(())
    }
}

impl DiskFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.0.read_at(buffer, offset) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        // One that fails may take all there is for a moment, and others would find the disk full.
        if self.lacks(size)? > self.free()? {
            return Err(io::ErrorKind::StorageFull.into());
        }
        loop {
            match fallocate(&self.0, FallocateFlags::empty(), 0, size) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return self.fill_with_zeros(size),
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_disk_has_is_refused_before_any_of_it_is_taken() {
        let file = RealFile(tempfile::tempfile().unwrap());
        file.allocate(1 << 20).unwrap();
        let more = file.free().unwrap().saturating_add(1 << 40);

        let refused = file.allocate(more).unwrap_err();

        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
        assert_eq!(file.size().unwrap(), 1 << 20);
        file.allocate(2 << 20).unwrap();
    }
}
