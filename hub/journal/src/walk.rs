//! Reads one segment in order and says what is missing: every gap between sequences becomes a [`Damage`].
//!
//! The one place that decides what counts as a record and what as damage; opening, reading, `verify` and `dump`
//! all go through it.

use std::io;
use std::ops::{ControlFlow, RangeInclusive};
use std::path::Path;

use dispatch_contract::Sequence;

use crate::chain::Link;
use crate::damage::{Damage, DamageKind};
use crate::frame::FrameHead;
use crate::scan::{Scanner, Step};

/// One thing on the way.
#[derive(Debug)]
pub(crate) enum Item<'a> {
    /// A good frame.
    Frame(Frame<'a>),
    /// Something lost, before the next frame.
    Damage(Damage),
}

/// A good frame and its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) at: u64,
    pub(crate) head: FrameHead,
    /// In a chained segment, the hash of the frame before.
    pub(crate) link: Option<Link>,
    /// The records.
    pub(crate) body: &'a [u8],
    whole: &'a [u8],
}

impl<'a> Frame<'a> {
    pub(crate) fn new(at: u64, head: FrameHead, whole: &'a [u8], chained: bool) -> Self {
        let (link, body) = match Link::split(whole) {
            Some((link, body)) if chained => (Some(link), body),
            _ => (None, whole),
        };
        Self {
            at,
            head,
            link,
            body,
            whole,
        }
    }

    /// What the next frame of a chain carries.
    pub(crate) fn hash(&self) -> Link {
        self.head.hash(self.whole)
    }
}

/// Where a walk ended.
#[derive(Debug, Clone)]
pub(crate) struct Walked {
    /// Behind the last good frame.
    pub(crate) end: u64,
    /// The sequence that comes next.
    pub(crate) next: Sequence,
    /// The highest sequence of which a frame says that it was durable.
    pub(crate) durable: Sequence,
    /// Behind `end`, the end of the last byte that is not zero.
    pub(crate) written: u64,
    /// Records a bad frame at the end claims.
    pub(crate) unfinished: Option<RangeInclusive<Sequence>>,
}

/// Where to walk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way<'a> {
    /// For reports.
    pub(crate) path: &'a Path,
    /// Where the walk begins.
    pub(crate) from: u64,
    /// Whether the frames carry hashes.
    pub(crate) chained: bool,
    /// The sequence that should come first.
    pub(crate) expected: Sequence,
    /// First sequence of the next segment: what claims to be at or behind it was never acknowledged.
    pub(crate) until: Option<Sequence>,
}

struct Bad {
    from: u64,
    to: u64,
    head: Option<FrameHead>,
}

/// What claims to be at or behind the next segment's first record was never acknowledged. A mark there is the
/// segment's own.
fn is_void(head: &FrameHead, until: Sequence) -> bool {
    head.first > until || (head.first == until && head.count > 0)
}

/// Walks until the end or until `visit` breaks.
pub(crate) fn walk(
    scanner: &mut Scanner<'_>,
    way: Way<'_>,
    visit: &mut dyn FnMut(Item<'_>) -> ControlFlow<()>,
) -> io::Result<Walked> {
    let mut walked = Walked {
        end: way.from,
        next: way.expected,
        durable: 0,
        written: way.from,
        unfinished: None,
    };
    let mut bad: Option<Bad> = None;
    let damage = |offset: u64, to: u64, missing: Option<RangeInclusive<Sequence>>| Damage {
        segment: way.path.to_owned(),
        offset,
        bytes: to.saturating_sub(offset),
        missing,
        kind: DamageKind::Acknowledged,
    };
    let limit = scanner.limit();
    loop {
        match scanner.step()? {
            Step::Bad { from, to, head } => match &mut bad {
                Some(bad) => bad.to = to,
                None => bad = Some(Bad { from, to, head }),
            },
            Step::Frame { head, .. } if way.until.is_some_and(|until| is_void(&head, until)) => break,
            // Cannot be written; a frame that repeats what was read is not believed.
            Step::Frame { head, .. } if head.first < walked.next => {}
            Step::Frame { at, head, body } => {
                let missing = (head.first > walked.next).then(|| walked.next..=head.first - 1);
                let broken = bad.take();
                if broken.is_some() || missing.is_some() {
                    let (from, to) = broken.map_or((at, at), |b| (b.from, b.to));
                    if visit(Item::Damage(damage(from, to, missing))).is_break() {
                        return Ok(walked);
                    }
                    walked.next = head.first;
                }
                let frame = Frame::new(at, head, body, way.chained);
                if visit(Item::Frame(frame)).is_break() {
                    return Ok(walked);
                }
                walked.durable = walked.durable.max(head.durable);
                walked.next = head.next();
                walked.end = at + head.framed();
                walked.written = walked.end;
            }
            Step::End { written, head } => {
                walked.written = written.max(walked.end);
                walked.unfinished = bad
                    .as_ref()
                    .map_or(head, |b| b.head)
                    .filter(|h| h.count > 0 && h.first >= walked.next)
                    .map(|h| h.first..=h.next() - 1);
                break;
            }
        }
    }
    if let Some(until) = way.until
        && walked.next < until
    {
        let lost = damage(walked.end, limit, Some(walked.next..=until - 1));
        if visit(Item::Damage(lost)).is_continue() {
            walked.next = until;
        }
    }
    Ok(walked)
}
