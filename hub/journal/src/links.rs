//! Follows the chain while a journal is read: what a frame carries must be the hash of the frame before it.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use dispatch_contract::Sequence;

use crate::chain::Link;
use crate::damage::{Damage, DamageKind};
use crate::frame::FrameKind;
use crate::segment::Segment;
use crate::walk::Frame;

/// The end of a chain: kept elsewhere, it proves later that nothing up to here was altered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// The last record of a group.
    pub sequence: Sequence,
    /// The hash of that group, which stands for all before it.
    pub link: Link,
}

/// Where a chain begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// From this record on nothing is missing or altered.
    pub from: Sequence,
    /// Up to here.
    pub end: Anchor,
}

/// One who follows. Frames come in order, segment after segment.
#[derive(Debug)]
pub(crate) struct Links {
    before: Before,
    from: Option<Sequence>,
    end: Option<Anchor>,
    expected: Option<Anchor>,
    /// Whether what was expected is there.
    pub(crate) met: bool,
}

#[derive(Debug)]
enum Before {
    /// Nothing is known: whatever comes first is believed.
    Unknown,
    /// Frames without hashes.
    Unchained,
    Frame(Last),
}

#[derive(Debug)]
struct Last {
    hash: Link,
    segment: PathBuf,
    offset: u64,
    bytes: u64,
    records: Option<RangeInclusive<Sequence>>,
}

impl Links {
    pub(crate) fn new(expected: Option<Anchor>) -> Self {
        Self {
            before: Before::Unknown,
            from: None,
            end: None,
            expected,
            met: false,
        }
    }

    /// Something cannot be read: what comes next is believed again.
    pub(crate) fn interrupt(&mut self) {
        self.before = Before::Unknown;
        self.from = None;
    }

    /// The next frame. Says what was altered if it does not carry the hash of the frame before.
    pub(crate) fn follow(&mut self, segment: &Segment, frame: &Frame<'_>) -> Option<Damage> {
        if !segment.header.chained {
            self.interrupt();
            self.before = Before::Unchained;
            self.end = None;
            return None;
        }
        let head = &frame.head;
        let this = Last {
            hash: frame.hash(),
            segment: segment.path.clone(),
            offset: frame.at,
            bytes: head.framed(),
            records: (head.count > 0).then(|| head.first..=head.next() - 1),
        };
        if head.kind == FrameKind::Group {
            let anchor = Anchor {
                sequence: head.next() - 1,
                link: this.hash,
            };
            self.met |= self.expected == Some(anchor);
            self.end = Some(anchor);
        }
        let altered = match &self.before {
            Before::Frame(last) if frame.link != Some(last.hash) => Some(last.altered()),
            Before::Unchained if frame.link != Some(Link::START) => Some(this.altered()),
            Before::Unknown | Before::Unchained | Before::Frame(_) => None,
        };
        if altered.is_some() || self.from.is_none() {
            self.from = Some(head.first);
        }
        self.before = Before::Frame(this);
        if head.is_filler() {
            // The next one carries the hash of what was lost here.
            self.interrupt();
        }
        altered
    }

    /// The chain that reaches to the last frame.
    pub(crate) fn chain(&self) -> Option<Chain> {
        Some(Chain {
            from: self.from?,
            end: self.end?,
        })
    }
}

impl Last {
    fn altered(&self) -> Damage {
        Damage {
            segment: self.segment.clone(),
            offset: self.offset,
            bytes: self.bytes,
            missing: self.records.clone(),
            kind: DamageKind::Altered,
        }
    }
}
