//! What the journal's tests share: small events, bounded waits, a disk that fails on demand.
// A helper's unwrap is a test's failure; not every test file uses everything.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

pub mod memory;

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dispatch_contract::{
    AppendError, Appended, Checkpoint, Entry, Event, Group, Log, NewEvent, Record, Sequence, Settled,
    Settlement, SubscriptionId, Through,
};
use dispatch_journal::clock::Clock;
use dispatch_journal::disk::{Disk, DiskFile, RealDisk};
use dispatch_journal::{Journal, Options, Recovered};

/// Nothing in a test may take longer.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("took too long")
}

/// Asks again until it is so.
pub async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !so() {
        assert!(tokio::time::Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Small segments, everything else as it is.
pub fn small() -> Options {
    Options {
        segment_bytes: 64 * 1024,
        reserve_bytes: 64 * 1024,
        retain_age: None,
        retain_bytes: None,
        ..Options::default()
    }
}

pub fn open(dir: &Path, options: &Options) -> (Journal, Recovered) {
    Journal::open(dir, options.clone()).unwrap()
}

pub fn event(id: &str, size: usize) -> Event {
    Event::builder(id, "/test", "test.happened")
        .json(format!("\"{}\"", "x".repeat(size)))
        .build()
        .unwrap()
}

pub fn new_event(id: &str, size: usize) -> NewEvent {
    NewEvent {
        organization: "dispatch".into(),
        event: event(id, size),
        target: None,
    }
}

pub fn group(ids: &[&str]) -> Group {
    Group {
        events: ids.iter().map(|id| new_event(id, 20)).collect(),
        ..Group::default()
    }
}

pub fn sized(id: &str, size: usize) -> Group {
    Group {
        events: vec![new_event(id, size)],
        ..Group::default()
    }
}

pub fn checkpoint(driver: &str, value: &str) -> Checkpoint {
    Checkpoint {
        organization: "dispatch".into(),
        driver: driver.into(),
        value: value.to_owned().into(),
    }
}

pub fn settled(subscription: SubscriptionId, event: Sequence) -> Group {
    Group {
        settlements: vec![Settlement {
            subscription,
            event,
            settled: Settled::Delivered,
            attempts: 1,
            failures: Vec::new(),
        }],
        ..Group::default()
    }
}

pub fn through(subscription: SubscriptionId, sequence: Sequence) -> Group {
    Group {
        through: vec![Through {
            subscription,
            sequence,
            but_for: Vec::new(),
        }],
        ..Group::default()
    }
}

pub async fn append(journal: &Journal, group: Group) -> Appended {
    soon(journal.append(group)).await.unwrap()
}

pub async fn try_append(journal: &Journal, group: Group) -> Result<Appended, AppendError> {
    soon(journal.append(group)).await
}

/// Everything that can be read, in order.
pub async fn read_all(journal: &Journal) -> Vec<Entry> {
    let (mut all, mut at) = (Vec::new(), 1);
    while at <= journal.head() {
        let page = soon(journal.read(at, 10_000)).await.unwrap();
        assert!(page.next > at, "a read that stands still at {at}");
        all.extend(page.entries);
        at = page.next;
    }
    all
}

pub fn sequences(entries: &[Entry]) -> Vec<Sequence> {
    entries.iter().map(|e| e.sequence).collect()
}

/// Ids of the events among the entries.
pub fn ids(entries: &[Entry]) -> Vec<String> {
    entries
        .iter()
        .filter_map(|e| match &e.record {
            Record::Event(committed) => Some(committed.event.id().to_owned()),
            _ => None,
        })
        .collect()
}

/// Text of a record without its position: what must read back equal.
pub fn said(entry: &Entry) -> String {
    match &entry.record {
        Record::Event(c) => format!("event {} {:?} {:?}", c.organization, c.target, c.event.encoded()),
        other => format!("{other:?}"),
    }
}

/// Segment files, oldest first.
pub fn segments(dir: &Path) -> Vec<PathBuf> {
    files(dir, "log")
}

/// The journal's files with this ending, in order.
pub fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == ending))
        .collect();
    found.sort();
    found
}

/// A copy of a folder. Files that go away meanwhile (spares) are left out.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        if file.path().is_dir() {
            continue;
        }
        match std::fs::copy(file.path(), to.join(file.file_name())) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            copied => assert!(copied.is_ok(), "{copied:?}"),
        }
    }
}

/// A small deterministic generator (splitmix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
pub struct Hands {
    elapsed: Mutex<Duration>,
    /// Wall time beyond what passed since the year 2026 began, milliseconds.
    jumped: AtomicI64,
    salts: AtomicU64,
}

impl Hands {
    pub fn pass(&self, time: Duration) {
        *self.elapsed.lock().unwrap() += time;
    }
    /// The wall clock is set, forwards or backwards.
    pub fn jump(&self, milliseconds: i64) {
        self.jumped.fetch_add(milliseconds, Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn wall(&self) -> i64 {
        1_767_225_600_000 + self.elapsed().as_millis() as i64 + self.jumped.load(Ordering::SeqCst)
    }
    fn elapsed(&self) -> Duration {
        *self.elapsed.lock().unwrap()
    }
    fn salt(&self) -> u64 {
        self.salts.fetch_add(1, Ordering::SeqCst)
    }
}

/// The real disk, with faults to switch on.
#[derive(Debug, Default)]
pub struct Faults {
    /// Every sync fails.
    pub sync: AtomicBool,
    /// A sync takes a while, so that groups gather behind it.
    pub slow: AtomicBool,
    /// Syncs do nothing: for tests with thousands of openings.
    pub idle: AtomicBool,
    /// There is no space to reserve.
    pub full: AtomicBool,
    /// A write stops in the middle and fails.
    pub short: AtomicBool,
    /// Reads fail so often.
    pub reads: AtomicUsize,
    /// So many reads before these do not.
    pub spared_reads: AtomicUsize,
    /// Names cannot be made durable.
    pub names: AtomicBool,
    /// Files cannot be opened to be read so often: there are no descriptors left.
    pub opens: AtomicUsize,
    /// Files are not made shorter.
    pub keep: AtomicBool,
    pub syncs: AtomicU64,
    /// Offsets and lengths of writes since the last sync.
    pub unsynced: Mutex<Vec<(u64, usize)>>,
    /// Those the last sync covered.
    pub synced: Mutex<Vec<(u64, usize)>>,
}

#[derive(Debug, Clone, Default)]
pub struct FaultyDisk(pub Arc<Faults>);

#[derive(Debug)]
struct FaultyFile {
    file: Box<dyn DiskFile>,
    faults: Arc<Faults>,
}

impl FaultyDisk {
    /// A disk that does not sync.
    pub fn idle() -> Self {
        let disk = Self::default();
        disk.0.idle.store(true, Ordering::SeqCst);
        disk
    }
    pub fn open(&self, dir: &Path, options: &Options) -> (Journal, Recovered) {
        Journal::open_on(Arc::new(self.clone()), dir, options.clone()).unwrap()
    }
    fn wrap(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(FaultyFile {
            file,
            faults: self.0.clone(),
        })
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        RealDisk.create(path).map(|f| self.wrap(f))
    }
    fn open(&self, path: &Path, write: bool) -> io::Result<Box<dyn DiskFile>> {
        let left = &self.0.opens;
        let fail = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if fail.is_ok() {
            return Err(io::Error::from_raw_os_error(24));
        }
        RealDisk.open(path, write).map(|f| self.wrap(f))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        RealDisk.list(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.0.names.load(Ordering::SeqCst) {
            return Err(io::Error::other("folder sync fault"));
        }
        if self.0.idle.load(Ordering::SeqCst) {
            return Ok(());
        }
        RealDisk.sync_dir(dir)
    }
}

impl DiskFile for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let counts_down = |left: &AtomicUsize| {
            let left = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
            left.is_ok()
        };
        if !counts_down(&self.faults.spared_reads) && counts_down(&self.faults.reads) {
            return Err(io::Error::other("read fault"));
        }
        self.file.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.faults.short.load(Ordering::SeqCst) {
            self.file.write_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(io::Error::other("short write"));
        }
        self.faults.unsynced.lock().unwrap().push((offset, bytes.len()));
        self.file.write_at(bytes, offset)
    }
    fn allocate(&self, size: u64) -> io::Result<()> {
        if self.faults.full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.allocate(size)
    }
    fn truncate(&self, size: u64) -> io::Result<()> {
        if self.faults.keep.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.file.truncate(size)
    }
    fn sync(&self) -> io::Result<()> {
        self.faults.syncs.fetch_add(1, Ordering::SeqCst);
        if self.faults.slow.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(200));
        }
        if self.faults.sync.load(Ordering::SeqCst) {
            return Err(io::Error::other("sync fault"));
        }
        *self.faults.synced.lock().unwrap() = std::mem::take(&mut *self.faults.unsynced.lock().unwrap());
        if self.faults.idle.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.file.sync()
    }
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }
}
