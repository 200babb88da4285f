//! The index beside a sealed segment: some places in it and the identities of its events.
//!
//! Only a help: it is never synced, carries a checksum and the segment's salt, and is made again from the segment
//! when it is missing or does not fit.
//!
//! ```text
//! magic "DISPJIDX", u32 version, u32 zero, u64 salt, u64 identity seed, u64 first sequence,
//! u32 organizations, each: u16 length, organization, u64 bytes of its events,
//! u32 checksum of all before,
//! u32 places, u32 identities, each place: u64 sequence, u64 offset, each identity: 16 bytes hash, u64 sequence,
//! u32 checksum of all before
//! ```
//!
//! The first checksum lets an opening that needs no more read the front alone.

use std::io;
use std::path::Path;

use dispatch_contract::Sequence;

use crate::active::remove_quietly;
use crate::disk::Disk;
use crate::header::{Header, u32_at};
use crate::held::Held;
use crate::identities::Identity;
use crate::record::Reader;
use crate::segment::Place;

const MAGIC: &[u8; 8] = b"DISPJIDX";
const VERSION: u32 = 2;
/// So much of an index is read first: the front of nearly every one.
const FRONT: u64 = 4096;
/// More than any index of ours has.
const LARGEST: u64 = 1 << 30;

/// What the index says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) held: Held,
    pub(crate) places: Vec<Place>,
    pub(crate) identities: Vec<(Identity, Sequence)>,
}

impl Index {
    fn encode(&self, header: &Header) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.places.len() * 16 + self.identities.len() * 24);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        for number in [header.salt, header.seed, header.first] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        self.held.encode(&mut out);
        let checksum = crc32c::crc32c(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out.extend_from_slice(&(self.places.len() as u32).to_le_bytes());
        out.extend_from_slice(&(self.identities.len() as u32).to_le_bytes());
        for place in &self.places {
            out.extend_from_slice(&place.sequence.to_le_bytes());
            out.extend_from_slice(&place.offset.to_le_bytes());
        }
        for (identity, sequence) in &self.identities {
            out.extend_from_slice(&identity.to_le_bytes());
            out.extend_from_slice(&sequence.to_le_bytes());
        }
        let checksum = crc32c::crc32c(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8], header: &Header) -> Option<Self> {
        let body = bytes.get(..bytes.len().checked_sub(4)?)?;
        if crc32c::crc32c(body) != u32_at(bytes, body.len())? {
            return None;
        }
        let mut rest = Reader(body);
        let held = front(&mut rest, header)?;
        let (places, identities) = (rest.u32()?, rest.u32()?);
        let place = |rest: &mut Reader<'_>| {
            Some(Place {
                sequence: rest.u64()?,
                offset: rest.u64()?,
            })
        };
        let places = (0..places).map(|_| place(&mut rest)).collect::<Option<_>>()?;
        let identity = |rest: &mut Reader<'_>| {
            let hash = rest.take(16)?.try_into().ok()?;
            Some((Identity::from_le_bytes(hash), rest.u64()?))
        };
        let identities = (0..identities)
            .map(|_| identity(&mut rest))
            .collect::<Option<_>>()?;
        Some(Self {
            held,
            places,
            identities,
        })
    }

    /// Writes the index file whole: under another name first, so that half of one is never read.
    pub(crate) fn save(&self, disk: &dyn Disk, path: &Path, header: &Header) -> io::Result<()> {
        let draft = path.with_extension("idx-tmp");
        let written = disk
            .create(&draft)
            .and_then(|file| file.write_at(&self.encode(header), 0))
            .and_then(|()| disk.rename(&draft, path));
        if written.is_err() {
            remove_quietly(disk, &draft);
        }
        written
    }

    /// Reads the index file; `None` when there is none that fits the segment.
    pub(crate) fn load(disk: &dyn Disk, path: &Path, header: &Header) -> io::Result<Option<Self>> {
        Ok(read(disk, path, LARGEST)?.and_then(|bytes| Self::decode(&bytes, header)))
    }

    /// Reads only what the front of the index file says; `None` when there is none that fits the segment.
    pub(crate) fn load_held(disk: &dyn Disk, path: &Path, header: &Header) -> io::Result<Option<Held>> {
        let Some(bytes) = read(disk, path, FRONT)? else {
            return Ok(None);
        };
        match front(&mut Reader(&bytes), header) {
            Some(held) => Ok(Some(held)),
            None => Ok(Self::load(disk, path, header)?.map(|index| index.held)),
        }
    }
}

/// What stands before the places.
fn front(rest: &mut Reader<'_>, header: &Header) -> Option<Held> {
    let whole = rest.0;
    if rest.take(8)? != MAGIC || rest.u32()? != VERSION {
        return None;
    }
    rest.u32()?;
    if [rest.u64()?, rest.u64()?, rest.u64()?] != [header.salt, header.seed, header.first] {
        return None;
    }
    let held = Held::decode(rest)?;
    let checksum = crc32c::crc32c(&whole[..whole.len() - rest.0.len()]);
    (rest.u32()? == checksum).then_some(held)
}

/// The first bytes of a file, at most so many; `None` when there is no such file, or it was cut while it was read.
fn read(disk: &dyn Disk, path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path, false) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut bytes = vec![0; file.size()?.min(most) as usize];
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], done as u64)? {
            0 => return Ok(None),
            n => done += n,
        }
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::put_text;

    #[test]
    fn an_index_that_does_not_fit_its_segment_is_not_believed() {
        let header = Header {
            first: 1,
            previous: 0,
            created: 0,
            salt: 2,
            seed: 3,
            chained: false,
        };
        let mut held = Vec::from(1u32.to_le_bytes());
        put_text(&mut held, "acme");
        held.extend_from_slice(&700u64.to_le_bytes());
        let held = Held::decode(&mut Reader(&held)).unwrap();
        let index = Index {
            held,
            places: vec![Place {
                sequence: 1,
                offset: 4096,
            }],
            identities: vec![(7, 1)],
        };
        let bytes = index.encode(&header);

        assert_eq!(
            front(&mut Reader(&bytes[..100]), &header),
            Some(index.held.clone())
        );
        assert_eq!(Index::decode(&bytes, &header), Some(index));
        assert_eq!(Index::decode(&bytes, &Header { salt: 9, ..header }), None);
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Index::decode(&bad, &header), None, "bit {bit}");
        }
    }
}
