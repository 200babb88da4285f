//! The one thread that writes: takes all groups that wait, writes them, syncs once, answers all.
//!
//! Nothing is published or answered before the sync returned. When a write or a sync fails, everybody in the batch
//! is refused, the segment is never written again (what the kernel still holds of it cannot be trusted) and the
//! next batch begins a new one with the same sequences, which makes whatever the failed batch left behind void.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use dispatch_contract::{AppendError, Appended, Committed, Entry, Page, Placed, Record, Sequence};

use crate::active::{Active, Spare, new_header, remove_quietly};
use crate::frame::{self, FRAME_HEAD, FrameKind, Label, framed};
use crate::header::Header;
use crate::identities::Identities;
use crate::lock::lock;
use crate::queue::{Item, Queue, RETRY_AFTER};
use crate::record;
use crate::segment::Place;
use crate::upkeep::{Job, Upkeep};
use crate::view::View;

/// The most bytes of groups that share a sync.
pub(crate) const BATCH_BYTES: usize = 4 << 20;
/// About the size of a page that followers get.
const PAGE_BYTES: usize = 512 * 1024;
/// Between tries to write noted groups while the disk fails.
const PAUSE: Duration = Duration::from_millis(250);

pub(crate) struct Committer {
    pub(crate) view: Arc<View>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) upkeep: Upkeep,
    pub(crate) active: Option<Active>,
    /// The next sequence.
    pub(crate) next: Sequence,
    pub(crate) identities: Identities,
    pub(crate) identity_seed: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) buffer: Vec<u8>,
    /// The disk did not take the last batch.
    pub(crate) failing: bool,
    /// Held until everything is written.
    pub(crate) lock: Option<std::fs::File>,
}

/// Where a batch goes.
enum Target {
    Active { seed: u32, room: u64 },
    Fresh { spare: Spare, header: Header, room: u64 },
}

/// Groups that are in the buffer.
struct Batch {
    target: Target,
    staged: Vec<Staged>,
    first: Sequence,
    arrival: i64,
    frames: Vec<Place>,
}

struct Staged {
    item: Item,
    placed: Vec<Placed>,
}

/// However the committer ends, nobody waits for it in vain.
pub(crate) struct Goodbye {
    view: Arc<View>,
    queue: Arc<Queue>,
}

impl Drop for Goodbye {
    fn drop(&mut self) {
        self.queue.abandon();
        self.view.close();
    }
}

impl Committer {
    /// Until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        let goodbye = self.goodbye();
        while let Some(items) = self.queue.take(BATCH_BYTES) {
            self.write(items);
        }
        self.finish();
        drop(goodbye);
    }

    /// To be dropped when the committer has ended.
    pub(crate) fn goodbye(&self) -> Goodbye {
        Goodbye {
            view: self.view.clone(),
            queue: self.queue.clone(),
        }
    }

    /// Writes and answers all of these, or refuses them.
    pub(crate) fn write(&mut self, mut items: VecDeque<Item>) {
        self.identities.forget_before(self.view.first());
        while !items.is_empty() {
            match self.commit(&mut items) {
                Ok(()) if self.failing => {
                    self.failing = false;
                    tracing::info!("the journal takes events again");
                }
                Ok(()) => {}
                Err(error) => {
                    if !self.failing {
                        self.failing = true;
                        tracing::error!(%error, dir = %self.view.dir.display(), "the journal cannot write");
                    }
                    self.view.meters.failed.increment(1);
                    self.refuse(&mut items, &error);
                }
            }
        }
    }

    /// Writes as many of the groups as share one sync. On an error those not answered are in `items` again.
    fn commit(&mut self, items: &mut VecDeque<Item>) -> io::Result<()> {
        let batch = self.stage(items)?;
        if batch.frames.is_empty() {
            if let Target::Fresh { spare, .. } = batch.target {
                self.upkeep.return_spare(spare);
            }
            self.answer(batch.staged);
            return Ok(());
        }
        let Batch {
            target,
            staged,
            first,
            arrival,
            frames,
        } = batch;
        let started = self.view.clock.elapsed();
        if let Err(error) = self.store(target, &frames) {
            self.identities.retract(first);
            for staged in staged.into_iter().rev() {
                items.push_front(staged.item);
            }
            return Err(error);
        }
        let took = self.view.clock.elapsed().saturating_sub(started);
        self.view.meters.fsync.record(took.as_secs_f64());
        self.view.meters.batch.record(staged.len() as f64);
        self.next = self.publish(&staged, first, arrival);
        self.answer(staged);
        self.prepare_next();
        Ok(())
    }

    /// Encodes groups into the buffer until there are no more or no more fit.
    fn stage(&mut self, items: &mut VecDeque<Item>) -> io::Result<Batch> {
        self.buffer.clear();
        self.buffer.shrink_to(2 * BATCH_BYTES);
        let needed = items.front().map_or(0, |i| framed(i.bytes));
        let target = self.target(needed)?;
        let (seed, mut room, base) = match &target {
            Target::Active { seed, room } => (*seed, *room, self.active.as_ref().map_or(0, |a| a.end)),
            Target::Fresh { header, room, .. } => (header.checksum_seed(), *room, 0),
        };
        let mut batch = Batch {
            target,
            staged: Vec::with_capacity(items.len()),
            first: self.next,
            arrival: self.view.clock.wall(),
            frames: Vec::with_capacity(items.len()),
        };
        let mut next = self.next;
        while let Some(item) = items.pop_front_if(|i| framed(i.bytes) <= room) {
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
    fn target(&mut self, needed: u64) -> io::Result<Target> {
        if let Some(active) = &self.active
            && active.room() >= needed
        {
            return Ok(Target::Active {
                seed: active.segment.header.checksum_seed(),
                room: active.room(),
            });
        }
        let previous = self.active.as_ref().map_or(0, |a| a.segment.header.first);
        let header = new_header(&*self.view.clock, self.next, previous, self.identity_seed);
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
        let spare = match self.upkeep.take_spare() {
            Some(spare) if spare.room(snapshot) >= needed => spare,
            unfit => {
                if let Some(spare) = unfit {
                    remove_quietly(&*self.view.disk, &spare.path);
                }
                let needed = self.buffer.len() as u64 + needed + 2 * FRAME_HEAD as u64;
                let view = &self.view;
                let number = view.number_spare();
                Spare::prepare(&*view.disk, &view.dir, number, self.segment_bytes, needed)?
            }
        };
        let room = spare.room(snapshot);
        Ok(Target::Fresh { spare, header, room })
    }

    /// Writes the buffer and makes it durable.
    fn store(&mut self, target: Target, frames: &[Place]) -> io::Result<()> {
        let length = self.buffer.len() as u64;
        match target {
            Target::Active { .. } => {
                let Some(active) = &mut self.active else {
                    return Err(io::Error::other("no segment is open"));
                };
                let written = active
                    .file
                    .write_at(&self.buffer, active.end)
                    .and_then(|()| active.file.sync());
                if let Err(error) = written {
                    active.failed = true;
                    return Err(error);
                }
                active.end += length;
                active.segment.set_end(active.end);
            }
            Target::Fresh { spare, header, .. } => {
                let written = spare
                    .file
                    .write_at(&self.buffer, 0)
                    .and_then(|()| spare.file.sync());
                if let Err(error) = written {
                    remove_quietly(&*self.view.disk, &spare.path);
                    return Err(error);
                }
                let fresh = spare.adopt(&*self.view.disk, &self.view.dir, header, length)?;
                self.view.add_segment(fresh.segment.clone());
                if let Some(sealed) = self.active.replace(fresh) {
                    self.upkeep.ask(Job::Seal {
                        identities: self.identities.range(sealed.segment.header.first, header.first),
                        segment: sealed.segment,
                        file: sealed.file,
                    });
                }
            }
        }
        if let Some(active) = &self.active {
            for place in frames {
                active.segment.note_place(*place);
            }
        }
        Ok(())
    }

    /// Lets everybody see the batch; returns the next sequence.
    fn publish(&mut self, staged: &[Staged], first: Sequence, arrival: i64) -> Sequence {
        let mut next = first;
        let mut pages = Vec::new();
        let mut page = Page::default();
        let (mut page_first, mut bytes) = (first, 0);
        let mut ledger = lock(&self.view.ledger);
        for Staged { item, placed } in staged {
            for record in records(item, placed, arrival) {
                ledger.apply(&record);
                page.entries.push(Entry {
                    sequence: next,
                    record,
                });
                next += 1;
            }
            bytes += item.bytes + size_of::<Entry>() * placed.len().max(1);
            if bytes >= PAGE_BYTES && next > page_first {
                page.next = next;
                pages.push((page_first, bytes, Arc::new(std::mem::take(&mut page))));
                (page_first, bytes) = (next, 0);
            }
        }
        drop(ledger);
        if next > page_first {
            page.next = next;
            pages.push((page_first, bytes, Arc::new(page)));
        }
        self.view.publish(next - 1, pages);
        next
    }

    fn answer(&self, staged: Vec<Staged>) {
        let bytes = staged.iter().map(|s| s.item.bytes).sum();
        self.queue.release(staged.len(), bytes);
        for Staged { item, placed } in staged {
            if let Some(reply) = item.reply {
                // Whoever asked may have gone; the group is durable all the same.
                drop(reply.send(Ok(Appended { placed })));
            }
        }
    }

    /// The disk did not take these. Noted groups are kept and tried again: what they say happened.
    fn refuse(&mut self, items: &mut VecDeque<Item>, error: &io::Error) {
        let closing = self.queue.is_closed();
        let mut kept = Vec::new();
        let (mut groups, mut bytes) = (0, 0);
        for item in items.drain(..) {
            if item.reply.is_none() && !closing {
                kept.push(item);
                continue;
            }
            groups += 1;
            bytes += item.bytes;
            match item.reply {
                Some(reply) => drop(reply.send(Err(AppendError::Unavailable {
                    reason: reason(error),
                    retry_after: RETRY_AFTER,
                }))),
                None => {
                    tracing::error!("a settlement could not be written before the end and will be repeated")
                }
            }
        }
        self.queue.release(groups, bytes);
        if !kept.is_empty() {
            self.queue.put_back(kept, PAUSE);
        }
    }

    /// Asks for the next file when the active one is half full.
    fn prepare_next(&mut self) {
        if let Some(active) = &self.active
            && active.end > active.capacity / 2
        {
            self.upkeep.prepare();
        }
    }

    /// Marks the end, gives back free space and stops the upkeep.
    pub(crate) fn finish(self) {
        if let Some(active) = self.active.filter(|a| !a.failed) {
            let mark = frame::mark(
                self.next,
                self.view.clock.wall(),
                active.segment.header.checksum_seed(),
            );
            let done = active
                .file
                .write_at(&mark, active.end)
                .and_then(|()| active.file.truncate(active.end + mark.len() as u64))
                .and_then(|()| active.file.sync());
            if let Err(error) = done {
                tracing::warn!(%error, "cannot mark the end of the journal; the next opening takes a little longer");
            }
        }
        self.upkeep.stop();
        drop(self.lock);
    }
}

/// The records of a group that were written, in their order.
fn records<'a>(item: &'a Item, placed: &'a [Placed], arrival: i64) -> impl Iterator<Item = Record> + 'a {
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

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "the disk is full".to_owned(),
        _ => format!("the disk failed: {error}"),
    }
}
