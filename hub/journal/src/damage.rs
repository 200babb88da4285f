//! What the journal says about bytes it could not read: where they are and which records they were.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use dispatch_contract::Sequence;

/// A place that could not be read and was skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The segment file.
    pub segment: PathBuf,
    /// Where in the file the unreadable bytes begin.
    pub offset: u64,
    /// How many bytes were skipped.
    pub bytes: u64,
    /// The records that are lost; `None` when only bookkeeping of the journal's own is.
    pub missing: Option<RangeInclusive<Sequence>>,
    /// What kind of place it is.
    pub kind: DamageKind,
}

/// What a damaged place means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DamageKind {
    /// Records that were durable and acknowledged are lost.
    Acknowledged,
    /// The records belong to the last batch before a crash: they may never have been acknowledged.
    LastBatch,
    /// The head of the segment file cannot be read, so nothing in the file can.
    Segment,
    /// The oldest segment files are gone, and it was not retention that removed them.
    Missing,
    /// The group can be read and is not what was written, or what followed it was taken out: the next one carries another
    /// hash.
    Altered,
}

impl Damage {
    /// How many records are lost.
    pub fn records(&self) -> u64 {
        self.missing.as_ref().map_or(0, |m| m.end() - m.start() + 1)
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, offset, bytes) = (self.segment.display(), self.offset, self.bytes);
        match self.kind {
            DamageKind::Missing => write!(f, "{path} is missing, ")?,
            DamageKind::Altered => return self.fmt_altered(f),
            _ => write!(f, "{path} at byte {offset}: {bytes} bytes unreadable, ")?,
        }
        match (&self.missing, self.kind) {
            (None, DamageKind::Segment) => write!(f, "head of the segment lost"),
            (None, _) => write!(f, "no record lost"),
            (Some(m), DamageKind::LastBatch) => write!(
                f,
                "records {} to {} lost, perhaps never acknowledged",
                m.start(),
                m.end()
            ),
            (Some(m), _) => write!(f, "records {} to {} lost", m.start(), m.end()),
        }
    }
}

impl Damage {
    fn fmt_altered(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, offset) = (self.segment.display(), self.offset);
        write!(f, "{path} at byte {offset}: ")?;
        match &self.missing {
            Some(m) => write!(f, "records {} to {} were altered", m.start(), m.end())?,
            None => write!(f, "a group without records was altered")?,
        }
        write!(
            f,
            ", or what followed was taken out: the next group carries another hash"
        )
    }
}

/// The unfinished end of the log: bytes after the last readable record, with nothing readable behind them.
///
/// A crash in the middle of a write leaves this; nobody was answered for it. Damage to the very last record
/// looks the same, so it is named and not hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// The segment file.
    pub segment: PathBuf,
    /// Where the unfinished bytes begin.
    pub offset: u64,
    /// How many bytes were cut.
    pub bytes: u64,
    /// The records they would have been, if that can still be read.
    pub records: Option<RangeInclusive<Sequence>>,
}

impl fmt::Display for Torn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, offset, bytes) = (self.segment.display(), self.offset, self.bytes);
        write!(f, "{path} at byte {offset}: {bytes} bytes of an unfinished write")?;
        match &self.records {
            Some(r) => write!(f, ", records {} to {}", r.start(), r.end()),
            None => Ok(()),
        }
    }
}
