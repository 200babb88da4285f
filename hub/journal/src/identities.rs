//! Which events the log already holds, by (organization, source, id), in about 30 bytes each.
//!
//! A ring holds the identities in the order of their sequences, so the oldest are forgotten first; a table of
//! ring positions with linear probing finds them. Identities are 128-bit hashes under a seed only this
//! journal knows, so that nobody can make two events look the same on purpose.

use std::collections::VecDeque;

use dispatch_contract::{Event, Sequence};
use xxhash_rust::xxh3::Xxh3;

/// The hashed (organization, source, id) of an event.
pub(crate) type Identity = u128;

const EMPTY: u32 = u32::MAX;
const SMALLEST_TABLE: usize = 1024;

/// Hashes an event's identity.
pub(crate) fn identity_of(seed: u64, organization: &str, event: &Event) -> Identity {
    let mut hash = Xxh3::with_seed(seed);
    for part in [organization, event.source(), event.id()] {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.digest128()
}

/// The newest identities, at most a given number.
#[derive(Debug)]
pub(crate) struct Identities {
    window: usize,
    hashes: VecDeque<Identity>,
    /// The low half of each sequence; see [`Self::sequence`].
    lows: VecDeque<u32>,
    newest: Sequence,
    /// Ring positions, counted from `base`, wrapping.
    table: Vec<u32>,
    /// Number of the ring's first position.
    base: u32,
}

impl Identities {
    pub(crate) fn new(window: usize) -> Self {
        Self {
            window: window.min(1 << 30),
            hashes: VecDeque::new(),
            lows: VecDeque::new(),
            newest: 0,
            table: vec![EMPTY; SMALLEST_TABLE],
            base: 0,
        }
    }

    pub(crate) fn window(&self) -> usize {
        self.window
    }

    pub(crate) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Where the event with this identity is.
    pub(crate) fn get(&self, identity: Identity) -> Option<Sequence> {
        let slot = self.find(identity)?;
        self.sequence(self.index(self.table[slot]))
    }

    /// Remembers an identity that is not known yet, under a sequence greater than all before.
    pub(crate) fn insert(&mut self, identity: Identity, sequence: Sequence) {
        if self.window == 0 {
            return;
        }
        // The low halves tell sequences apart only while all lie within 2^32.
        while self.hashes.len() >= self.window || self.oldest().is_some_and(|o| sequence - o > 1 << 31) {
            self.forget_oldest();
        }
        if (self.hashes.len() + 1) * 2 > self.table.len() {
            self.grow();
        }
        // Positions are one number apart from the mark of an empty slot.
        if self.base > u32::MAX - (2 << 30) {
            self.base = 0;
            self.rebuild(self.table.len());
        }
        let position = self.base + self.hashes.len() as u32;
        self.hashes.push_back(identity);
        self.lows.push_back(sequence as u32);
        self.newest = sequence;
        self.place(identity, position);
    }

    /// Takes back every identity at or after `sequence`: the batch was not written.
    pub(crate) fn retract(&mut self, sequence: Sequence) {
        while let Some(last) = self.len().checked_sub(1) {
            match self.sequence(last) {
                Some(newest) if newest >= sequence => {
                    if let Some(slot) = self.hashes.back().copied().and_then(|h| self.find(h)) {
                        self.vacate(slot);
                    }
                    self.hashes.pop_back();
                    self.lows.pop_back();
                    let before = self.lows.back().copied().unwrap_or(0);
                    self.newest = newest.saturating_sub(u64::from((newest as u32).wrapping_sub(before)));
                }
                _ => break,
            }
        }
    }

    /// Forgets what retention removed: everything before `first`.
    pub(crate) fn forget_before(&mut self, first: Sequence) {
        while self.oldest().is_some_and(|oldest| oldest < first) {
            self.forget_oldest();
        }
    }

    /// The identities at or after `from` and before `until`, oldest first.
    pub(crate) fn range(&self, from: Sequence, until: Sequence) -> Vec<(Identity, Sequence)> {
        let all = (0..self.len()).rev();
        let mut found: Vec<_> = all
            .map_while(|n| {
                let sequence = self.sequence(n).filter(|s| *s >= from)?;
                Some((*self.hashes.get(n)?, sequence))
            })
            .filter(|(_, sequence)| *sequence < until)
            .collect();
        found.reverse();
        found
    }

    fn oldest(&self) -> Option<Sequence> {
        self.sequence(0)
    }

    /// The whole sequence at a ring index: the one at most 2^32 before the newest with this low half.
    fn sequence(&self, index: usize) -> Option<Sequence> {
        let low = *self.lows.get(index)?;
        Some(self.newest - u64::from((self.newest as u32).wrapping_sub(low)))
    }

    fn index(&self, position: u32) -> usize {
        (position - self.base) as usize
    }

    fn home(&self, identity: Identity) -> usize {
        identity as usize & (self.table.len() - 1)
    }

    fn find(&self, identity: Identity) -> Option<usize> {
        let mut slot = self.home(identity);
        while self.table[slot] != EMPTY {
            if self.hashes.get(self.index(self.table[slot])) == Some(&identity) {
                return Some(slot);
            }
            slot = (slot + 1) & (self.table.len() - 1);
        }
        None
    }

    fn place(&mut self, identity: Identity, position: u32) {
        let mut slot = self.home(identity);
        while self.table[slot] != EMPTY {
            slot = (slot + 1) & (self.table.len() - 1);
        }
        self.table[slot] = position;
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.hashes.front().copied() else {
            return;
        };
        if let Some(slot) = self.find(oldest) {
            self.vacate(slot);
        }
        self.hashes.pop_front();
        self.lows.pop_front();
        self.base += 1;
    }

    /// Empties a slot and moves up those that were pushed past it.
    fn vacate(&mut self, mut hole: usize) {
        let mask = self.table.len() - 1;
        let mut slot = hole;
        loop {
            slot = (slot + 1) & mask;
            if self.table[slot] == EMPTY {
                break;
            }
            let Some(hash) = self.hashes.get(self.index(self.table[slot])) else {
                break;
            };
            let home = *hash as usize & mask;
            if (slot.wrapping_sub(home) & mask) >= (slot.wrapping_sub(hole) & mask) {
                self.table[hole] = self.table[slot];
                hole = slot;
            }
        }
        self.table[hole] = EMPTY;
    }

    /// Makes room for so many at once.
    pub(crate) fn expect(&mut self, count: usize) {
        let wanted = (count.min(self.window) * 2 + 2).next_power_of_two();
        if wanted > self.table.len() {
            self.hashes.reserve(count);
            self.lows.reserve(count);
            self.rebuild(wanted);
        }
    }

    fn grow(&mut self) {
        self.rebuild(self.table.len() * 2);
    }

    fn rebuild(&mut self, size: usize) {
        self.table = vec![EMPTY; size];
        for n in 0..self.hashes.len() {
            self.place(self.hashes[n], self.base + n as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn organization_source_and_id_do_not_run_into_one_another() {
        let of = |o: &str, s: &str, i: &str| identity_of(1, o, &Event::builder(i, s, "t").build().unwrap());

        let all = [
            of("o", "/s", "1x"),
            of("o", "/s1", "x"),
            of("o/", "s", "1x"),
            of("o", "/", "s1x"),
        ];

        for (n, one) in all.iter().enumerate() {
            assert!(!all[n + 1..].contains(one));
        }
    }

    #[test]
    fn sequences_far_apart_are_told_apart() {
        let mut identities = Identities::new(10);
        identities.insert(1, 5);
        identities.insert(2, (1 << 31) + 5);
        assert_eq!(identities.get(1), Some(5));

        identities.insert(3, (1 << 32) + 5);

        assert_eq!(identities.get(1), None);
        assert_eq!(identities.get(2), Some((1 << 31) + 5));
        assert_eq!(identities.get(3), Some((1 << 32) + 5));
    }

    #[derive(Debug, Clone)]
    enum Act {
        Insert(u8),
        Retract(u8),
        ForgetBefore(u8),
    }

    proptest! {
        #[test]
        fn behaves_like_an_ordered_map_with_a_window(
            acts in proptest::collection::vec(prop_oneof![
                8 => any::<u8>().prop_map(Act::Insert),
                1 => (0u8..5).prop_map(Act::Retract),
                1 => (0u8..20).prop_map(Act::ForgetBefore),
            ], 0..600),
            window in 1usize..40,
        ) {
            let mut identities = Identities::new(window);
            // A tiny table makes probes collide.
            identities.table = vec![EMPTY; 2];
            let mut model: BTreeMap<u64, u128> = BTreeMap::new();
            let mut next = 1u64;
            for act in acts {
                match act {
                    Act::Insert(n) => {
                        let hash = u128::from(n);
                        let known = model.iter().find(|(_, h)| **h == hash).map(|(s, _)| *s);
                        prop_assert_eq!(identities.get(hash), known);
                        if known.is_none() {
                            identities.insert(hash, next);
                            model.insert(next, hash);
                            while model.len() > window {
                                model.pop_first();
                            }
                        }
                        next += 1;
                    }
                    Act::Retract(back) => {
                        let from = next.saturating_sub(back.into());
                        identities.retract(from);
                        model.split_off(&from);
                    }
                    Act::ForgetBefore(back) => {
                        let first = next.saturating_sub(back.into());
                        identities.forget_before(first);
                        model = model.split_off(&first);
                    }
                }
                prop_assert_eq!(identities.len(), model.len());
                let listed: Vec<_> = identities.range(0, u64::MAX).iter().map(|(h, s)| (*s, *h)).collect();
                prop_assert_eq!(listed, model.clone().into_iter().collect::<Vec<_>>());
            }
        }
    }
}
