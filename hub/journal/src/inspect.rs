//! Reading a journal's folder without opening it: what `dispatch journal verify` and `dump` do.
//!
//! Read-only and without the lock, so a running hub is not disturbed. What a running hub is just writing may look
//! unfinished; a place that looks damaged in the segment being written is looked at again before it is named.

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use dispatch_contract::{Entry, Record, Sequence};

use crate::damage::{Damage, DamageKind, Torn};
use crate::disk::{Disk, RealDisk};
use crate::error::OpenError;
use crate::folder::Inventory;
use crate::frame::FrameKind;
use crate::header::HEADER_BLOCK;
use crate::links::{Anchor, Chain, Links};
use crate::reading::undecodable;
use crate::record::decode_group;
use crate::scan::Scanner;
use crate::segment::Segment;
use crate::walk::{Item, Walked, Way, walk};

/// Looks at a segment that is being written.
const LOOKS: usize = 3;

/// What `verify` found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Each segment, oldest first.
    pub segments: Vec<SegmentReport>,
    /// The oldest sequence in the folder; 0 when there is none.
    pub first: Sequence,
    /// The last sequence in the folder; 0 when there is none.
    pub head: Sequence,
    /// Events.
    pub events: u64,
    /// Deliveries that ended.
    pub settlements: u64,
    /// Statements that a subscription owes nothing up to a sequence.
    pub throughs: u64,
    /// Checkpoints of drivers.
    pub checkpoints: u64,
    /// Everything that cannot be read.
    pub damage: Vec<Damage>,
    /// Bytes after the last record with nothing readable behind them.
    pub torn: Option<Torn>,
    /// The chain that reaches to the last record, if the newest segment is chained.
    pub chain: Option<Chain>,
    /// Whether the group that was expected is there.
    pub met: bool,
}

/// One segment, for people.
#[derive(Debug, Clone)]
pub struct SegmentReport {
    /// The file.
    pub path: PathBuf,
    /// Its first sequence.
    pub first: Sequence,
    /// The sequence after its last.
    pub next: Sequence,
    /// Readable records.
    pub records: u64,
    /// Bytes up to the end of the last record.
    pub bytes: u64,
}

/// A record and where it is.
#[derive(Debug, Clone)]
pub struct Located {
    /// The segment file.
    pub segment: PathBuf,
    /// Where the frame that holds it begins.
    pub offset: u64,
    /// When its group was written, Unix milliseconds.
    pub arrival: i64,
    /// The record.
    pub entry: Entry,
}

/// Reads the whole journal and says what is there and what is damaged.
pub fn verify(dir: &Path) -> Result<Report, OpenError> {
    let mut report = Report::default();
    inspect(dir, 0, None, &mut report, &mut |_| ControlFlow::Continue(()))?;
    Ok(report)
}

/// The same, and whether the chain goes through what was kept of it: [`Report::met`].
pub fn verify_against(dir: &Path, expected: Anchor) -> Result<Report, OpenError> {
    let mut report = Report::default();
    inspect(dir, 0, Some(expected), &mut report, &mut |_| {
        ControlFlow::Continue(())
    })?;
    Ok(report)
}

/// Gives every readable record from `from` on to `visit`, until it breaks; returns the damage on the way.
pub fn dump(
    dir: &Path,
    from: Sequence,
    mut visit: impl FnMut(Located) -> ControlFlow<()>,
) -> Result<Vec<Damage>, OpenError> {
    let mut report = Report::default();
    inspect(dir, from, None, &mut report, &mut visit)?;
    Ok(report.damage)
}

fn inspect(
    dir: &Path,
    from: Sequence,
    expected: Option<Anchor>,
    report: &mut Report,
    visit: &mut dyn FnMut(Located) -> ControlFlow<()>,
) -> Result<(), OpenError> {
    let disk = RealDisk;
    let inventory = Inventory::take(&disk, dir)?;
    report.damage.extend(inventory.missing_head());
    report.damage.extend(inventory.lost_damage());
    report.damage.extend(inventory.worn.iter().cloned());
    report.first = inventory.segments.first().map_or(0, |s| s.header.first);
    let mut links = Links::new(expected);
    for (n, segment) in inventory.segments.iter().enumerate() {
        let until = inventory.until(n);
        if until.is_some_and(|until| until <= from) {
            continue;
        }
        let mut look = Look {
            segment,
            from,
            visit: &mut *visit,
            links: &mut links,
            damage: Vec::new(),
            counted: Report::default(),
            records: 0,
            stopped: false,
        };
        let walked = match look.walk(&disk, until) {
            Ok(walked) => walked,
            // Retention of a running hub took it away.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(OpenError::of(dir, e)),
        };
        let Look {
            mut damage,
            counted,
            records,
            stopped,
            ..
        } = look;
        if until.is_none() {
            damage = settle(&disk, segment, damage, walked.durable);
            report.torn = torn(segment, &walked);
        }
        report.damage.append(&mut damage);
        report.events += counted.events;
        report.settlements += counted.settlements;
        report.throughs += counted.throughs;
        report.checkpoints += counted.checkpoints;
        report.head = walked.next.saturating_sub(1);
        report.segments.push(SegmentReport {
            path: segment.path.clone(),
            first: segment.header.first,
            next: walked.next,
            records,
            bytes: walked.end,
        });
        if stopped {
            break;
        }
    }
    report.chain = links.chain();
    report.met = links.met;
    Ok(())
}

/// One look at one segment.
struct Look<'a> {
    segment: &'a Segment,
    from: Sequence,
    visit: &'a mut dyn FnMut(Located) -> ControlFlow<()>,
    links: &'a mut Links,
    damage: Vec<Damage>,
    counted: Report,
    records: u64,
    stopped: bool,
}

impl Look<'_> {
    fn walk(&mut self, disk: &dyn Disk, until: Option<Sequence>) -> io::Result<Walked> {
        let file = disk.open(&self.segment.path, false)?;
        let seed = self.segment.header.checksum_seed();
        let start = HEADER_BLOCK as u64;
        let mut scanner = Scanner::new(&*file, seed, start, file.size()?).tolerant(true);
        let way = Way {
            chained: self.segment.header.chained,
            path: &self.segment.path,
            from: start,
            expected: self.segment.header.first,
            until,
        };
        walk(&mut scanner, way, &mut |item| self.item(item))
    }

    fn item(&mut self, item: Item<'_>) -> ControlFlow<()> {
        let frame = match item {
            Item::Damage(damage) => {
                self.links.interrupt();
                self.damage.push(damage);
                return ControlFlow::Continue(());
            }
            Item::Frame(frame) => frame,
        };
        self.damage.extend(self.links.follow(self.segment, &frame));
        if frame.head.kind != FrameKind::Group {
            return ControlFlow::Continue(());
        }
        let Some(entries) = decode_group(&frame.head, frame.body) else {
            self.damage.push(undecodable(self.segment, frame.at, &frame.head));
            return ControlFlow::Continue(());
        };
        for (entry, _) in entries {
            self.records += 1;
            match entry.record {
                Record::Event(_) => self.counted.events += 1,
                Record::Settlement(_) => self.counted.settlements += 1,
                Record::Through(_) => self.counted.throughs += 1,
                Record::Checkpoint(_) => self.counted.checkpoints += 1,
            }
            if entry.sequence < self.from {
                continue;
            }
            let located = Located {
                segment: self.segment.path.clone(),
                offset: frame.at,
                arrival: frame.head.arrival,
                entry,
            };
            if (self.visit)(located).is_break() {
                self.stopped = true;
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}

/// Damage in the segment that may be being written: only what is still there at another look, and with its kind.
fn settle(disk: &dyn Disk, segment: &Segment, mut damage: Vec<Damage>, mut durable: Sequence) -> Vec<Damage> {
    for _ in 1..LOOKS {
        if damage.is_empty() {
            break;
        }
        let mut again = Look {
            segment,
            from: Sequence::MAX,
            visit: &mut |_| ControlFlow::Continue(()),
            links: &mut Links::new(None),
            damage: Vec::new(),
            counted: Report::default(),
            records: 0,
            stopped: false,
        };
        if let Ok(walked) = again.walk(disk, None) {
            durable = durable.max(walked.durable);
            // A hash that does not fit is no matter of when one looks.
            damage.retain(|d| d.kind == DamageKind::Altered || again.damage.contains(d));
        }
    }
    for found in damage.iter_mut().filter(|d| d.kind != DamageKind::Altered) {
        if found.missing.as_ref().is_some_and(|m| *m.start() > durable) {
            found.kind = DamageKind::LastBatch;
        }
    }
    damage
}

fn torn(segment: &Segment, walked: &Walked) -> Option<Torn> {
    (walked.written > walked.end).then(|| Torn {
        segment: segment.path.clone(),
        offset: walked.end,
        bytes: walked.written - walked.end,
        records: walked.unfinished.clone(),
    })
}
