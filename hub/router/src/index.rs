//! Finds the subscriptions that want an event, at a cost that grows with the matches.
//!
//! Every filter version is filed under the one test (of those that must hold) that fewest others are filed
//! under: a hash of (attribute, value) for `exact`, of the first bytes for `prefix`. What has no such test
//! is tried on every event. Whatever is found is verified with the whole filter, so the shelf can only cost
//! time, never a wrong match. Organizations never meet.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use dispatch_contract::{Event, Sequence};

use crate::filter::Filter;
use crate::subscription::FilterVersion;

/// The index over all subscriptions. `usize` is the caller's name for a subscription.
#[derive(Debug, Default)]
pub struct Index {
    organizations: HashMap<Arc<str>, Shelf>,
    cards: Vec<Option<Card>>,
    free: Vec<usize>,
    filed: HashMap<usize, Vec<usize>>,
    query: u64,
}

/// One filter version of one subscription.
#[derive(Debug)]
struct Card {
    owner: usize,
    organization: Arc<str>,
    from: Sequence,
    until: Sequence,
    filter: Filter,
    keys: Vec<Key>,
    seen: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    Exact(String, String),
    Prefix(String, String),
    Rest,
}

/// The cards of one organization.
#[derive(Debug, Default)]
struct Shelf {
    exact: HashMap<String, HashMap<String, Vec<usize>>>,
    prefix: HashMap<String, Prefixes>,
    rest: Vec<usize>,
}

#[derive(Debug, Default)]
struct Prefixes {
    lengths: BTreeMap<usize, usize>,
    cards: HashMap<String, Vec<usize>>,
}

impl Index {
    /// Files a subscription's filters, replacing what was filed for it. Versions that ended at or before
    /// `looked` will not be asked for any more and are left out.
    pub fn put(
        &mut self,
        owner: usize,
        organization: &Arc<str>,
        versions: &[FilterVersion],
        looked: Sequence,
    ) {
        self.remove(owner);
        let mut filed = Vec::with_capacity(1);
        for (n, version) in versions.iter().enumerate() {
            let until = versions.get(n + 1).map_or(Sequence::MAX, |next| next.from);
            if until <= looked.saturating_add(1) {
                continue;
            }
            let shelf = self.organizations.entry(organization.clone()).or_default();
            let keys = shelf.keys(&version.filter).unwrap_or_else(|| vec![Key::Rest]);
            let id = self.free.pop().unwrap_or(self.cards.len());
            for key in &keys {
                shelf.file(key, id);
            }
            let card = Card {
                owner,
                organization: organization.clone(),
                from: version.from,
                until,
                filter: version.filter.clone(),
                keys,
                seen: 0,
            };
            match self.cards.get_mut(id) {
                Some(place) => *place = Some(card),
                None => self.cards.push(Some(card)),
            }
            filed.push(id);
        }
        if !filed.is_empty() {
            self.filed.insert(owner, filed);
        }
    }

    /// Forgets a subscription.
    pub fn remove(&mut self, owner: usize) {
        for id in self.filed.remove(&owner).unwrap_or_default() {
            let Some(card) = self.cards.get_mut(id).and_then(Option::take) else {
                continue;
            };
            self.free.push(id);
            if let Some(shelf) = self.organizations.get_mut(&card.organization) {
                for key in &card.keys {
                    shelf.unfile(key, id);
                }
                if shelf.is_empty() {
                    self.organizations.remove(&card.organization);
                }
            }
        }
    }

    /// Adds to `out` every subscription whose filter, as it was in force at `sequence`, wants the event.
    pub fn matches(&mut self, organization: &str, sequence: Sequence, event: &Event, out: &mut Vec<usize>) {
        self.query += 1;
        let (query, cards) = (self.query, &mut self.cards);
        let Some(shelf) = self.organizations.get(organization) else {
            return;
        };
        let mut verify = |ids: &[usize]| {
            for id in ids {
                let Some(Some(card)) = cards.get_mut(*id) else {
                    continue;
                };
                if card.seen == query || sequence < card.from || sequence >= card.until {
                    continue;
                }
                card.seen = query;
                if card.filter.matches(event) {
                    out.push(card.owner);
                }
            }
        };
        if !(shelf.exact.is_empty() && shelf.prefix.is_empty()) {
            for attribute in event.attributes() {
                if let Some(ids) = shelf
                    .exact
                    .get(attribute.name)
                    .and_then(|values| values.get(attribute.text))
                {
                    verify(ids);
                }
                let Some(prefixes) = shelf.prefix.get(attribute.name) else {
                    continue;
                };
                for (length, _) in prefixes.lengths.range(..=attribute.text.len()) {
                    let start = attribute.text.get(..*length);
                    if let Some(ids) = start.and_then(|start| prefixes.cards.get(start)) {
                        verify(ids);
                    }
                }
            }
        }
        verify(&shelf.rest);
    }
}

impl Shelf {
    /// Where to file a filter: keys of which at least one is met by every event the filter accepts. `None`
    /// when there are none.
    fn keys(&self, filter: &Filter) -> Option<Vec<Key>> {
        let fileable = |name: &String| name != "specversion";
        match filter {
            Filter::Exact(tests) => tests
                .iter()
                .filter(|(name, _)| fileable(name))
                .map(|(name, value)| vec![Key::Exact(name.clone(), value.clone())])
                .min_by_key(|keys| self.cost(keys)),
            Filter::Prefix(tests) => tests
                .iter()
                .filter(|(name, _)| fileable(name))
                .map(|(name, value)| vec![Key::Prefix(name.clone(), value.clone())])
                .min_by_key(|keys| self.cost(keys)),
            Filter::All(filters) => filters
                .iter()
                .filter_map(|f| self.keys(f))
                .min_by_key(|keys| self.cost(keys)),
            Filter::Any(filters) => {
                let each: Option<Vec<_>> = filters.iter().map(|f| self.keys(f)).collect();
                let mut all: Vec<Key> = Vec::new();
                for key in each?.into_iter().flatten() {
                    if !all.contains(&key) {
                        all.push(key);
                    }
                }
                Some(all)
            }
            Filter::Suffix(_) | Filter::Not(_) => None,
        }
    }

    /// How much is filed there already; then, how little the keys say.
    fn cost(&self, keys: &[Key]) -> (usize, usize) {
        /// A prefix costs a hash per length in use, even where it finds nothing.
        const PREFIX: usize = 4;
        let filed = keys.iter().map(|key| match key {
            Key::Exact(name, value) => self
                .exact
                .get(name)
                .and_then(|values| values.get(value))
                .map_or(0, Vec::len),
            Key::Prefix(name, value) => {
                let cards = self.prefix.get(name).and_then(|p| p.cards.get(value));
                PREFIX + cards.map_or(0, Vec::len)
            }
            Key::Rest => self.rest.len(),
        });
        let length = |key: &Key| match key {
            Key::Exact(_, value) | Key::Prefix(_, value) => value.len(),
            Key::Rest => 0,
        };
        let said = keys.iter().map(length).min().unwrap_or_default();
        (filed.sum(), usize::MAX - said)
    }

    fn file(&mut self, key: &Key, id: usize) {
        match key {
            Key::Exact(name, value) => {
                let values = self.exact.entry(name.clone()).or_default();
                values.entry(value.clone()).or_default().push(id);
            }
            Key::Prefix(name, value) => {
                let prefixes = self.prefix.entry(name.clone()).or_default();
                *prefixes.lengths.entry(value.len()).or_default() += 1;
                prefixes.cards.entry(value.clone()).or_default().push(id);
            }
            Key::Rest => self.rest.push(id),
        }
    }

    fn unfile(&mut self, key: &Key, id: usize) {
        match key {
            Key::Exact(name, value) => {
                let Some(values) = self.exact.get_mut(name) else {
                    return;
                };
                take_out(values, value, id);
                if values.is_empty() {
                    self.exact.remove(name);
                }
            }
            Key::Prefix(name, value) => {
                let Some(prefixes) = self.prefix.get_mut(name) else {
                    return;
                };
                take_out(&mut prefixes.cards, value, id);
                if let Some(count) = prefixes.lengths.get_mut(&value.len()) {
                    *count -= 1;
                    if *count == 0 {
                        prefixes.lengths.remove(&value.len());
                    }
                }
                if prefixes.cards.is_empty() {
                    self.prefix.remove(name);
                }
            }
            Key::Rest => swap_out(&mut self.rest, id),
        }
    }

    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefix.is_empty() && self.rest.is_empty()
    }
}

fn take_out(cards: &mut HashMap<String, Vec<usize>>, value: &str, id: usize) {
    if let Some(ids) = cards.get_mut(value) {
        swap_out(ids, id);
        if ids.is_empty() {
            cards.remove(value);
        }
    }
}

fn swap_out(ids: &mut Vec<usize>, id: usize) {
    if let Some(place) = ids.iter().position(|other| *other == id) {
        ids.swap_remove(place);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 5] = ["type", "source", "subject", "tenant", "specversion"];
    const VALUES: [&str; 8] = ["a", "ab", "abc", "ä", "äb", "dispatch.", "dispatch.a", "1.0"];

    fn tests() -> impl Strategy<Value = Vec<(String, String)>> {
        let test = (0..NAMES.len(), 0..VALUES.len()).prop_map(|(n, v)| (NAMES[n].into(), VALUES[v].into()));
        proptest::collection::vec(test, 1..3)
    }

    fn filter() -> impl Strategy<Value = Filter> {
        let leaf = prop_oneof![
            tests().prop_map(Filter::Exact),
            tests().prop_map(Filter::Prefix),
            tests().prop_map(Filter::Suffix),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Filter::All),
                proptest::collection::vec(inner.clone(), 1..3).prop_map(Filter::Any),
                inner.prop_map(|f| Filter::Not(Box::new(f))),
            ]
        })
    }

    fn event() -> impl Strategy<Value = Event> {
        let value = || 0..VALUES.len();
        (
            value(),
            value(),
            proptest::option::of(value()),
            proptest::option::of(value()),
        )
            .prop_map(|(ty, source, subject, tenant)| {
                let mut builder = Event::builder("1", VALUES[source], VALUES[ty]);
                if let Some(subject) = subject {
                    builder = builder.subject(VALUES[subject]);
                }
                if let Some(tenant) = tenant {
                    builder = builder.attribute("tenant", VALUES[tenant]);
                }
                builder.build().unwrap()
            })
    }

    fn versions() -> impl Strategy<Value = Vec<FilterVersion>> {
        proptest::collection::vec((1u64..5, filter()), 0..3).prop_map(|list| {
            let mut from = 0;
            let version = |(step, filter)| {
                from += step;
                FilterVersion { from, filter }
            };
            list.into_iter().map(version).collect()
        })
    }

    proptest! {
        #[test]
        fn the_index_finds_what_a_linear_search_finds(
            subscriptions in proptest::collection::vec((0usize..2, versions(), 0u8..3, versions()), 1..24),
            events in proptest::collection::vec((0usize..2, 1u64..10, event()), 1..12),
        ) {
            let organizations: [Arc<str>; 2] = ["one".into(), "two".into()];
            let mut index = Index::default();
            let mut linear: BTreeMap<usize, (usize, Vec<FilterVersion>)> = BTreeMap::new();
            for (owner, (organization, first, then, second)) in subscriptions.into_iter().enumerate() {
                index.put(owner, &organizations[organization], &first, 0);
                linear.insert(owner, (organization, first));
                match then {
                    0 => {
                        index.remove(owner);
                        linear.remove(&owner);
                    }
                    1 => {
                        index.put(owner, &organizations[organization], &second, 0);
                        linear.insert(owner, (organization, second));
                    }
                    _ => {}
                }
            }

            for (organization, sequence, event) in events {
                let mut found = Vec::new();
                index.matches(&organizations[organization], sequence, &event, &mut found);
                found.sort_unstable();

                let want: Vec<usize> = linear
                    .iter()
                    .filter(|(_, (org, versions))| *org == organization
                        && versions.iter().rev().find(|v| v.from <= sequence)
                            .is_some_and(|v| v.filter.matches(&event)))
                    .map(|(owner, _)| *owner)
                    .collect();
                prop_assert_eq!(found, want);
            }

            for owner in linear.keys() {
                index.remove(*owner);
            }
            prop_assert!(index.organizations.is_empty() && index.filed.is_empty());
        }
    }

    #[test]
    fn a_filter_is_filed_where_fewest_others_are() {
        let organization: Arc<str> = "o".into();
        let mut index = Index::default();
        for owner in 0..100 {
            let filter = Filter::All(vec![
                Filter::exact("type", "the.same.long.type.for.all"),
                Filter::exact("tenant", format!("t{owner}")),
            ]);
            index.put(owner, &organization, &[FilterVersion { from: 0, filter }], 0);
        }

        let shelf = &index.organizations[&organization];

        assert_eq!(shelf.exact["type"]["the.same.long.type.for.all"].len(), 1);
        assert_eq!(shelf.exact["tenant"].len(), 99);
    }
}
