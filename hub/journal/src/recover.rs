//! Opening: finds the end of the log, repairs a torn tail, sums up what is settled, and names all damage it met.
//!
//! Only the last segment is read whole; its snapshot stands for all before it. What the last batch before a crash
//! left is written again and synced before it is believed: until then nobody knows whether the disk has it.

use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use dispatch_contract::{Progress, Record, Sequence, SubscriptionId};

use crate::active::{Active, Spare, remove_quietly};
use crate::aging::OwnTime;
use crate::clock::Clock;
use crate::damage::{Damage, Torn};
use crate::disk::Disk;
use crate::error::OpenError;
use crate::folder::Inventory;
use crate::frame::{FrameHead, FrameKind};
use crate::header::HEADER_BLOCK;
use crate::held::Held;
use crate::identities::{Identities, Identity, identity_of};
use crate::index::Index;
use crate::kept;
use crate::ledger::Ledger;
use crate::options::Options;
use crate::reading::undecodable;
use crate::record::decode_group;
use crate::scan::{Scanner, Step};
use crate::segment::{LOST, Place, Segment};
use crate::walk::{Frame, Item, Walked, Way, walk};

/// What opening found.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    /// What each subscription has behind it. Deleted ones may still be there: call
    /// [`forget`](crate::Journal::forget) for them.
    pub progress: HashMap<SubscriptionId, Progress>,
    /// The last durable sequence; 0 when there is none.
    pub head: Sequence,
    /// The oldest sequence that is kept.
    pub first: Sequence,
    /// Damage that opening came across. It does not read old segments; `verify` does.
    pub damage: Vec<Damage>,
    /// The unfinished end that was cut, if there was one.
    pub torn: Option<Torn>,
    /// How long that was.
    pub truncated_bytes: u64,
}

/// Everything the journal starts with.
pub(crate) struct Recovery {
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) active: Option<Active>,
    pub(crate) own_time: OwnTime,
    pub(crate) ledger: Ledger,
    pub(crate) identities: Identities,
    pub(crate) identity_seed: u64,
    /// Kept free for settlements.
    pub(crate) reserve: Option<Spare>,
    pub(crate) report: Recovered,
}

/// Brings the folder into order.
pub(crate) fn recover(
    disk: &dyn Disk,
    clock: &dyn Clock,
    dir: &Path,
    options: &Options,
) -> Result<Recovery, OpenError> {
    let inventory = Inventory::take(disk, dir)?;
    if !inventory.segments.is_empty() {
        // The process before this one may have given a segment its name and failed to make that durable.
        disk.sync_dir(dir).map_err(|e| OpenError::of(dir, e))?;
    }
    let recover = Recover {
        disk,
        clock,
        identity_seed: inventory
            .segments
            .last()
            .map_or_else(|| clock.salt(), |s| s.header.seed),
        own_time: OwnTime::from(clock, inventory.segments.last().map(|s| s.header.created)),
        ledger: Ledger::default(),
        identities: Identities::new(options.dedup_window),
        damage: Vec::new(),
    };
    recover
        .run(dir, inventory, options)
        .map_err(|e| OpenError::of(dir, e))
}

pub(crate) struct Recover<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) identity_seed: u64,
    pub(crate) own_time: OwnTime,
    pub(crate) ledger: Ledger,
    pub(crate) identities: Identities,
    pub(crate) damage: Vec<Damage>,
}

impl Recover<'_> {
    fn run(mut self, dir: &Path, inventory: Inventory, options: &Options) -> io::Result<Recovery> {
        for draft in &inventory.drafts {
            remove_quietly(self.disk, draft);
        }
        let reserve = self.reserve(dir, options.reserve_bytes);
        match inventory.kept {
            Some(_) => self.damage.extend(inventory.missing_head()),
            None => {
                let first = inventory.segments.first().map_or(1, |s| s.header.first);
                kept::save(self.disk, dir, first)
                    .unwrap_or_else(|error| tracing::warn!(%error, "cannot say where the journal begins"));
            }
        }
        self.damage.extend(inventory.lost_damage());
        self.damage.extend(inventory.worn.iter().cloned());
        for lost in &inventory.lost {
            self.disk.rename(&lost.path, &lost.path.with_extension(LOST))?;
        }
        let beyond_lost = inventory.lost.iter().map(|l| l.bound()).max().unwrap_or(1);
        let mut report = Recovered {
            first: 1,
            ..Recovered::default()
        };
        let mut active = None;
        let mut next = inventory.kept.unwrap_or(1).max(1);
        report.first = next;
        if let Some(last) = inventory.segments.len().checked_sub(1) {
            let start = self.newest_snapshot(&inventory.segments)?;
            self.known_identities(&inventory)?;
            for n in (0..start).filter(|n| inventory.gap_before(n + 1)) {
                self.look_over(&inventory, n)?;
            }
            for n in start..last {
                self.replay(&inventory, n)?;
            }
            let (opened, torn, end) = self.open_last(&inventory.segments[last], options)?;
            report.first = inventory.segments[0].header.first;
            report.truncated_bytes = torn.as_ref().map_or(0, |t| t.bytes);
            report.torn = torn;
            (active, next) = (Some(opened), end);
        }
        if let Some(lost_last) = inventory.lost.last()
            && lost_last.first >= next
        {
            // Sequences of the lost file are not used again.
            next = next.max(beyond_lost);
            if let Some(active) = &mut active {
                active.failed = true;
            }
        }
        report.head = next - 1;
        report.progress = self.ledger.progress().clone();
        // A segment may have been looked at twice.
        for damage in self.damage {
            if !report.damage.contains(&damage) {
                report.damage.push(damage);
            }
        }
        Ok(Recovery {
            segments: inventory.segments,
            active,
            own_time: self.own_time,
            ledger: self.ledger,
            identities: self.identities,
            identity_seed: self.identity_seed,
            reserve,
            report,
        })
    }

    /// Before anything else takes the space.
    fn reserve(&self, dir: &Path, bytes: u64) -> Option<Spare> {
        if bytes == 0 {
            return None;
        }
        Spare::reserve(self.disk, dir, 0, bytes)
            .inspect_err(|error| tracing::warn!(%error, "cannot keep space free for settlements"))
            .ok()
    }

    /// The newest segment whose snapshot can be read; loads it.
    fn newest_snapshot(&mut self, segments: &[Arc<Segment>]) -> io::Result<usize> {
        for (n, segment) in segments.iter().enumerate().rev() {
            let file = self.disk.open(&segment.path, false)?;
            let seed = segment.header.checksum_seed();
            let mut scanner = Scanner::new(&*file, seed, HEADER_BLOCK as u64, segment.end()).tolerant(true);
            if let Step::Frame { head, body, .. } = scanner.step()?
                && head.kind == FrameKind::Snapshot
                && let Some(ledger) = Ledger::decode(Frame::new(0, head, body, segment.header.chained).body)
            {
                self.ledger = ledger;
                return Ok(n);
            }
        }
        if segments.first().is_some_and(|s| s.header.first > 1) {
            tracing::error!("no snapshot in the journal can be read: deliveries may be repeated");
        }
        Ok(0)
    }

    /// Replays a segment between the newest snapshot and the last segment.
    fn replay(&mut self, inventory: &Inventory, n: usize) -> io::Result<()> {
        let segment = &inventory.segments[n];
        let mut damage = Vec::new();
        let ledger = &mut self.ledger;
        walk_whole(self.disk, segment, inventory.until(n), &mut |item| match item {
            Item::Damage(found) => damage.push(found),
            Item::Frame(frame) => {
                for record in records(segment, &frame, &mut damage) {
                    ledger.apply(&record.1);
                }
            }
        })?;
        self.damage.append(&mut damage);
        Ok(())
    }

    /// Reads a sealed segment behind which a file is missing, only to name what is.
    fn look_over(&mut self, inventory: &Inventory, n: usize) -> io::Result<()> {
        let mut damage = Vec::new();
        walk_whole(
            self.disk,
            &inventory.segments[n],
            inventory.until(n),
            &mut |item| {
                if let Item::Damage(found) = item {
                    damage.push(found);
                }
            },
        )?;
        self.damage.append(&mut damage);
        Ok(())
    }

    /// Loads what sealed segments hold, and the identities in them, as many as the window holds; makes indexes that
    /// are missing there.
    fn known_identities(&mut self, inventory: &Inventory) -> io::Result<()> {
        let sealed = inventory.segments.len() - 1;
        let mut found = Vec::new();
        let mut count = 0;
        for n in (0..sealed).rev() {
            let segment = &inventory.segments[n];
            if count >= self.identities.window() {
                // Not worth reading a whole segment for: where the index is missing, less is known to be held.
                if let Ok(Some(held)) = Index::load_held(self.disk, &segment.index_path(), &segment.header) {
                    segment.hold(&held);
                }
                continue;
            }
            let index = match Index::load(self.disk, &segment.index_path(), &segment.header) {
                Ok(Some(index)) => index,
                Ok(None) | Err(_) => self.index_again(segment, inventory.until(n))?,
            };
            segment.hold(&index.held);
            count += index.identities.len();
            found.push(index.identities);
        }
        // What would be forgotten again at once is left out.
        let beyond = count.saturating_sub(self.identities.window());
        self.identities.expect(count - beyond);
        for (identity, sequence) in found.into_iter().rev().flatten().skip(beyond) {
            self.remember(identity, sequence);
        }
        Ok(())
    }

    pub(crate) fn remember(&mut self, identity: Identity, sequence: Sequence) {
        if self.identities.get(identity).is_none() {
            self.identities.insert(identity, sequence);
        }
    }

    fn index_again(&mut self, segment: &Segment, until: Option<Sequence>) -> io::Result<Index> {
        let (mut damage, mut identities) = (Vec::new(), Vec::new());
        let mut held = Held::default();
        let seed = self.identity_seed;
        walk_whole(self.disk, segment, until, &mut |item| match item {
            Item::Damage(found) => damage.push(found),
            Item::Frame(frame) => {
                segment.note_place(place(&frame));
                for (sequence, record) in records(segment, &frame, &mut damage) {
                    identities.extend(identity(seed, &record).map(|i| (i, sequence)));
                    held.count(&record);
                }
            }
        })?;
        self.damage.append(&mut damage);
        segment.set_loaded();
        let index = Index {
            held,
            places: segment.places(),
            identities,
        };
        if let Err(error) = index.save(self.disk, &segment.index_path(), &segment.header) {
            tracing::warn!(path = %segment.path.display(), %error, "cannot write a segment's index");
        }
        Ok(index)
    }
}

/// Walks a segment from its first frame to its end, whatever is unreadable in it.
pub(crate) fn walk_whole(
    disk: &dyn Disk,
    segment: &Segment,
    until: Option<Sequence>,
    visit: &mut dyn FnMut(Item<'_>),
) -> io::Result<Walked> {
    let file = disk.open(&segment.path, false)?;
    let seed = segment.header.checksum_seed();
    let start = HEADER_BLOCK as u64;
    let mut scanner = Scanner::new(&*file, seed, start, segment.end()).tolerant(true);
    let way = Way {
        chained: segment.header.chained,
        path: &segment.path,
        from: start,
        expected: segment.header.first,
        until,
    };
    walk(&mut scanner, way, &mut |item| {
        visit(item);
        ControlFlow::Continue(())
    })
}

pub(crate) fn place(frame: &Frame<'_>) -> Place {
    Place {
        sequence: frame.head.first,
        offset: frame.at,
    }
}

/// The records of a frame with their sequences; a frame that cannot be decoded is damage.
pub(crate) fn records(
    segment: &Segment,
    frame: &Frame<'_>,
    damage: &mut Vec<Damage>,
) -> impl Iterator<Item = (Sequence, Record)> + use<> {
    let head: &FrameHead = &frame.head;
    let entries = match head.kind {
        FrameKind::Snapshot | FrameKind::Mark => Vec::new(),
        FrameKind::Group => decode_group(head, frame.body).unwrap_or_else(|| {
            damage.push(undecodable(segment, frame.at, head));
            Vec::new()
        }),
    };
    entries.into_iter().map(|(e, _)| (e.sequence, e.record))
}

pub(crate) fn identity(seed: u64, record: &Record) -> Option<Identity> {
    match record {
        Record::Event(c) if c.target.is_none() => Some(identity_of(seed, &c.organization, &c.event)),
        _ => None,
    }
}
