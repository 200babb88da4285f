//! What the records add up to: each subscription's progress and each driver's last checkpoint.
//!
//! Kept in memory as groups become durable and written as a snapshot at the beginning of every segment, so that
//! opening reads only the last segment and retention may remove the others.
//!
//! ```text
//! u32 subscriptions, each: 16 bytes id, u64 through, u32 settled beyond, each: LEB128 distance to the one before
//! u32 checkpoints, each: u16 length, organization, u16 length, driver, u32 length, value
//! if any subscription owes something at or before its through:
//! u32 such subscriptions, each: 16 bytes id, u32 events owed, each: LEB128 distance to the one before
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use dispatch_contract::{Progress, Record, SubscriptionId};

use crate::record::{Reader, put_ascending, put_text};

/// The sum of all records so far.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    progress: HashMap<SubscriptionId, Progress>,
    checkpoints: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Bytes>>,
    /// Deleted subscriptions, whose last settlements may still come.
    forgotten: HashSet<SubscriptionId>,
}

impl Ledger {
    /// Takes a durable record into account.
    pub(crate) fn apply(&mut self, record: &Record) {
        match record {
            Record::Event(_) => {}
            Record::Settlement(settlement) => {
                if let Some(progress) = self.of(settlement.subscription) {
                    progress.settle(settlement.event);
                }
            }
            Record::Through(through) => {
                if let Some(progress) = self.of(through.subscription) {
                    progress.advance(through);
                }
            }
            Record::Checkpoint(checkpoint) => {
                self.checkpoints
                    .entry(checkpoint.organization.clone())
                    .or_default()
                    .insert(checkpoint.driver.clone(), checkpoint.value.clone());
            }
        }
    }

    fn of(&mut self, subscription: SubscriptionId) -> Option<&mut Progress> {
        if self.forgotten.contains(&subscription) {
            return None;
        }
        Some(self.progress.entry(subscription).or_default())
    }

    /// Leaves a subscription out from now on. Ids are never used again.
    pub(crate) fn forget(&mut self, subscription: SubscriptionId) {
        self.progress.remove(&subscription);
        self.forgotten.insert(subscription);
    }

    pub(crate) fn checkpoint(&self, organization: &str, driver: &str) -> Option<Bytes> {
        self.checkpoints.get(organization)?.get(driver).cloned()
    }

    pub(crate) fn progress(&self) -> &HashMap<SubscriptionId, Progress> {
        &self.progress
    }

    /// Writes the snapshot.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.progress.len() as u32).to_le_bytes());
        // In order, so that the same log makes the same bytes.
        let mut progress: Vec<_> = self.progress.iter().collect();
        progress.sort_unstable_by_key(|(subscription, _)| **subscription);
        for (subscription, progress) in &progress {
            out.extend_from_slice(subscription.0.as_bytes());
            out.extend_from_slice(&progress.through.to_le_bytes());
            out.extend_from_slice(&(progress.beyond.len() as u32).to_le_bytes());
            put_ascending(out, progress.through, progress.beyond.iter().copied());
        }
        let checkpoints: usize = self.checkpoints.values().map(BTreeMap::len).sum();
        out.extend_from_slice(&(checkpoints as u32).to_le_bytes());
        for (organization, drivers) in &self.checkpoints {
            for (driver, value) in drivers {
                put_text(out, organization);
                put_text(out, driver);
                out.extend_from_slice(&(value.len() as u32).to_le_bytes());
                out.extend_from_slice(value);
            }
        }
        progress.retain(|(_, progress)| !progress.owed.is_empty());
        if progress.is_empty() {
            return;
        }
        out.extend_from_slice(&(progress.len() as u32).to_le_bytes());
        for (subscription, progress) in progress {
            out.extend_from_slice(subscription.0.as_bytes());
            out.extend_from_slice(&(progress.owed.len() as u32).to_le_bytes());
            put_ascending(out, 0, progress.owed.iter().copied());
        }
    }

    /// Reads a snapshot.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = Reader(bytes);
        let mut ledger = Self::default();
        for _ in 0..rest.u32()? {
            let subscription = rest.subscription()?;
            let through = rest.u64()?;
            let mut progress = Progress {
                through,
                ..Progress::default()
            };
            let count = rest.u32()?;
            progress.beyond = rest.ascending(through, count)?;
            ledger.progress.insert(subscription, progress);
        }
        for _ in 0..rest.u32()? {
            let organization = rest.text()?;
            let driver = rest.text()?;
            let length = rest.u32()? as usize;
            let value = Bytes::copy_from_slice(rest.take(length)?);
            ledger
                .checkpoints
                .entry(organization.into())
                .or_default()
                .insert(driver.into(), value);
        }
        let owing = if rest.0.is_empty() { 0 } else { rest.u32()? };
        for _ in 0..owing {
            let subscription = rest.subscription()?;
            let count = rest.u32()?;
            ledger.progress.get_mut(&subscription)?.owed = rest.ascending(0, count)?;
        }
        rest.0.is_empty().then_some(ledger)
    }
}

#[cfg(test)]
mod tests {
    use dispatch_contract::{Checkpoint, Settled, Settlement, Through};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn settled(subscription: SubscriptionId, event: u64) -> Record {
        Record::Settlement(Settlement {
            subscription,
            event,
            settled: Settled::Delivered,
            attempts: 1,
            failures: Vec::new(),
        })
    }

    #[test]
    fn through_takes_the_place_of_the_settlements_it_covers() {
        let (id, mut ledger) = (SubscriptionId(Uuid::from_u128(1)), Ledger::default());

        for event in [3, 5, 9] {
            ledger.apply(&settled(id, event));
        }
        ledger.apply(&Record::Through(Through {
            subscription: id,
            sequence: 5,
            but_for: Vec::new(),
        }));
        ledger.apply(&settled(id, 4));

        let progress = &ledger.progress()[&id];
        assert_eq!(progress.through, 5);
        assert_eq!(progress.beyond.iter().copied().collect::<Vec<_>>(), [9]);
    }

    #[test]
    fn a_forgotten_subscription_does_not_come_back_with_a_late_settlement() {
        let (id, mut ledger) = (SubscriptionId(Uuid::from_u128(1)), Ledger::default());
        ledger.apply(&settled(id, 3));

        ledger.forget(id);
        ledger.apply(&settled(id, 4));

        assert!(ledger.progress().is_empty());
    }

    proptest! {
        #[test]
        fn a_snapshot_reads_back_as_it_was(
            settlements in proptest::collection::vec((0u128..5, 1u64..100_000), 0..200),
            owed in proptest::collection::btree_set(1u64..50_000, 0..50),
            value in proptest::collection::vec(any::<u8>(), 0..50),
        ) {
            let mut ledger = Ledger::default();
            for (id, event) in settlements {
                ledger.apply(&settled(SubscriptionId(Uuid::from_u128(id)), event));
            }
            ledger.apply(&Record::Through(Through {
                subscription: SubscriptionId(Uuid::from_u128(1)),
                sequence: 50_000,
                but_for: owed.into_iter().collect(),
            }));
            ledger.apply(&Record::Checkpoint(Checkpoint {
                organization: "o".into(), driver: "d".into(), value: value.clone().into(),
            }));

            let mut bytes = Vec::new();
            ledger.encode(&mut bytes);
            let back = Ledger::decode(&bytes).unwrap();

            prop_assert_eq!(back.progress(), ledger.progress());
            prop_assert_eq!(back.checkpoint("o", "d"), Some(value.into()));
        }

        #[test]
        fn hostile_bytes_are_no_snapshot_and_never_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            if let Some(ledger) = Ledger::decode(&bytes) {
                prop_assert!(ledger.progress().len() <= 300);
            }
        }
    }
}
