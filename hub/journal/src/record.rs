//! Records inside a frame's body, to bytes and back.
//!
//! ```text
//! u8 kind: 1 event, 2 settlement, 3 through, 4 checkpoint, 5 through but for; u8 flags; u16 zero; u32 length of what follows
//! event:      [16 bytes target, if flag 1] u16 length, organization, encoded event (see the contract's encoding)
//! settlement: 16 bytes subscription, u64 event, u8 how (0 delivered, 1 dead-lettered, 2 dropped), u32 attempts,
//!             u16 failures, each: i64 at, u32 took, u16 code (0 none), u16 length, reason
//! through:    16 bytes subscription, u64 sequence
//! through but for: the same, then the events still owed, each: LEB128 distance to the one before
//! checkpoint: u16 length, organization, u16 length, driver, value to the end
//! ```
//! Little-endian. Reading checks every length: hostile bytes give `None` and never a panic.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use dispatch_contract::{
    Attempt, Checkpoint, Committed, Entry, Event, Group, NewEvent, Record, Sequence, Settled, Settlement,
    SubscriptionId, Through,
};
use uuid::Uuid;

use crate::frame::FrameHead;

const HEAD: usize = 8;
const EVENT: u8 = 1;
const SETTLEMENT: u8 = 2;
const THROUGH: u8 = 3;
const CHECKPOINT: u8 = 4;
/// A kind of its own, so that a hub that does not know it takes nothing owed for settled.
const THROUGH_BUT_FOR: u8 = 5;
const TARGETED: u8 = 1;
/// The largest checkpoint the contract allows.
const MAX_CHECKPOINT: usize = 64 * 1024;
/// A number takes no more.
const MAX_LEB128: usize = 10;
/// Reasons are cut to this.
const MAX_REASON: usize = 4096;

/// How many bytes the records of a group take at most, or why they cannot be written.
pub(crate) fn size_of(group: &Group) -> Result<usize, String> {
    let mut size = 0;
    for new in &group.events {
        fits("the name of an organization", new.organization.len())?;
        size += HEAD + 16 + 2 + new.organization.len() + new.event.encoded().len();
    }
    for settlement in &group.settlements {
        let failures: usize = settlement
            .failures
            .iter()
            .map(|f| 16 + f.reason.len().min(MAX_REASON))
            .sum();
        fits("the number of failed attempts", settlement.failures.len())?;
        size += HEAD + 31 + failures;
    }
    let but_for: usize = group.through.iter().map(|through| through.but_for.len()).sum();
    size += group.through.len() * (HEAD + 24) + but_for * MAX_LEB128;
    if let Some(checkpoint) = &group.checkpoint {
        fits("the name of an organization", checkpoint.organization.len())?;
        fits("the name of a driver", checkpoint.driver.len())?;
        if checkpoint.value.len() > MAX_CHECKPOINT {
            return Err(format!(
                "a checkpoint of {} bytes, {MAX_CHECKPOINT} are allowed",
                checkpoint.value.len()
            ));
        }
        size += HEAD + 4 + checkpoint.organization.len() + checkpoint.driver.len() + checkpoint.value.len();
    }
    Ok(size)
}

fn fits(what: &str, length: usize) -> Result<(), String> {
    match u16::try_from(length) {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("{what} is {length}, {} is allowed", u16::MAX)),
    }
}

fn put(out: &mut Vec<u8>, kind: u8, flags: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[kind, flags, 0, 0, 0, 0, 0, 0]);
    write(out);
    let length = (out.len() - start - HEAD) as u32;
    out[start + 4..start + HEAD].copy_from_slice(&length.to_le_bytes());
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

pub(crate) fn put_event(out: &mut Vec<u8>, new: &NewEvent) {
    put(
        out,
        EVENT,
        if new.target.is_some() { TARGETED } else { 0 },
        |out| {
            if let Some(target) = new.target {
                out.extend_from_slice(target.0.as_bytes());
            }
            put_text(out, &new.organization);
            out.extend_from_slice(&new.event.encoded());
        },
    );
}

pub(crate) fn put_settlement(out: &mut Vec<u8>, settlement: &Settlement) {
    put(out, SETTLEMENT, 0, |out| {
        out.extend_from_slice(settlement.subscription.0.as_bytes());
        out.extend_from_slice(&settlement.event.to_le_bytes());
        out.push(match settlement.settled {
            Settled::Delivered => 0,
            Settled::DeadLettered => 1,
            Settled::Dropped => 2,
        });
        out.extend_from_slice(&settlement.attempts.to_le_bytes());
        out.extend_from_slice(&(settlement.failures.len() as u16).to_le_bytes());
        for failure in &settlement.failures {
            out.extend_from_slice(&failure.at.to_le_bytes());
            out.extend_from_slice(&failure.took.to_le_bytes());
            out.extend_from_slice(&failure.code.unwrap_or(0).to_le_bytes());
            put_text(
                out,
                &failure.reason[..failure.reason.floor_char_boundary(MAX_REASON)],
            );
        }
    });
}

pub(crate) fn put_through(out: &mut Vec<u8>, through: &Through) {
    let kind = match through.but_for.is_empty() {
        true => THROUGH,
        false => THROUGH_BUT_FOR,
    };
    put(out, kind, 0, |out| {
        out.extend_from_slice(through.subscription.0.as_bytes());
        out.extend_from_slice(&through.sequence.to_le_bytes());
        put_ascending(out, 0, through.but_for.iter().copied());
    });
}

/// Numbers that ascend from `before`, as the distances between them.
pub(crate) fn put_ascending(out: &mut Vec<u8>, mut before: u64, numbers: impl Iterator<Item = u64>) {
    for number in numbers {
        put_leb128(out, number.wrapping_sub(before));
        before = number;
    }
}

fn put_leb128(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(crate) fn put_checkpoint(out: &mut Vec<u8>, checkpoint: &Checkpoint) {
    put(out, CHECKPOINT, 0, |out| {
        put_text(out, &checkpoint.organization);
        put_text(out, &checkpoint.driver);
        out.extend_from_slice(&checkpoint.value);
    });
}

/// The records of a group's frame, each with its size on disk; `None` when the body is not what it should be.
pub(crate) fn decode_group(head: &FrameHead, body: &[u8]) -> Option<Vec<(Entry, usize)>> {
    let mut rest = Reader(body);
    let mut organization: Option<Arc<str>> = None;
    let mut entries = Vec::with_capacity(body.len().min(head.count as usize * HEAD) / HEAD);
    for n in 0..head.count {
        let kind = rest.u8()?;
        let flags = rest.u8()?;
        rest.u16()?;
        let length = rest.u32()? as usize;
        let mut part = Reader(rest.take(length)?);
        let record = match kind {
            EVENT => Record::Event(event(&mut part, flags, head.arrival, &mut organization)?),
            SETTLEMENT => Record::Settlement(settlement(&mut part)?),
            THROUGH => Record::Through(Through {
                subscription: part.subscription()?,
                sequence: part.u64()?,
                but_for: Vec::new(),
            }),
            THROUGH_BUT_FOR => Record::Through(Through {
                subscription: part.subscription()?,
                sequence: part.u64()?,
                but_for: but_for(&mut part)?,
            }),
            CHECKPOINT => Record::Checkpoint(Checkpoint {
                organization: part.text()?.into(),
                driver: part.text()?.into(),
                value: Bytes::copy_from_slice(part.0),
            }),
            _ => return None,
        };
        let sequence: Sequence = head.first.checked_add(u64::from(n))?;
        entries.push((Entry { sequence, record }, HEAD + length));
    }
    rest.0.is_empty().then_some(entries)
}

fn event(
    part: &mut Reader<'_>,
    flags: u8,
    arrival: i64,
    organization: &mut Option<Arc<str>>,
) -> Option<Committed> {
    let target = match flags & TARGETED {
        0 => None,
        _ => Some(part.subscription()?),
    };
    let name = part.text()?;
    let organization = match organization {
        Some(known) if **known == *name => known.clone(),
        _ => organization.insert(name.into()).clone(),
    };
    Some(Committed {
        organization,
        target,
        arrival,
        event: Event::decode(Bytes::copy_from_slice(part.0)).ok()?,
    })
}

fn but_for(part: &mut Reader<'_>) -> Option<Vec<Sequence>> {
    let (mut owed, mut before) = (Vec::new(), 0u64);
    while !part.0.is_empty() {
        before = before.checked_add(part.leb128()?)?;
        owed.push(before);
    }
    Some(owed)
}

fn settlement(part: &mut Reader<'_>) -> Option<Settlement> {
    Some(Settlement {
        subscription: part.subscription()?,
        event: part.u64()?,
        settled: match part.u8()? {
            0 => Settled::Delivered,
            1 => Settled::DeadLettered,
            2 => Settled::Dropped,
            _ => return None,
        },
        attempts: part.u32()?,
        failures: {
            let count = part.u16()?;
            let attempt = |part: &mut Reader<'_>| {
                Some(Attempt {
                    at: part.u64()?.cast_signed(),
                    took: part.u32()?,
                    code: Some(part.u16()?).filter(|c| *c != 0),
                    reason: part.text()?.to_owned(),
                })
            };
            (0..count).map(|_| attempt(part)).collect::<Option<_>>()?
        },
    })
}

/// Takes bytes from the front and never past the end.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(front)
    }
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }
    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }
    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
    fn leb128(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }
    /// As [`put_ascending`] wrote them.
    pub(crate) fn ascending(&mut self, mut before: u64, count: u32) -> Option<BTreeSet<u64>> {
        let mut numbers = BTreeSet::new();
        for _ in 0..count {
            before = before.checked_add(self.leb128()?)?;
            numbers.insert(before);
        }
        Some(numbers)
    }
    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let length = self.u16()?;
        std::str::from_utf8(self.take(length.into())?).ok()
    }
    pub(crate) fn subscription(&mut self) -> Option<SubscriptionId> {
        self.array().map(|b| SubscriptionId(Uuid::from_bytes(b)))
    }
}
