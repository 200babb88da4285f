//! The head of a segment file: which format, which records, and the salt of its checksums.
//!
//! It is kept twice in the first block, so that one bad sector does not make a whole segment unreadable.
//! Magic, version and checksum keep their places in every version, so that an old hub can say "newer".

use dispatch_contract::Sequence;

/// The format this code writes.
pub(crate) const VERSION: u32 = 2;
/// The first frame begins here.
pub(crate) const HEADER_BLOCK: usize = 4096;

const MAGIC: &[u8; 8] = b"DISPJRNL";
const SIZE: usize = 64;
/// Flag: the frames are chained.
const CHAINED: u32 = 1;
const COPIES: [usize; 2] = [0, 2048];

/// What the head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Sequence of the segment's first record.
    pub(crate) first: Sequence,
    /// First sequence of the segment before this one; 0 for the first of a journal.
    pub(crate) previous: Sequence,
    /// When the segment was begun, Unix milliseconds.
    pub(crate) created: i64,
    /// Random; every checksum in this file depends on it.
    pub(crate) salt: u64,
    /// Random, the same in the whole journal: seed of event identities.
    pub(crate) seed: u64,
    /// Every frame carries the hash of the one before. Since version 2.
    pub(crate) chained: bool,
}

/// What was found at the beginning of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// A head; `whole` is false when one of the two copies is damaged.
    Header { header: Header, whole: bool },
    /// Written by a newer version.
    Newer(u32),
    /// Nothing that can be believed.
    Unreadable,
}

impl Header {
    /// The first block of the file.
    pub(crate) fn encode(&self) -> [u8; HEADER_BLOCK] {
        let mut copy = [0u8; SIZE];
        copy[0..8].copy_from_slice(MAGIC);
        copy[8..12].copy_from_slice(&VERSION.to_le_bytes());
        let flags = if self.chained { CHAINED } else { 0 };
        copy[12..16].copy_from_slice(&flags.to_le_bytes());
        copy[16..24].copy_from_slice(&self.first.to_le_bytes());
        copy[24..32].copy_from_slice(&self.previous.to_le_bytes());
        copy[32..40].copy_from_slice(&self.created.to_le_bytes());
        copy[40..48].copy_from_slice(&self.salt.to_le_bytes());
        copy[48..56].copy_from_slice(&self.seed.to_le_bytes());
        let checksum = crc32c::crc32c(&copy[..60]);
        copy[60..64].copy_from_slice(&checksum.to_le_bytes());
        let mut block = [0u8; HEADER_BLOCK];
        for at in COPIES {
            block[at..at + SIZE].copy_from_slice(&copy);
        }
        block
    }

    /// Reads the first block, which may be shorter than it should be.
    pub(crate) fn decode(block: &[u8]) -> Found {
        let copies = COPIES.map(|at| block.get(at..at + SIZE).and_then(decode_copy));
        let whole = copies[0].is_some() && copies[0] == copies[1];
        match copies[0].or(copies[1]) {
            None => Found::Unreadable,
            Some((version, _)) if version > VERSION => Found::Newer(version),
            Some((_, header)) => Found::Header { header, whole },
        }
    }

    /// Where the checksums of this file start from.
    pub(crate) fn checksum_seed(&self) -> u32 {
        crc32c::crc32c(&self.salt.to_le_bytes())
    }
}

fn decode_copy(copy: &[u8]) -> Option<(u32, Header)> {
    if copy.get(..8)? != MAGIC || crc32c::crc32c(copy.get(..60)?) != u32_at(copy, 60)? {
        return None;
    }
    let header = Header {
        first: u64_at(copy, 16)?,
        previous: u64_at(copy, 24)?,
        created: u64_at(copy, 32)?.cast_signed(),
        salt: u64_at(copy, 40)?,
        seed: u64_at(copy, 48)?,
        chained: u32_at(copy, 12)? & CHAINED != 0,
    };
    Some((u32_at(copy, 8)?, header))
}

/// Little-endian number at a place, if the bytes reach that far.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let part = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(part.try_into().ok()?))
}

/// Little-endian number at a place, if the bytes reach that far.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let part = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(part.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        first: 7,
        previous: 3,
        created: -5,
        salt: 11,
        seed: 13,
        chained: true,
    };

    #[test]
    fn a_head_survives_any_single_flipped_bit() {
        let block = HEADER.encode();

        for bit in 0..HEADER_BLOCK * 8 {
            let mut bad = block;
            bad[bit / 8] ^= 1 << (bit % 8);

            let Found::Header { header, .. } = Header::decode(&bad) else {
                panic!("bit {bit} made the head unreadable");
            };
            assert_eq!(header, HEADER, "bit {bit}");
        }
    }

    #[test]
    fn a_newer_version_is_named_and_not_taken_for_damage() {
        let mut block = HEADER.encode();
        for at in COPIES {
            block[at + 8] = 9;
            let checksum = crc32c::crc32c(&block[at..at + 60]).to_le_bytes();
            block[at + 60..at + 64].copy_from_slice(&checksum);
        }

        assert_eq!(Header::decode(&block), Found::Newer(9));
    }
}
