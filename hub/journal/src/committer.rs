//! The one thread that writes: takes all groups that wait, writes them, syncs once, answers all.
//!
//! Nothing is published or answered before the sync returned. When a write or a sync fails, everybody in the batch
//! is refused, the segment is never written again (what the kernel still holds of it cannot be trusted) and the
//! next batch begins a new one with the same sequences, which makes whatever the failed batch left behind void.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use dispatch_contract::{AppendError, Appended, Entry, Page, Sequence};

use crate::active::{Active, is_full, remove_quietly};
use crate::batch::{Batch, Staged, Target, records};
use crate::chain::Stamp;
use crate::frame;
use crate::held::Held;
use crate::identities::Identities;
use crate::lock::lock;
use crate::queue::{Item, Queue, RETRY_AFTER};
use crate::segment::Place;
use crate::upkeep::{Job, Upkeep};
use crate::view::View;

/// The most bytes of groups that share a sync.
pub(crate) const BATCH_BYTES: usize = 4 << 20;
/// About the size of a page that followers get.
const PAGE_BYTES: usize = 512 * 1024;
/// So many groups in one batch, and the next one lets those who work on requests go first.
const BUSY: usize = 4;
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
    pub(crate) chain: bool,
    pub(crate) reserve_bytes: u64,
    pub(crate) buffer: Vec<u8>,
    /// The disk did not take the last batch.
    pub(crate) failing: bool,
    /// Held until everything is written.
    pub(crate) lock: Option<std::fs::File>,
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
        let mut busy = false;
        while let Some(items) = self.queue.take(BATCH_BYTES, busy) {
            busy = items.len() >= BUSY;
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
                    self.queue.set_failing(false);
                    tracing::info!("the journal takes events again");
                }
                Ok(()) => {}
                Err(error) => {
                    if !self.failing {
                        self.failing = true;
                        self.queue.set_failing(true);
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
            if let Target::Fresh { spare, reserved, .. } = batch.target {
                self.upkeep.put_back(spare, reserved);
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
            stamp,
        } = batch;
        let started = self.view.clock.elapsed();
        if let Err(error) = self.store(target, stamp, &frames) {
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

    /// Writes the buffer and makes it durable.
    fn store(&mut self, target: Target, stamp: Stamp, frames: &[Place]) -> io::Result<()> {
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
                active.stamp = stamp;
                active.end += length;
                active.segment.set_end(active.end);
            }
            Target::Fresh {
                spare,
                header,
                reserved,
                ..
            } => {
                let written = spare
                    .file
                    .write_at(&self.buffer, 0)
                    .and_then(|()| spare.file.sync());
                if let Err(error) = written {
                    remove_quietly(&*self.view.disk, &spare.path);
                    return Err(error);
                }
                // The folder may have the new name all the same, and then the old segment has ended: whatever comes
                // next begins a segment of that name again.
                let adopted = spare.adopt(&*self.view.disk, &self.view.dir, header, stamp, length);
                if let (Err(_), Some(active)) = (&adopted, &mut self.active) {
                    active.failed = true;
                }
                let mut fresh = adopted?;
                fresh.reserved = reserved;
                self.view.add_segment(fresh.segment.clone());
                if let Some(sealed) = self.active.replace(fresh)
                    && sealed.segment.header.first < header.first
                {
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
        let mut held = Held::default();
        let mut ledger = lock(&self.view.ledger);
        for Staged { item, placed } in staged {
            for record in records(item, placed, arrival) {
                ledger.apply(&record);
                held.count(&record);
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
        if let Some(active) = &self.active {
            self.view.hold(&active.segment, &held);
        }
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

    /// The disk did not take these. Who waits is told; noted groups are kept and tried again, because what they say
    /// happened: at once if only the space for events is used up.
    fn refuse(&mut self, items: &mut VecDeque<Item>, error: &io::Error) {
        let (refused, kept): (VecDeque<_>, _) = items.drain(..).partition(|item| item.reply.is_some());
        let again = is_full(error) && !refused.is_empty();
        self.queue
            .release(refused.len(), refused.iter().map(|i| i.bytes).sum());
        for item in refused {
            if let Some(reply) = item.reply {
                drop(reply.send(Err(AppendError::Unavailable {
                    reason: reason(error),
                    retry_after: RETRY_AFTER,
                })));
            }
        }
        if again {
            *items = kept;
        } else if self.queue.is_closed() {
            self.queue.release(kept.len(), kept.iter().map(|i| i.bytes).sum());
            for _ in kept {
                tracing::error!("a settlement could not be written before the end and will be repeated");
            }
        } else if !kept.is_empty() {
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
        if let Some(mut active) = self.active.filter(|a| !a.failed) {
            let mark = frame::mark(self.next, self.view.own_time(), &mut active.stamp);
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

fn reason(error: &io::Error) -> String {
    match is_full(error) {
        true => "the disk is full".to_owned(),
        false => format!("the disk failed: {error}"),
    }
}
