//! Groups that share a sync: which segment they go to, and their frames, one after another in one buffer.

use std::collections::VecDeque;
use std::io;

use dispatch_contract::{Committed, Placed, Record, Sequence};

use crate::active::{MARGIN, Spare, is_full, new_header, remove_quietly};
use crate::chain::{LINK, Link, Stamp};
use crate::committer::{BATCH_BYTES, Committer};
use crate::frame::{self, FrameKind, Label, framed};
use crate::header::Header;
use crate::lock::lock;
use crate::queue::Item;
use crate::record;
use crate::segment::Place;

/// Where a batch goes.
pub(crate) enum Target {
    Active {
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
    /// For the frame behind the batch.
    pub(crate) stamp: Stamp,
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
        let overhead = self.active.as_ref().map_or(0, |a| a.stamp.overhead());
        let overhead = overhead.max(if self.chain { LINK } else { 0 });
        let needed = items.front().map_or(0, |i| framed(i.bytes + overhead));
        let may_use_reserve = items.front().is_none_or(Item::may_use_reserve);
        let (target, stamp) = self.target(needed, may_use_reserve)?;
        let (mut room, base) = match &target {
            Target::Active { room } => (*room, self.active.as_ref().map_or(0, |a| a.end)),
            Target::Fresh { room, .. } => (*room, 0),
        };
        let reserved = match &target {
            Target::Active { .. } => self.active.as_ref().is_some_and(|a| a.reserved),
            Target::Fresh { reserved, .. } => *reserved,
        };
        let size = |item: &Item| framed(item.bytes + overhead);
        let fits = |item: &Item, room| size(item) <= room && (!reserved || item.may_use_reserve());
        let mut batch = Batch {
            target,
            staged: Vec::with_capacity(items.len()),
            first: self.next,
            arrival: self.view.clock.wall(),
            frames: Vec::with_capacity(items.len()),
            stamp,
        };
        let mut next = self.next;
        while let Some(item) = items.pop_front_if(|i| fits(i, room)) {
            room -= size(&item);
            let start = self.buffer.len();
            let label = Label {
                kind: FrameKind::Group,
                first: next,
                count: 0,
                arrival: batch.arrival,
                durable: self.next - 1,
            };
            let placed = self.encode(&item, label, &mut batch.stamp);
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
    fn encode(&mut self, item: &Item, label: Label, stamp: &mut Stamp) -> (Vec<Placed>, Option<u32>) {
        let out = &mut self.buffer;
        let start = frame::begin(out, stamp);
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
        frame::finish(out, start, Label { count, ..label }, stamp);
        (placed, Some(count))
    }

    /// The active segment if `needed` bytes fit, else a new one whose head and snapshot are put into the buffer.
    fn target(&mut self, needed: u64, may_use_reserve: bool) -> io::Result<(Target, Stamp)> {
        if let Some(active) = &self.active
            && active.room() >= needed
            && (may_use_reserve || !active.reserved)
        {
            return Ok((Target::Active { room: active.room() }, active.stamp));
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
            self.chain,
        );
        let before = self.active.as_ref().and_then(|a| a.stamp.link);
        let mut stamp = Stamp {
            seed: header.checksum_seed(),
            link: self.chain.then(|| before.unwrap_or(Link::START)),
        };
        self.buffer.extend_from_slice(&header.encode());
        let start = frame::begin(&mut self.buffer, &stamp);
        lock(&self.view.ledger).encode(&mut self.buffer);
        let label = Label {
            kind: FrameKind::Snapshot,
            first: self.next,
            count: 0,
            arrival: header.created,
            durable: self.next - 1,
        };
        frame::finish(&mut self.buffer, start, label, &mut stamp);
        let snapshot = (self.buffer.len() - start) as u64;
        let (spare, reserved) = self.spare(snapshot, needed, may_use_reserve)?;
        let target = Target::Fresh {
            room: spare.room(snapshot),
            spare,
            header,
            reserved,
        };
        Ok((target, stamp))
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
        let whole = self.buffer.len() as u64 + needed + 2 * MARGIN;
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
    let through = group.through.iter().cloned().map(Record::Through);
    let checkpoint = group.checkpoint.iter().cloned().map(Record::Checkpoint);
    events.chain(settlements).chain(through).chain(checkpoint)
}
