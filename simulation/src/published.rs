//! The log as it was once seen: what was published may never be different again, whatever happens to the hub.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use dispatch_contract::{Committed, Entry, Page, Record, Sequence, Settlement};
use dispatch_journal::{Damage, DamageKind, Recovered};

/// Every record that anybody saw.
#[derive(Debug, Default)]
pub(crate) struct Published {
    entries: BTreeMap<Sequence, Entry>,
    /// Sequences of batches that a crash took in part: nobody ever saw them.
    gaps: Vec<RangeInclusive<Sequence>>,
}

/// Whether two records say the same.
fn same(one: &Record, other: &Record) -> bool {
    match (one, other) {
        (Record::Event(a), Record::Event(b)) => {
            (a.arrival, a.target, &a.organization, &a.event)
                == (b.arrival, b.target, &b.organization, &b.event)
        }
        (Record::Settlement(a), Record::Settlement(b)) => a == b,
        (Record::Through(a), Record::Through(b)) => a == b,
        (Record::Checkpoint(a), Record::Checkpoint(b)) => a == b,
        _ => false,
    }
}

impl Published {
    /// The first sequence nobody has seen.
    pub(crate) fn next(&self) -> Sequence {
        self.entries.last_key_value().map_or(1, |(last, _)| last + 1)
    }

    /// The record at a sequence.
    pub(crate) fn get(&self, sequence: Sequence) -> Option<&Record> {
        self.entries.get(&sequence).map(|entry| &entry.record)
    }

    /// All events.
    pub(crate) fn events(&self) -> impl Iterator<Item = (Sequence, &Committed)> {
        self.entries.values().filter_map(|entry| match &entry.record {
            Record::Event(committed) => Some((entry.sequence, committed)),
            _ => None,
        })
    }

    /// All settlements.
    pub(crate) fn settlements(&self) -> impl Iterator<Item = &Settlement> {
        self.entries.values().filter_map(|entry| match &entry.record {
            Record::Settlement(settlement) => Some(settlement),
            _ => None,
        })
    }

    /// Takes in the whole log as it is after an opening.
    pub(crate) fn read_back(&mut self, recovered: &Recovered, pages: &[Page]) -> Result<(), String> {
        for damage in &recovered.damage {
            self.damaged(damage)?;
        }
        let (head, seen) = (recovered.head, self.next() - 1);
        if head < seen {
            return Err(format!("{seen} was published, the log ends at {head}"));
        }
        let mut at = recovered.first.max(1);
        for page in pages {
            self.see(at, &page.entries, page.next)?;
            at = page.next;
        }
        Ok(())
    }

    /// Opening found damage: only what nobody can have seen may be missing.
    fn damaged(&mut self, damage: &Damage) -> Result<(), String> {
        let Some(missing) = &damage.missing else {
            return Ok(());
        };
        if damage.kind != DamageKind::LastBatch {
            return Err(format!("nothing on this disk is damaged, but: {damage}"));
        }
        if let Some((seen, _)) = self.entries.range(missing.clone()).next() {
            return Err(format!("{seen} was published and is lost: {damage}"));
        }
        self.gaps.push(missing.clone());
        Ok(())
    }

    /// Takes in what is read from `from` on: it must be what was seen before, and have no holes.
    pub(crate) fn see(&mut self, from: Sequence, entries: &[Entry], next: Sequence) -> Result<(), String> {
        let mut expected = from;
        for entry in entries {
            self.expect(expected, entry.sequence)?;
            expected = entry.sequence + 1;
            match self.entries.get(&entry.sequence) {
                None => {
                    self.entries.insert(entry.sequence, entry.clone());
                }
                Some(before) if same(&before.record, &entry.record) => {}
                Some(before) => return Err(format!("there was {before:?} and now there is {entry:?}")),
            }
        }
        self.expect(expected, next)
    }

    fn expect(&self, expected: Sequence, found: Sequence) -> Result<(), String> {
        let hole = (expected..found).find(|at| !self.gaps.iter().any(|gap| gap.contains(at)));
        match hole {
            Some(at) => Err(format!("{at} is missing in the log: {found} follows")),
            None => Ok(()),
        }
    }
}
