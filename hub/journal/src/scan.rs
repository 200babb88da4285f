//! Steps through the frames of one segment file and finds its feet again behind damage.
//!
//! Where a frame should be and is not, every multiple of eight bytes behind it is tried. A head must pass its
//! salted checksum before its length is believed, so hostile data cannot make this slow or let it
//! allocate more than the file is long.

use std::io;

use crate::disk::DiskFile;
use crate::frame::{ALIGN, FRAME_HEAD, FRAME_MAGIC, FrameHead};
use crate::patience::read_most;

/// Bytes read at a time.
const READ_AHEAD: usize = 256 * 1024;
/// An unreadable sector costs this much and not the whole read.
const SECTOR: usize = 4096;
/// What a reserved file mostly holds; compared at once, for a start reads tens of MiB of it.
static ZEROS: [u8; SECTOR] = [0; SECTOR];

/// Reads one file from a place up to a limit.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    file: &'a dyn DiskFile,
    seed: u32,
    at: u64,
    limit: u64,
    window: Vec<u8>,
    window_at: u64,
    /// Read errors become zeros, and so damage, instead of ending the scan.
    tolerant: bool,
}

/// What is at the next place.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// A good frame at `at`.
    Frame {
        at: u64,
        head: FrameHead,
        body: &'a [u8],
    },
    /// Bytes that are no frame; the next place to look is `to`. The head is there if only the body is bad.
    Bad {
        from: u64,
        to: u64,
        head: Option<FrameHead>,
    },
    /// Nothing more that is a frame. `written` is the end of the last byte that is not zero; the head is there
    /// if a frame begins here that the file is too short for.
    End { written: u64, head: Option<FrameHead> },
}

impl<'a> Scanner<'a> {
    /// Starts at `at`; nothing at or behind `limit` is looked at.
    pub(crate) fn new(file: &'a dyn DiskFile, seed: u32, at: u64, limit: u64) -> Self {
        Self {
            file,
            seed,
            at,
            limit,
            window: Vec::new(),
            window_at: 0,
            tolerant: false,
        }
    }

    /// Takes unreadable sectors for damage.
    pub(crate) fn tolerant(mut self, tolerant: bool) -> Self {
        self.tolerant = tolerant;
        self
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// The next frame, bad place or the end.
    pub(crate) fn step(&mut self) -> io::Result<Step<'_>> {
        let (at, seed) = (self.at, self.seed);
        let Some(head) = FrameHead::decode(self.bytes(at, FRAME_HEAD)?, seed) else {
            return self.resync(at, at + ALIGN as u64);
        };
        let to = at + head.framed();
        let body_at = at + FRAME_HEAD as u64;
        if body_at + head.body() as u64 > self.limit {
            return self.resync(at, body_at);
        }
        self.at = to;
        let body = self.bytes(body_at, head.body())?;
        // Asked twice because the borrow of a returned body would last for the whole function.
        if !head.matches(body, seed) {
            return Ok(Step::Bad {
                from: at,
                to,
                head: Some(head),
            });
        }
        let body = self.bytes(body_at, head.body())?;
        Ok(Step::Frame { at, head, body })
    }

    /// Looks for the next head from `start` on.
    fn resync(&mut self, from: u64, start: u64) -> io::Result<Step<'_>> {
        let seed = self.seed;
        let head = FrameHead::decode(self.bytes(from, FRAME_HEAD)?, seed);
        let mut written = from;
        let mut at = from;
        while at < self.limit {
            let block = self.bytes(at, READ_AHEAD)?;
            let mut found = None;
            let sectors = block.chunks(SECTOR).enumerate();
            let written_sectors = sectors.filter(|(_, sector)| **sector != ZEROS[..sector.len()]);
            let words = written_sectors.flat_map(|(sector, bytes)| {
                let words = bytes.chunks(ALIGN).enumerate();
                words.map(move |(n, word)| (sector * SECTOR / ALIGN + n, word))
            });
            for (n, word) in words {
                let here = at + (n * ALIGN) as u64;
                if word.iter().all(|b| *b == 0) {
                    continue;
                }
                written = here + word.len() as u64;
                if here >= start && word.starts_with(&FRAME_MAGIC) {
                    let here_in_block = n * ALIGN;
                    if block.len() - here_in_block < FRAME_HEAD && block.len() == READ_AHEAD {
                        // Too near the end of what was read: look again with the rest in view.
                        found = Some((here, false));
                        break;
                    }
                    if FrameHead::decode(&block[here_in_block..], seed).is_some() {
                        found = Some((here, true));
                        break;
                    }
                }
            }
            let read = block.len() as u64;
            match found {
                Some((to, true)) => {
                    self.at = to;
                    return Ok(Step::Bad { from, to, head });
                }
                Some((again, false)) => at = again,
                None if read == 0 => break,
                None => at += read,
            }
        }
        self.at = self.limit;
        Ok(Step::End { written, head })
    }

    /// Up to `length` bytes at `at`: fewer only at the limit or the end of the file.
    fn bytes(&mut self, at: u64, length: usize) -> io::Result<&[u8]> {
        let length = usize::try_from(self.limit.saturating_sub(at))
            .unwrap_or(usize::MAX)
            .min(length);
        let end = at + length as u64;
        if at < self.window_at || end > self.window_at + self.window.len() as u64 {
            self.fill(at, length)?;
        }
        let start = usize::try_from(at - self.window_at).unwrap_or(usize::MAX);
        let part = self.window.get(start..).unwrap_or_default();
        Ok(&part[..part.len().min(length)])
    }

    fn fill(&mut self, at: u64, length: usize) -> io::Result<()> {
        let most = usize::try_from(self.limit.saturating_sub(at)).unwrap_or(usize::MAX);
        let wanted = length.max(READ_AHEAD).min(most);
        let mut window = std::mem::take(&mut self.window);
        // What was in it is read over; only a longer one is made anew.
        match window.len() < wanted {
            true => window = vec![0; wanted],
            false => window.truncate(wanted),
        }
        let mut done = 0;
        while done < wanted {
            match self.file.read_at(&mut window[done..], at + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if !self.tolerant => return Err(e),
                Err(_) => done += self.sector(&mut window[done..], at + done as u64),
            }
        }
        window.truncate(done);
        self.window = window;
        self.window_at = at;
        Ok(())
    }

    /// Reads what is left of one sector, as zeros if it cannot be read.
    fn sector(&self, rest: &mut [u8], at: u64) -> usize {
        let left = SECTOR - (at % SECTOR as u64) as usize;
        let part = left.min(rest.len());
        let done = read_most(self.file, &mut rest[..part], at);
        rest[done..part].fill(0);
        part
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use proptest::prelude::*;

    use super::*;
    use crate::chain::Stamp;
    use crate::frame::{FrameKind, Label, begin, finish};

    /// A file in memory.
    #[derive(Debug)]
    pub(crate) struct Memory {
        bytes: Vec<u8>,
        read: AtomicU64,
    }

    impl DiskFile for Memory {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let from = (offset as usize).min(self.bytes.len());
            let part = buffer.len().min(self.bytes.len() - from);
            buffer[..part].copy_from_slice(&self.bytes[from..from + part]);
            self.read.fetch_add(part as u64, Ordering::Relaxed);
            Ok(part)
        }
        fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
            Ok(())
        }
        fn allocate(&self, _: u64) -> io::Result<()> {
            Ok(())
        }
        fn truncate(&self, _: u64) -> io::Result<()> {
            Ok(())
        }
        fn sync(&self) -> io::Result<()> {
            Ok(())
        }
        fn size(&self) -> io::Result<u64> {
            Ok(self.bytes.len() as u64)
        }
    }

    fn memory(bytes: Vec<u8>) -> Memory {
        Memory {
            bytes,
            read: AtomicU64::new(0),
        }
    }

    fn frame(out: &mut Vec<u8>, first: u64, body: &[u8], seed: u32) {
        let mut stamp = Stamp { seed, link: None };
        let start = begin(out, &stamp);
        out.extend_from_slice(body);
        let label = Label {
            kind: FrameKind::Group,
            first,
            count: 1,
            arrival: 0,
            durable: 0,
        };
        finish(out, start, label, &mut stamp);
    }

    fn firsts(bytes: Vec<u8>, seed: u32) -> (Vec<u64>, usize, u64) {
        let file = memory(bytes);
        let mut scanner = Scanner::new(&file, seed, 0, file.bytes.len() as u64);
        let (mut found, mut bad) = (Vec::new(), 0);
        loop {
            match scanner.step().unwrap() {
                Step::Frame { head, .. } => found.push(head.first),
                Step::Bad { .. } => bad += 1,
                Step::End { written, .. } => return (found, bad, written),
            }
        }
    }

    #[test]
    fn frames_of_another_segment_are_never_believed() {
        let mut bytes = Vec::new();
        frame(&mut bytes, 1, b"mine", 7);
        let mine = bytes.len() as u64;
        frame(&mut bytes, 2, b"left over", 8);

        let (found, bad, written) = firsts(bytes, 7);

        assert_eq!((found, bad), (vec![1], 0));
        assert!(written > mine);
    }

    #[test]
    fn a_head_that_straddles_two_reads_is_found() {
        for shift in 0..12 {
            let mut bytes = vec![1; READ_AHEAD - 64 + shift * ALIGN];
            frame(&mut bytes, 5, &[9; 100], 7);

            let (found, ..) = firsts(bytes, 7);

            assert_eq!(found, [5], "shifted by {shift}");
        }
    }

    #[test]
    fn data_full_of_false_heads_is_scanned_once() {
        let mut bytes: Vec<u8> = FRAME_MAGIC
            .iter()
            .copied()
            .chain([255; 4])
            .cycle()
            .take(4 << 20)
            .collect();
        frame(&mut bytes, 5, b"end", 7);
        let file = memory(bytes);

        let mut scanner = Scanner::new(&file, 7, 0, file.bytes.len() as u64);
        let Step::Bad { to, .. } = scanner.step().unwrap() else {
            panic!("there is damage to step over");
        };

        assert_eq!(to, 4 << 20);
        assert!(file.read.load(Ordering::Relaxed) < 3 * file.bytes.len() as u64);
    }

    proptest! {
        #[test]
        fn hostile_bytes_end_without_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..2000), seed in any::<u32>(),
        ) {
            let (found, ..) = firsts(bytes, seed);
            prop_assert!(found.is_empty());
        }

        #[test]
        fn a_hostile_body_never_panics(
            body in proptest::collection::vec(any::<u8>(), 0..400), count in 0u32..20,
        ) {
            let mut bytes = Vec::new();
            let mut stamp = Stamp { seed: 7, link: None };
            let start = begin(&mut bytes, &stamp);
            bytes.extend_from_slice(&body);
            let label = Label { kind: FrameKind::Group, first: 1, count, arrival: 0, durable: 0 };
            finish(&mut bytes, start, label, &mut stamp);
            let head = FrameHead::decode(&bytes, 7).unwrap();
            prop_assert!(head.matches(&body, 7));

            if let Some(entries) = crate::record::decode_group(&head, &body) {
                prop_assert_eq!(entries.len(), count as usize);
            }
        }
    }
}
