//! Opening the last segment: replays it, cuts what is unfinished, fills the holes of the last batch and makes the rest
//! durable before it is believed.

use std::io;
use std::sync::Arc;

use dispatch_contract::Sequence;

use crate::active::Active;
use crate::aging::OwnTime;
use crate::chain::{Link, Stamp};
use crate::damage::{Damage, DamageKind, Torn};
use crate::disk::DiskFile;
use crate::frame::{self, ALIGN, FRAME_HEAD, FrameKind};
use crate::header::HEADER_BLOCK;
use crate::held::Held;
use crate::options::Options;
use crate::patience::read_most;
use crate::recover::{Recover, identity, place, records, walk_whole};
use crate::scan::{Scanner, Step};
use crate::segment::Segment;
use crate::walk::Item;

/// Something that cannot be read, with frames behind it.
struct Hole {
    damage: Damage,
    /// Where the frame before it is.
    behind: u64,
}

impl Recover<'_> {
    /// For the frame behind this one.
    fn stamp(&self, segment: &Segment, last_frame: u64) -> io::Result<Stamp> {
        let seed = segment.header.checksum_seed();
        if !segment.header.chained {
            return Ok(Stamp { seed, link: None });
        }
        let file = self.disk.open(&segment.path, false)?;
        let mut scanner = Scanner::new(&*file, seed, last_frame, segment.end());
        let link = match scanner.step()? {
            Step::Frame { head, body, .. } => head.hash(body),
            // Not one frame of it can be read: the chain begins again.
            Step::Bad { .. } | Step::End { .. } => Link::START,
        };
        Ok(Stamp {
            seed,
            link: Some(link),
        })
    }

    /// Fills the holes of the last batch, durably, before any mark says that everything before it is: they would be
    /// taken for damage of acknowledged records ever after. A crash on the way leaves a hole, to be filled again.
    fn fill(&self, segment: &Segment, file: &dyn DiskFile, holes: &[Hole]) -> io::Result<()> {
        let mut filled = false;
        for Hole { damage, behind } in holes {
            let Some(missing) = damage
                .missing
                .as_ref()
                .filter(|_| damage.kind == DamageKind::LastBatch)
            else {
                continue;
            };
            let mut stamp = self.stamp(segment, *behind)?;
            let length = usize::try_from(damage.bytes).unwrap_or(0);
            if length < FRAME_HEAD + stamp.overhead() || !length.is_multiple_of(ALIGN) {
                continue;
            }
            let count = u32::try_from(damage.records()).unwrap_or(u32::MAX);
            let now = self.own_time.now(self.clock);
            let filler = frame::filler(*missing.start(), count, length, now, &mut stamp);
            file.write_at(&filler, damage.offset)?;
            filled = true;
        }
        if filled { file.sync() } else { Ok(()) }
    }

    /// Replays the last segment, cuts what is unfinished and makes the rest durable.
    pub(crate) fn open_last(
        &mut self,
        segment: &Arc<Segment>,
        options: &Options,
    ) -> io::Result<(Active, Option<Torn>, Sequence)> {
        let file = self.disk.open(&segment.path, true)?;
        let mut damage = Vec::new();
        let mut holes: Vec<Hole> = Vec::new();
        // Where the frames begin that no other frame says were durable.
        let mut doubtful: Option<(Sequence, u64)> = None;
        let mut marked = false;
        let mut last_known = segment.header.created;
        let mut last_frame = HEADER_BLOCK as u64;
        let mut held = Held::default();
        let seed = self.identity_seed;
        let walked = walk_whole(self.disk, segment, None, &mut |item| match item {
            Item::Damage(damage) => holes.push(Hole {
                damage,
                behind: last_frame,
            }),
            Item::Frame(frame) => {
                segment.note_place(place(&frame));
                last_frame = frame.at;
                marked = frame.head.kind == FrameKind::Mark;
                if marked {
                    last_known = last_known.max(frame.head.arrival);
                }
                if doubtful.is_none_or(|(durable, _)| frame.head.durable > durable) {
                    doubtful = Some((frame.head.durable, frame.at));
                }
                for (sequence, record) in records(segment, &frame, &mut damage) {
                    self.ledger.apply(&record);
                    held.count(&record);
                    if let Some(identity) = identity(seed, &record) {
                        self.remember(identity, sequence);
                    }
                }
            }
        })?;
        let last_batch = |found: &Damage| {
            found
                .missing
                .as_ref()
                .is_some_and(|m| *m.start() > walked.durable)
        };
        let found = holes.iter_mut().map(|hole| &mut hole.damage);
        for found in found.chain(&mut damage).filter(|found| last_batch(found)) {
            found.kind = DamageKind::LastBatch;
        }
        self.damage.extend(holes.iter().map(|hole| hole.damage.clone()));
        self.damage.append(&mut damage);
        segment.set_loaded();
        segment.hold(&held);

        self.own_time = OwnTime::from(self.clock, Some(last_known));
        let torn = (walked.written > walked.end).then(|| Torn {
            segment: segment.path.clone(),
            offset: walked.end,
            bytes: walked.written - walked.end,
            records: walked.unfinished.clone(),
        });
        let mut active = Active {
            segment: segment.clone(),
            end: walked.end,
            capacity: walked.end,
            stamp: self.stamp(segment, last_frame)?,
            file,
            failed: false,
            reserved: false,
        };
        let before = active.file.size()?;
        active.file.truncate(walked.end)?;
        self.fill(segment, &*active.file, &holes)?;
        if let Some((_, from)) = doubtful {
            write_again(&active, from)?;
        }
        // On a full disk at least what it had. Without, the next append looks for space in a new segment.
        for wanted in [options.segment_bytes, before] {
            if wanted <= active.capacity {
                continue;
            }
            match active.file.allocate(wanted) {
                Ok(()) => active.capacity = wanted,
                Err(error) => {
                    tracing::warn!(path = %segment.path.display(), %error, "cannot reserve space for the journal");
                    active.file.truncate(walked.end)?;
                }
            }
        }
        if !marked && active.room() > 0 {
            let now = self.own_time.now(self.clock);
            let mark = frame::mark(walked.next, now, &mut active.stamp);
            active.file.write_at(&mark, active.end)?;
            active.end += mark.len() as u64;
        }
        active.file.sync()?;
        segment.set_end(active.end);
        active.failed = segment.header.chained != options.chain;
        Ok((active, torn, walked.next))
    }
}

/// Writes the bytes from `from` to the end once more, so that the next sync covers them: a failed sync of the process
/// before this one may have left them in memory only.
fn write_again(active: &Active, from: u64) -> io::Result<()> {
    let mut sector = [0u8; 4096];
    let mut at = from;
    while at < active.end {
        let next = (at + 1).next_multiple_of(sector.len() as u64).min(active.end);
        let part = &mut sector[..(next - at) as usize];
        // A sector that cannot be read is damage and was named as such.
        let read = read_most(&*active.file, part, at);
        active.file.write_at(&part[..read], at)?;
        at = next;
    }
    Ok(())
}
