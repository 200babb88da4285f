//! How many bytes of events each organization has in a stretch of the log.
//!
//! A segment counts its own while it is written; its index keeps them, so that an opening need not read the segment.

use std::collections::HashMap;
use std::sync::Arc;

use dispatch_contract::Record;

use crate::record::{Reader, put_text};

/// Bytes of encoded events by organization. Nothing is listed at zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Held(HashMap<Arc<str>, u64>);

impl Held {
    /// Takes a record into account.
    pub(crate) fn count(&mut self, record: &Record) {
        if let Record::Event(committed) = record {
            self.put(&committed.organization, committed.event.encoded().len() as u64);
        }
    }

    fn put(&mut self, organization: &Arc<str>, bytes: u64) {
        match self.0.get_mut(organization) {
            Some(held) => *held += bytes,
            None => {
                self.0.insert(organization.clone(), bytes);
            }
        }
    }

    pub(crate) fn add(&mut self, more: &Self) {
        for (organization, bytes) in &more.0 {
            self.put(organization, *bytes);
        }
    }

    pub(crate) fn take_away(&mut self, less: &Self) {
        for (organization, bytes) in &less.0 {
            if let Some(held) = self.0.get_mut(organization) {
                *held = held.saturating_sub(*bytes);
            }
        }
        self.0.retain(|_, held| *held > 0);
    }

    pub(crate) fn of(&self, organization: &str) -> u64 {
        self.0.get(organization).copied().unwrap_or(0)
    }

    /// `u32 organizations, each: u16 length, organization, u64 bytes`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut held: Vec<_> = self.0.iter().collect();
        // In order, so that the same log makes the same bytes.
        held.sort_unstable();
        out.extend_from_slice(&(held.len() as u32).to_le_bytes());
        for (organization, bytes) in held {
            put_text(out, organization);
            out.extend_from_slice(&bytes.to_le_bytes());
        }
    }

    pub(crate) fn decode(rest: &mut Reader<'_>) -> Option<Self> {
        let mut held = Self::default();
        for _ in 0..rest.u32()? {
            let organization = rest.text()?;
            held.0.insert(organization.into(), rest.u64()?);
        }
        Some(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(of: &[(&str, u64)]) -> Held {
        Held(of.iter().map(|(name, bytes)| ((*name).into(), *bytes)).collect())
    }

    #[test]
    fn what_was_added_is_gone_when_it_is_taken_away() {
        let mut all = held(&[("a", 5)]);

        all.add(&held(&[("a", 2), ("b", 3)]));
        assert_eq!((all.of("a"), all.of("b"), all.of("c")), (7, 3, 0));
        all.take_away(&held(&[("a", 5), ("b", 3)]));

        assert_eq!(all, held(&[("a", 2)]));
    }

    #[test]
    fn it_reads_back_as_it_was_and_half_of_it_does_not() {
        let some = held(&[("acme", 5), ("ours", u64::MAX)]);
        let mut bytes = Vec::new();
        some.encode(&mut bytes);

        assert_eq!(Held::decode(&mut Reader(&bytes)), Some(some));
        for length in 0..bytes.len() {
            assert_eq!(Held::decode(&mut Reader(&bytes[..length])), None, "{length}");
        }
    }
}
