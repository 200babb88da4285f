//! A segment as readers see it: its file, its first record, how far it is readable and where to begin.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use dispatch_contract::Sequence;

use crate::header::{HEADER_BLOCK, Header};
use crate::held::Held;
use crate::lock::lock;

/// Ending of segment files.
pub(crate) const LOG: &str = "log";
/// Ending of the index beside a sealed segment.
pub(crate) const INDEX: &str = "idx";
/// Ending of files that are not yet part of the journal.
pub(crate) const SPARE: &str = "tmp";
/// Ending of a segment whose head cannot be read.
pub(crate) const LOST: &str = "damaged";

/// A place is remembered about every so many bytes.
const STRIDE: u64 = 256 * 1024;

/// One file of the journal.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) header: Header,
    /// Everything before this is durable and may be read.
    end: AtomicU64,
    places: Mutex<Places>,
    held: Mutex<Held>,
}

/// A frame's place: its first sequence and its offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) sequence: Sequence,
    pub(crate) offset: u64,
}

/// Some places of a segment, in order.
#[derive(Debug, Default)]
struct Places {
    known: Vec<Place>,
    /// The index beside the file was already asked.
    loaded: bool,
}

/// The file name of the segment that begins with `first`.
pub(crate) fn path_of(dir: &Path, first: Sequence) -> PathBuf {
    dir.join(format!("{first:020}.{LOG}"))
}

/// Which sequence a segment's file name speaks of.
pub(crate) fn first_of(path: &Path) -> Option<Sequence> {
    if path.extension()? != LOG {
        return None;
    }
    path.file_stem()?.to_str()?.parse().ok()
}

impl Segment {
    pub(crate) fn new(path: PathBuf, header: Header, end: u64) -> Self {
        Self {
            path,
            header,
            end: AtomicU64::new(end),
            places: Mutex::default(),
            held: Mutex::default(),
        }
    }

    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    pub(crate) fn set_end(&self, end: u64) {
        self.end.store(end, Ordering::Release);
    }

    pub(crate) fn index_path(&self) -> PathBuf {
        self.path.with_extension(INDEX)
    }

    /// Remembers a frame's place if the last one remembered is far enough away.
    pub(crate) fn note_place(&self, place: Place) {
        let mut places = lock(&self.places);
        let last = places.known.last().map_or(HEADER_BLOCK as u64, |p| p.offset);
        if place.offset >= last + STRIDE {
            places.known.push(place);
        }
    }

    /// All places that are remembered.
    pub(crate) fn places(&self) -> Vec<Place> {
        lock(&self.places).known.clone()
    }

    /// What of each organization is in it.
    pub(crate) fn held(&self) -> Held {
        lock(&self.held).clone()
    }

    /// Records that were read from it, or written to it.
    pub(crate) fn hold(&self, more: &Held) {
        lock(&self.held).add(more);
    }

    /// The places need not be loaded: they were noted while the segment was written.
    pub(crate) fn set_loaded(&self) {
        lock(&self.places).loaded = true;
    }

    /// Where to begin reading to find `sequence`; `load` brings the places of an index file, once if it can be read.
    pub(crate) fn seek(&self, sequence: Sequence, load: impl FnOnce() -> io::Result<Vec<Place>>) -> Place {
        let mut places = lock(&self.places);
        if !places.loaded
            && let Ok(known) = load()
        {
            places.loaded = true;
            places.known = known;
        }
        let behind = places.known.partition_point(|p| p.sequence <= sequence);
        let start = Place {
            sequence: self.header.first,
            offset: HEADER_BLOCK as u64,
        };
        behind
            .checked_sub(1)
            .and_then(|n| places.known.get(n).copied())
            .unwrap_or(start)
    }
}
