//! A disk in memory that fails, fills up and loses power as its dice say.
//!
//! Every file has two faces: what the medium holds and what only the page cache does. A sync carries pages from one to
//! the other; [`SimDisk::lose_power`] keeps any subset of the rest. Names are the folder's own un-synced state: when
//! the power goes, a beginning of the changes since the last `sync_dir` is kept, in their order, as journaling file
//! systems do. Power can also be set to go in the middle of the n-th change from now: from then on nothing works.
//!
//! What it does not do: damage what was synced (bits that flip are the journal's own tests), or give back the
//! contents of deleted files.

mod faults;
mod inode;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dispatch_journal::disk::{Disk, DiskFile};
pub(crate) use faults::{Faults, Loss};
use inode::{Inode, PAGE};
use tokio::sync::Notify;

use crate::dice::Dice;

/// A disk with one folder. Clones are the same disk.
#[derive(Debug, Clone)]
pub(crate) struct SimDisk(Arc<Mutex<State>>, Arc<Notify>);

#[derive(Debug, Clone)]
struct State {
    dice: Dice,
    inodes: BTreeMap<u64, Inode>,
    next: u64,
    names: BTreeMap<PathBuf, u64>,
    names_on_medium: BTreeMap<PathBuf, u64>,
    /// Since the last time names were made durable.
    changes: Vec<Change>,
    capacity: u64,
    faults: Faults,
    /// Reads that failed one after the other.
    failed_reads: u64,
    /// Changes until the power goes.
    power: Option<u64>,
    /// How often the machine was started: handles of an earlier start are dead.
    starts: u64,
    /// Rings when the power goes.
    bell: Arc<Notify>,
}

/// A change of names.
#[derive(Debug, Clone)]
struct Change {
    gone: Option<PathBuf>,
    there: Option<(PathBuf, u64)>,
}

impl Change {
    fn apply(self, names: &mut BTreeMap<PathBuf, u64>) {
        if let Some(gone) = self.gone {
            names.remove(&gone);
        }
        names.extend(self.there);
    }
}

/// Whether a change happens.
enum Fate {
    Happens,
    /// The power goes in the middle of it.
    Half,
}

fn failure(what: &str) -> io::Error {
    io::Error::other(format!("simulated: {what}"))
}

/// In whole pages.
fn whole(bytes: u64) -> u64 {
    bytes.next_multiple_of(PAGE as u64)
}

impl State {
    fn is_on(&self) -> bool {
        self.power != Some(0)
    }

    fn read_power(&self, start: u64) -> io::Result<()> {
        if !self.is_on() || start != self.starts {
            return Err(failure("no power"));
        }
        Ok(())
    }

    /// To be asked before everything that changes the disk.
    fn spend(&mut self, start: u64) -> io::Result<Fate> {
        self.read_power(start)?;
        let Some(left) = &mut self.power else {
            return Ok(Fate::Happens);
        };
        *left -= 1;
        if *left > 0 {
            return Ok(Fate::Happens);
        }
        self.bell.notify_one();
        Ok(Fate::Half)
    }

    fn used(&self) -> u64 {
        self.inodes.values().map(|i| whole(i.reserved)).sum()
    }

    /// Whether so many more bytes fit.
    fn has_room(&self, more: u64) -> io::Result<()> {
        if self.used() + more > self.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn inode(&mut self, inode: u64) -> io::Result<&mut Inode> {
        self.inodes
            .get_mut(&inode)
            .ok_or_else(|| failure("the file is gone"))
    }

    fn change(&mut self, change: Change, start: u64) -> io::Result<()> {
        let fate = self.spend(start)?;
        if self.dice.chance(self.faults.names) {
            return Err(failure("a name cannot be changed"));
        }
        self.changes.push(change.clone());
        let replaced = change.there.as_ref().and_then(|(path, _)| self.names.get(path));
        let removed = change.gone.as_ref().filter(|_| change.there.is_none());
        let freed = replaced.or_else(|| self.names.get(removed?)).copied();
        if let Some(file) = freed.and_then(|inode| self.inodes.get_mut(&inode)) {
            file.reserved = 0;
        }
        change.apply(&mut self.names);
        match fate {
            Fate::Happens => Ok(()),
            Fate::Half => Err(failure("power went")),
        }
    }

    /// Forgets files that have no name any more and cannot get one back.
    fn free(&mut self) {
        let pending = self.changes.iter().filter_map(|c| Some(c.there.as_ref()?.1));
        let named = self.names.values().chain(self.names_on_medium.values()).copied();
        let kept: BTreeSet<u64> = named.chain(pending).collect();
        self.inodes.retain(|inode, _| kept.contains(inode));
    }
}

impl SimDisk {
    /// An empty disk.
    pub(crate) fn new(dice: Dice) -> Self {
        let bell = Arc::new(Notify::new());
        Self(
            Arc::new(Mutex::new(State {
                dice,
                inodes: BTreeMap::new(),
                next: 0,
                names: BTreeMap::new(),
                names_on_medium: BTreeMap::new(),
                changes: Vec::new(),
                capacity: u64::MAX,
                faults: Faults::default(),
                failed_reads: 0,
                power: None,
                starts: 0,
                bell: bell.clone(),
            })),
            bell,
        )
    }

    /// Another disk that holds the same, and that nothing is wrong with.
    pub(crate) fn copy(&self) -> Self {
        let bell = Arc::new(Notify::new());
        let state = State {
            capacity: u64::MAX,
            faults: Faults::default(),
            power: None,
            bell: bell.clone(),
            ..self.state().clone()
        };
        Self(Arc::new(Mutex::new(state)), bell)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What goes wrong from now on.
    pub(crate) fn set_faults(&self, faults: Faults) -> Faults {
        std::mem::replace(&mut self.state().faults, faults)
    }

    /// How many bytes fit from now on.
    pub(crate) fn set_capacity(&self, bytes: u64) {
        self.state().capacity = bytes;
    }

    /// Bytes that are taken.
    pub(crate) fn used(&self) -> u64 {
        self.state().used()
    }

    /// The power goes in the middle of the `n`-th change from now (1: the next); `None`: it stays.
    pub(crate) fn cut_power_at(&self, n: Option<u64>) {
        self.state().power = n.map(|n| n.max(1));
    }

    /// Whether it still works.
    pub(crate) fn is_on(&self) -> bool {
        self.state().is_on()
    }

    /// Waits until the power goes.
    pub(crate) async fn power_gone(&self) {
        while self.is_on() {
            self.1.notified().await;
        }
    }

    /// Everything that had the disk open is gone; what is not on the medium is lost as `loss` says. With power again.
    pub(crate) fn lose_power(&self, loss: Loss) {
        let mut state = self.state();
        let State {
            dice,
            inodes,
            names,
            names_on_medium,
            changes,
            ..
        } = &mut *state;
        let permille = match loss {
            Loss::Nothing => None,
            Loss::Everything => Some(1000),
            Loss::Pages(permille) => Some(permille.min(999)),
        };
        if let Some(permille) = permille {
            let kept = match loss {
                Loss::Everything => 0,
                _ => dice.below(changes.len() as u64 + 1) as usize,
            };
            for change in changes.drain(..).take(kept) {
                change.apply(names_on_medium);
            }
            *names = names_on_medium.clone();
            for inode in inodes.values_mut() {
                inode.crash(permille, dice);
            }
        }
        state.free();
        state.power = None;
        state.starts += 1;
        state.failed_reads = 0;
    }

    fn handle(&self, inode: u64, start: u64) -> Box<dyn DiskFile> {
        Box::new(SimFile {
            disk: self.clone(),
            inode,
            start,
        })
    }
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        let start = state.starts;
        state.has_room(PAGE as u64)?;
        state.next += 1;
        let inode = state.next;
        state.inodes.insert(inode, Inode::default());
        let change = Change {
            gone: None,
            there: Some((path.to_owned(), inode)),
        };
        state.change(change, start)?;
        drop(state);
        Ok(self.handle(inode, start))
    }

    fn open(&self, path: &Path, _write: bool) -> io::Result<Box<dyn DiskFile>> {
        let state = self.state();
        state.read_power(state.starts)?;
        let inode = state.names.get(path).copied().ok_or(io::ErrorKind::NotFound)?;
        let start = state.starts;
        drop(state);
        Ok(self.handle(inode, start))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let start = state.starts;
        let inode = state.names.get(from).copied().ok_or(io::ErrorKind::NotFound)?;
        let change = Change {
            gone: Some(from.to_owned()),
            there: Some((to.to_owned(), inode)),
        };
        state.change(change, start)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let start = state.starts;
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(
            Change {
                gone: Some(path.to_owned()),
                there: None,
            },
            start,
        )
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let state = self.state();
        state.read_power(state.starts)?;
        let mut found: Vec<_> = state
            .names
            .iter()
            .filter(|(path, _)| path.parent() == Some(dir))
            .collect();
        // By age and not by name: names may count what other runs of this process made.
        found.sort_by_key(|(_, inode)| **inode);
        Ok(found.into_iter().map(|(path, _)| path.clone()).collect())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        let start = state.starts;
        let fate = state.spend(start)?;
        let syncs = state.faults.syncs;
        if matches!(fate, Fate::Half) || state.dice.chance(syncs) {
            let all = state.changes.len() as u64;
            let kept = state.dice.below(all + 1) as usize;
            let done: Vec<Change> = state.changes.drain(..kept).collect();
            for change in done {
                change.apply(&mut state.names_on_medium);
            }
            return Err(failure("sync of the folder"));
        }
        state.changes.clear();
        state.names_on_medium = state.names.clone();
        state.free();
        Ok(())
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: u64,
    start: u64,
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        state.read_power(self.start)?;
        let faults = state.faults;
        if state.failed_reads < 2 && state.dice.chance(faults.reads) {
            state.failed_reads += 1;
            return Err(failure("read"));
        }
        state.failed_reads = 0;
        let most = match state.dice.chance(faults.short_reads) {
            true => state.dice.between(1, buffer.len().max(1) as u64) as usize,
            false => buffer.len(),
        };
        let most = most.min(buffer.len());
        Ok(state.inode(self.inode)?.read(&mut buffer[..most], offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let fate = state.spend(self.start)?;
        let reserved = state.inode(self.inode)?.reserved;
        let end = offset + bytes.len() as u64;
        let more = whole(end).saturating_sub(whole(reserved));
        if more > 0 {
            state.has_room(more)?;
        }
        let writes = state.faults.writes;
        if matches!(fate, Fate::Half) || state.dice.chance(writes) {
            let part = state.dice.below(bytes.len() as u64 + 1) as usize;
            state.inode(self.inode)?.write(&bytes[..part], offset);
            return Err(failure("write"));
        }
        state.inode(self.inode)?.write(bytes, offset);
        Ok(())
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let fate = state.spend(self.start)?;
        let reserved = state.inode(self.inode)?.reserved;
        let more = whole(size).saturating_sub(whole(reserved));
        if more > 0 {
            state.has_room(more)?;
        }
        state.inode(self.inode)?.allocate(size);
        match fate {
            Fate::Happens => Ok(()),
            Fate::Half => Err(failure("power went")),
        }
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let fate = state.spend(self.start)?;
        state.inode(self.inode)?.truncate(size);
        match fate {
            Fate::Happens => Ok(()),
            Fate::Half => Err(failure("power went")),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let fate = state.spend(self.start)?;
        let syncs = state.faults.syncs;
        let fails = state.dice.chance(syncs);
        let State { dice, inodes, .. } = &mut *state;
        let inode = inodes
            .get_mut(&self.inode)
            .ok_or_else(|| failure("the file is gone"))?;
        match fate {
            Fate::Half => inode.half_sync(dice),
            Fate::Happens if fails => inode.fail_sync(dice),
            Fate::Happens => {
                inode.sync();
                return Ok(());
            }
        }
        Err(failure("sync"))
    }

    fn size(&self) -> io::Result<u64> {
        let mut state = self.disk.state();
        state.read_power(self.start)?;
        Ok(state.inode(self.inode)?.size())
    }
}
