//! A frame: one group of records on disk, whole or not at all.
//!
//! ```text
//!  0  magic "DFr1"
//!  4  u32 checksum of bytes 8..48
//!  8  u32 length of the body
//! 12  u32 checksum of the body
//! 16  u64 sequence of the first record
//! 24  u32 number of records
//! 28  u8  kind: 1 group, 2 snapshot, 3 mark; three zero bytes
//! 32  i64 arrival, Unix milliseconds
//! 40  u64 the last sequence that was durable when this was written
//! 48  body (in a chained segment: 32 bytes, the hash of the frame before, first), then zeros up to a multiple of 8
//! ```
//! Both checksums are CRC-32C and start from the segment's salt, so that bytes of another segment, or bytes a
//! sender chose, are never taken for a frame of this one. The head has a checksum of its own so that a damaged
//! body can be stepped over and its records named.

use dispatch_contract::Sequence;

use crate::chain::{LINK, Link, Stamp};
use crate::header::{u32_at, u64_at};

/// Size of a frame's head.
pub(crate) const FRAME_HEAD: usize = 48;
/// The part of it that its checksum covers.
const COVERED: usize = FRAME_HEAD - 8;
/// Frames begin at multiples of this.
pub(crate) const ALIGN: usize = 8;
/// The first bytes of every frame.
pub(crate) const FRAME_MAGIC: [u8; 4] = *b"DFr1";

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// Records.
    Group,
    /// What all subscriptions have behind them, and all checkpoints, before the segment's first record.
    Snapshot,
    /// No records: says that everything before it is durable. One that counts records stands where they were lost before
    /// anybody was answered for them.
    Mark,
}

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHead {
    pub(crate) kind: FrameKind,
    /// Sequence of the first record; for a snapshot or a mark, of the record that comes next.
    pub(crate) first: Sequence,
    pub(crate) count: u32,
    pub(crate) arrival: i64,
    pub(crate) durable: Sequence,
    length: u32,
    body_checksum: u32,
}

impl FrameHead {
    /// The sequence after the last record.
    pub(crate) fn next(&self) -> Sequence {
        self.first.saturating_add(u64::from(self.count))
    }

    /// Length of the body.
    pub(crate) fn body(&self) -> usize {
        self.length as usize
    }

    /// Length of the whole frame with its padding.
    pub(crate) fn framed(&self) -> u64 {
        framed(self.body())
    }

    /// Whether it stands for records that were lost before anybody was answered for them.
    pub(crate) fn is_filler(&self) -> bool {
        self.kind == FrameKind::Mark && self.count > 0
    }

    /// Whether this is the body the head speaks of.
    pub(crate) fn matches(&self, body: &[u8], seed: u32) -> bool {
        body.len() == self.body() && crc32c::crc32c_append(seed, body) == self.body_checksum
    }

    /// The bytes behind the checksum, which it covers.
    fn covered(&self) -> [u8; COVERED] {
        let mut bytes = [0; COVERED];
        bytes[..4].copy_from_slice(&self.length.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.body_checksum.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.first.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.count.to_le_bytes());
        bytes[20] = match self.kind {
            FrameKind::Group => 1,
            FrameKind::Snapshot => 2,
            FrameKind::Mark => 3,
        };
        bytes[24..32].copy_from_slice(&self.arrival.to_le_bytes());
        bytes[32..].copy_from_slice(&self.durable.to_le_bytes());
        bytes
    }

    /// What the next frame of a chain carries. The body is the whole one.
    pub(crate) fn hash(&self, body: &[u8]) -> Link {
        Link::of(&self.covered(), body)
    }

    /// Reads a head if these bytes are one.
    pub(crate) fn decode(bytes: &[u8], seed: u32) -> Option<Self> {
        let bytes = bytes.get(..FRAME_HEAD)?;
        if bytes[..4] != FRAME_MAGIC || crc32c::crc32c_append(seed, &bytes[8..]) != u32_at(bytes, 4)? {
            return None;
        }
        Some(Self {
            kind: match bytes[28] {
                1 => FrameKind::Group,
                2 => FrameKind::Snapshot,
                3 => FrameKind::Mark,
                _ => return None,
            },
            first: u64_at(bytes, 16)?,
            count: u32_at(bytes, 24)?,
            arrival: u64_at(bytes, 32)?.cast_signed(),
            durable: u64_at(bytes, 40)?,
            length: u32_at(bytes, 8)?,
            body_checksum: u32_at(bytes, 12)?,
        })
    }
}

/// What a frame with a body of `length` bytes takes in the file.
pub(crate) fn framed(length: usize) -> u64 {
    (FRAME_HEAD + length).next_multiple_of(ALIGN) as u64
}

/// Begins a frame at the end of `out`; the records follow, then [`finish`].
pub(crate) fn begin(out: &mut Vec<u8>, stamp: &Stamp) -> usize {
    let start = out.len();
    out.resize(start + FRAME_HEAD, 0);
    if let Some(link) = &stamp.link {
        out.extend_from_slice(link.bytes());
    }
    start
}

/// What [`finish`] writes into a head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Label {
    pub(crate) kind: FrameKind,
    pub(crate) first: Sequence,
    pub(crate) count: u32,
    pub(crate) arrival: i64,
    pub(crate) durable: Sequence,
}

/// Ends the frame that began at `start`: pads it, writes its head and stamps the next one.
pub(crate) fn finish(out: &mut Vec<u8>, start: usize, label: Label, stamp: &mut Stamp) {
    let body = start + FRAME_HEAD;
    let head = FrameHead {
        kind: label.kind,
        first: label.first,
        count: label.count,
        arrival: label.arrival,
        durable: label.durable,
        length: (out.len() - body) as u32,
        body_checksum: crc32c::crc32c_append(stamp.seed, &out[body..]),
    };
    stamp.link = stamp.link.map(|_| head.hash(&out[body..]));
    out.resize(start + head.framed() as usize, 0);
    let covered = head.covered();
    let checksum = crc32c::crc32c_append(stamp.seed, &covered);
    let place = &mut out[start..body];
    place[..4].copy_from_slice(&FRAME_MAGIC);
    place[4..8].copy_from_slice(&checksum.to_le_bytes());
    place[8..].copy_from_slice(&covered);
}

/// A mark of `length` bytes in all, in the place of `count` records that nobody was answered for.
pub(crate) fn filler(first: Sequence, count: u32, length: usize, arrival: i64, stamp: &mut Stamp) -> Vec<u8> {
    let mut out = Vec::with_capacity(length);
    let start = begin(&mut out, stamp);
    out.resize(length.max(out.len()), 0);
    let label = Label {
        kind: FrameKind::Mark,
        first,
        count,
        arrival,
        durable: first.saturating_sub(1),
    };
    finish(&mut out, start, label, stamp);
    out
}

/// A frame without records.
pub(crate) fn mark(next: Sequence, arrival: i64, stamp: &mut Stamp) -> Vec<u8> {
    let mut out = Vec::with_capacity(FRAME_HEAD + LINK);
    let start = begin(&mut out, stamp);
    let label = Label {
        kind: FrameKind::Mark,
        first: next,
        count: 0,
        arrival,
        durable: next.saturating_sub(1),
    };
    finish(&mut out, start, label, stamp);
    out
}
