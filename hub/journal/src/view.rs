//! What everybody but the committer sees: how far the log is durable, its segments, the newest pages.
//!
//! The committer publishes here after the disk said yes; readers take short locks and never wait for a write.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use dispatch_contract::{Page, Sequence};
use tokio::sync::watch;

use crate::aging::OwnTime;
use crate::clock::Clock;
use crate::damage::Damage;
use crate::disk::Disk;
use crate::held::Held;
use crate::ledger::Ledger;
use crate::lock::{lock, read, write};
use crate::meters::Meters;
use crate::recent::Recent;
use crate::segment::Segment;

/// Damaged places remembered so that each is reported once.
const MOST_REPORTED: usize = 4096;
/// Places remembered where a reader stopped.
const MOST_BOOKMARKS: usize = 1024;

/// Shared by the handle, the tails, the committer and the upkeep.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Files are read where they are asked for, not on a thread for that.
    pub(crate) inline: bool,
    pub(crate) dir: PathBuf,
    pub(crate) meters: Meters,
    own_time: OwnTime,
    pub(crate) ledger: Mutex<Ledger>,
    /// Nothing behind this may be removed.
    pub(crate) floor: AtomicU64,
    segments: RwLock<Vec<Arc<Segment>>>,
    /// What all segments hold.
    held: Mutex<Held>,
    recent: Mutex<Recent>,
    head: AtomicU64,
    dropped: AtomicU64,
    damaged: AtomicU64,
    spares: AtomicU64,
    closed: AtomicBool,
    /// Rings with every new head and at the end.
    bell: watch::Sender<Sequence>,
    reported: Mutex<HashSet<(PathBuf, u64)>>,
    bookmarks: Mutex<HashMap<Sequence, Bookmark>>,
}

/// What the journal runs on.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Files are read where they are asked for, not on a thread for that.
    pub(crate) inline: bool,
}

/// Where a reader stopped, so that the next read need not search.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bookmark {
    /// First sequence of the segment.
    pub(crate) segment: Sequence,
    /// A frame's offset.
    pub(crate) offset: u64,
    /// The sequence expected there.
    pub(crate) expected: Sequence,
}

impl View {
    pub(crate) fn new(
        surroundings: Surroundings,
        dir: PathBuf,
        tail_bytes: usize,
        own_time: OwnTime,
        ledger: Ledger,
        segments: Vec<Arc<Segment>>,
        head: Sequence,
    ) -> Self {
        let mut held = Held::default();
        for segment in &segments {
            held.add(&segment.held());
        }
        Self {
            disk: surroundings.disk,
            clock: surroundings.clock,
            inline: surroundings.inline,
            dir,
            meters: Meters::new(),
            own_time,
            ledger: Mutex::new(ledger),
            floor: AtomicU64::new(0),
            segments: RwLock::new(segments),
            held: Mutex::new(held),
            recent: Mutex::new(Recent::new(tail_bytes)),
            head: AtomicU64::new(head),
            dropped: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
            // 0 is the one that opening prepares.
            spares: AtomicU64::new(1),
            closed: AtomicBool::new(false),
            bell: watch::Sender::new(head),
            reported: Mutex::default(),
            bookmarks: Mutex::default(),
        }
    }

    /// By which segments age.
    pub(crate) fn own_time(&self) -> i64 {
        self.own_time.now(&*self.clock)
    }

    /// The last durable sequence.
    pub(crate) fn head(&self) -> Sequence {
        self.head.load(Ordering::Acquire)
    }

    /// The first sequence that is not removed.
    pub(crate) fn first(&self) -> Sequence {
        read(&self.segments).first().map_or(1, |s| s.header.first)
    }

    /// The last sequence of the oldest segment, if that is complete.
    pub(crate) fn end_of_oldest(&self) -> Option<Sequence> {
        read(&self.segments)
            .get(1)
            .map(|s| s.header.first.saturating_sub(1))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn listen(&self) -> watch::Receiver<Sequence> {
        self.bell.subscribe()
    }

    /// Records up to `head` are durable; `pages` are they.
    pub(crate) fn publish(&self, head: Sequence, pages: Vec<(Sequence, usize, Arc<Page>)>) {
        {
            let mut recent = lock(&self.recent);
            for (first, bytes, page) in pages {
                recent.push(first, bytes, page);
            }
        }
        self.head.store(head, Ordering::Release);
        self.bell.send_replace(head);
    }

    /// Wakes all who follow: there will be no more.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.bell.send_replace(self.head());
    }

    pub(crate) fn recent(&self, from: Sequence) -> Option<Arc<Page>> {
        lock(&self.recent).page(from)
    }

    pub(crate) fn segments(&self) -> Vec<Arc<Segment>> {
        read(&self.segments).clone()
    }

    pub(crate) fn add_segment(&self, segment: Arc<Segment>) {
        let mut segments = write(&self.segments);
        // A segment without a record is replaced by one with the same name.
        segments.pop_if(|last| last.header.first == segment.header.first);
        segments.push(segment);
    }

    /// Takes the oldest segment out, if it is this one.
    pub(crate) fn remove_oldest(&self, segment: &Arc<Segment>) -> bool {
        let mut segments = write(&self.segments);
        let oldest = segments.first().is_some_and(|s| Arc::ptr_eq(s, segment));
        if oldest && segments.len() > 1 {
            segments.remove(0);
            lock(&self.held).take_away(&segment.held());
        }
        oldest
    }

    /// These events were written to the segment that is being written.
    pub(crate) fn hold(&self, active: &Segment, more: &Held) {
        active.hold(more);
        lock(&self.held).add(more);
    }

    /// Bytes of events of an organization in all segments.
    pub(crate) fn held_of(&self, organization: &str) -> u64 {
        lock(&self.held).of(organization)
    }

    /// The segment that holds `sequence` (or the first behind it), and the next one's first sequence.
    pub(crate) fn segment_of(&self, sequence: Sequence) -> Option<(Arc<Segment>, Option<Sequence>)> {
        let segments = read(&self.segments);
        let behind = segments.partition_point(|s| s.header.first <= sequence);
        let at = behind.saturating_sub(1);
        let next = segments.get(at + 1).map(|s| s.header.first);
        Some((segments.get(at)?.clone(), next))
    }

    /// Counts a damaged place and logs it, the first time it is seen.
    pub(crate) fn report(&self, damage: &Damage) {
        let mut reported = lock(&self.reported);
        if reported.len() >= MOST_REPORTED || !reported.insert((damage.segment.clone(), damage.offset)) {
            return;
        }
        self.damaged.fetch_add(damage.records(), Ordering::Relaxed);
        self.meters.damaged.increment(damage.records());
        tracing::error!(%damage, "the journal is damaged");
    }

    pub(crate) fn damaged(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }

    /// A number for the name of a spare file.
    pub(crate) fn number_spare(&self) -> u64 {
        self.spares.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn count_dropped(&self, records: u64) {
        self.dropped.fetch_add(records, Ordering::Relaxed);
        self.meters.dropped.increment(records);
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(crate) fn set_bookmark(&self, sequence: Sequence, bookmark: Bookmark) {
        let mut bookmarks = lock(&self.bookmarks);
        if bookmarks.len() >= MOST_BOOKMARKS {
            bookmarks.clear();
        }
        bookmarks.insert(sequence, bookmark);
    }

    pub(crate) fn bookmark(&self, sequence: Sequence, segment: Sequence) -> Option<Bookmark> {
        lock(&self.bookmarks)
            .remove(&sequence)
            .filter(|b| b.segment == segment)
    }

    /// How many segments there are and the bytes of records in them.
    pub(crate) fn size(&self) -> (usize, u64) {
        let segments = read(&self.segments);
        (segments.len(), segments.iter().map(|s| s.end()).sum())
    }

    /// Brings the gauges up to date.
    pub(crate) fn measure(&self) {
        let (segments, bytes) = self.size();
        self.meters.segments.set(segments as f64);
        self.meters.bytes.set(bytes as f64);
        self.meters.first.set(self.first() as f64);
        self.meters.last.set(self.head() as f64);
    }
}
