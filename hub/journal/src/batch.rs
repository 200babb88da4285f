//! Groups that share a sync: which segment they go to, and their frames, one after another in one buffer.

use std::collections::VecDeque;
use std::io;

use dispatch_contract::{Committed, Placed, Record, Sequence};

use crate::active::{Spare, is_full, new_header, remove_quietly};
use crate::committer::{BATCH_BYTES, Committer};
use crate::frame::{self, FRAME_HEAD, FrameKind, Label, framed};
use crate::header::Header;
use crate::lock::lock;
use crate::queue::Item;
use crate::record;
use crate::segment::Place;

/// Where a batch goes.
pub(crate) enum Target {
    Active {
        seed: u32,
        room: u64,
    },
    Fresh {
        spare: Spare,
        header: Header,
        room: u64,
        /// The spare is what is kept free for settlements.
        reserved: bool,
    },
}

/// Groups that are in the buffer.
pub(crate) struct Batch {
    pub(crate) target: Target,
    pub(crate) staged: Vec<Staged>,
    pub(crate) first: Sequence,
    pub(crate) arrival: i64,
    pub(crate) frames: Vec<Place>,
}

pub(crate) struct Staged {
    pub(crate) item: Item,
    pub(crate) placed: Vec<Placed>,
}

impl Committer {
    /// Encodes groups into the buffer until there are no more or no more fit.
    pub(crate) fn stage(&mut self, items: &mut VecDeque<Item>) -> io::Result<Batch> {
        self.buffer.clear();
        self.buffer.shrink_to(2 * BATCH_BYTES);
        let needed = items.front().map_or(0, |i| framed(i.bytes));
        let may_use_reserve = items.front().is_none_or(Item::may_use_reserve);
        let target = self.target(needed, may_use_reserve)?;
        let (seed, mut room, base) = match &target {
            Target::Active { seed, room } => (*seed, *room, self.active.as_ref().map_or(0, |a| a.end)),
            Target::Fresh { header, room, .. } => (header.checksum_seed(), *room, 0),
        };
        let reserved = match &target {
            Target::Active { .. } => self.active.as_ref().is_some_and(|a| a.reserved),
            Target::Fresh { reserved, .. } => *reserved,
        };
        let fits = |item: &Item, room| framed(item.bytes) <= room && (!reserved || item.may_use_reserve());
        let mut batch = Batch {
            target,
            staged: Vec::with_capacity(items.len()),
            first: self.next,
            arrival: self.view.clock.wall(),
            frames: Vec::with_capacity(items.len()),
        };
        let mut next = self.next;
        while let Some(item) = items.pop_front_if(|i| fits(i, room)) {
            room -= framed(item.bytes);
            let start = self.buffer.len();
            let label = Label {
                kind: FrameKind::Group,
                first: next,
                count: 0,
                arrival: batch.arrival,
                durable: self.next - 1,
            };
            let placed = self.encode(&item, label, seed);
            if let Some(written) = placed.1 {
                batch.frames.push(Place {
                    sequence: next,
                    offset: base + start as u64,
                });
                next += u64::from(written);
            }
            batch.staged.push(Staged {
                item,
                placed: placed.0,
            });
        }
        Ok(batch)
    }

    /// Writes a group's frame, without the events that are known. Says where each event is and how many records
    /// were written, if any.
    fn encode(&mut self, item: &Item, label: Label, seed: u32) -> (Vec<Placed>, Option<u32>) {
        let out = &mut self.buffer;
        let start = frame::begin(out);
        let mut next = label.first;
        let mut placed = Vec::with_capacity(item.group.events.len());
        for (event, identity) in item.group.events.iter().zip(&item.identities) {
            if let Some(identity) = *identity {
                if let Some(known) = self.identities.get(identity) {
                    placed.push(Placed::Duplicate(known));
                    continue;
                }
                self.identities.insert(identity, next);
            }
            record::put_event(out, event);
            placed.push(Placed::New(next));
            next += 1;
        }
        for settlement in &item.group.settlements {
            record::put_settlement(out, settlement);
            next += 1;
        }
        for through in &item.group.through {
            record::put_through(out, through);
            next += 1;
        }
        if let Some(checkpoint) = &item.group.checkpoint {
            record::put_checkpoint(out, checkpoint);
            next += 1;
        }
        if next == label.first {
            out.truncate(start);
            return (placed, None);
        }
        let count = (next - label.first) as u32;
        frame::finish(out, start, Label { count, ..label }, seed);
        (placed, Some(count))
    }

    /// The active segment if `needed` bytes fit, else a new one whose head and snapshot are put into the buffer.
    fn target(&mut self, needed: u64, may_use_reserve: bool) -> io::Result<Target> {
        if let Some(active) = &self.active
            && active.room() >= needed
            && (may_use_reserve || !active.reserved)
        {
            return Ok(Target::Active {
                seed: active.segment.header.checksum_seed(),
                room: active.room(),
            });
        }
        let previous = self.active.as_ref().map_or(0, |active| {
            let header = &active.segment.header;
            // A segment without a record is replaced.
            if header.first < self.next {
                header.first
            } else {
                header.previous
            }
        });
        let header = new_header(
            &*self.view.clock,
            self.view.own_time(),
            self.next,
            previous,
            self.identity_seed,
        );
        self.buffer.extend_from_slice(&header.encode());
        let start = frame::begin(&mut self.buffer);
        lock(&self.view.ledger).encode(&mut self.buffer);
        let label = Label {
            kind: FrameKind::Snapshot,
            first: self.next,
            count: 0,
            arrival: header.created,
            durable: self.next - 1,
        };
        frame::finish(&mut self.buffer, start, label, header.checksum_seed());
        let snapshot = (self.buffer.len() - start) as u64;
        let (spare, reserved) = self.spare(snapshot, needed, may_use_reserve)?;
        Ok(Target::Fresh {
            room: spare.room(snapshot),
            spare,
            header,
            reserved,
        })
    }

    /// A file for a new segment. With `may_use_reserve` it may be the one that is kept free (then true); without, it
    /// is none before that one is there.
    fn spare(&mut self, snapshot: u64, needed: u64, may_use_reserve: bool) -> io::Result<(Spare, bool)> {
        if !may_use_reserve {
            self.upkeep.ensure_reserve(&self.view, self.reserve_bytes)?;
        }
        if let Some(spare) = self.upkeep.take_spare() {
            if spare.room(snapshot) >= needed {
                return Ok((spare, false));
            }
            remove_quietly(&*self.view.disk, &spare.path);
        }
        let whole = self.buffer.len() as u64 + needed + 2 * FRAME_HEAD as u64;
        let view = &self.view;
        let number = view.number_spare();
        match Spare::prepare(&*view.disk, &view.dir, number, self.segment_bytes, whole) {
            Ok(spare) => Ok((spare, false)),
            Err(error) if may_use_reserve && is_full(&error) => {
                match self.upkeep.take_reserve(|spare| spare.room(snapshot) >= needed) {
                    Some(reserve) => Ok((reserve, true)),
                    None => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }
}

/// The records of a group that were written, in their order.
pub(crate) fn records<'a>(
    item: &'a Item,
    placed: &'a [Placed],
    arrival: i64,
) -> impl Iterator<Item = Record> + 'a {
    let group = &item.group;
    let new = group.events.iter().zip(placed);
    let new = new.filter(|(_, placed)| matches!(placed, Placed::New(_)));
    let events = new.map(move |(new, _)| {
        Record::Event(Committed {
            organization: new.organization.clone(),
            target: new.target,
            arrival,
            event: new.event.clone(),
        })
    });
    let settlements = group.settlements.iter().cloned().map(Record::Settlement);
    let through = group.through.iter().copied().map(Record::Through);
    let checkpoint = group.checkpoint.iter().cloned().map(Record::Checkpoint);
    events.chain(settlements).chain(through).chain(checkpoint)
}
