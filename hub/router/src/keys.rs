//! Order by key: which of a lane's events wait for an earlier one of their key.
//!
//! The owed events of a key are its *line*, in the order of the log. Only the first of a line is out: queued,
//! under way, or waiting for its next attempt. A few of those behind it are in memory; the others are *set
//! aside*: no more than their sequence is kept, and they are read from the log again when their turn is near.
//! What is set aside is always the end of a line, so it comes back in order.
//!
//! A key whose first event failed for good is *parked*: its whole line is set aside until somebody says to try
//! again, or it is *given up*, and its events end as dead letters, in order.
//!
//! A key is known by its hash alone. Should two keys have the same one, they share a line, which is still in
//! order.

use std::collections::hash_map::{Entry, RandomState};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::Duration;

use dispatch_contract::{Attempt, Sequence};

/// A key, by its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key(u64);

#[derive(Debug, Default)]
pub(crate) struct Keys {
    hasher: RandomState,
    lines: HashMap<Key, Line>,
    aside: BTreeMap<Sequence, Aside>,
    /// Those set aside that are to come back.
    wanted: BTreeSet<Sequence>,
    /// Since when, the parked event, its key.
    parked: BTreeSet<(Duration, Sequence, Key)>,
    given_up: usize,
    /// Events in memory that wait for an earlier one.
    behind: usize,
}

/// An event that is not in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Aside {
    pub(crate) key: Key,
    /// Its number among the events its lane took.
    pub(crate) number: u64,
}

#[derive(Debug)]
struct Line {
    first: Sequence,
    later: VecDeque<Sequence>,
    state: State,
}

#[derive(Debug)]
enum State {
    Open,
    Parked {
        since: Duration,
        failed: Box<Failed>,
    },
    /// Its events up to and with `through` become dead letters.
    GivenUp {
        through: Sequence,
        why: Arc<str>,
        failed: Option<Box<Failed>>,
    },
}

/// What is known of the attempts of a parked event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) attempts: u32,
    pub(crate) failures: Vec<Attempt>,
}

/// Where an event of a key goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nothing of its key is owed.
    First,
    /// Behind others, in memory.
    Behind,
    /// Behind others, by its sequence alone.
    Aside,
    /// It would be set aside, and too many are.
    NoRoom,
}

/// An event that is to be given up.
#[derive(Debug)]
pub(crate) struct GivenUp {
    pub(crate) why: Arc<str>,
    /// The attempts before its key was parked; `None` for those behind it.
    pub(crate) failed: Option<Box<Failed>>,
}

impl Keys {
    pub(crate) fn key(&self, text: &str) -> Key {
        Key(self.hasher.hash_one(text))
    }

    /// Takes in a new event of a key, later than all others of that key. At most `share` wait in memory and at
    /// most `most` by their sequence.
    pub(crate) fn join(
        &mut self,
        key: Key,
        sequence: Sequence,
        number: u64,
        share: usize,
        most: usize,
    ) -> Place {
        let line = match self.lines.entry(key) {
            Entry::Vacant(place) => {
                place.insert(Line {
                    first: sequence,
                    later: VecDeque::new(),
                    state: State::Open,
                });
                return Place::First;
            }
            Entry::Occupied(line) => line.into_mut(),
        };
        let last = line.later.back().copied().unwrap_or(line.first);
        if self.behind < share && !self.aside.contains_key(&last) {
            line.later.push_back(sequence);
            self.behind += 1;
            return Place::Behind;
        }
        if self.aside.len() >= most {
            return Place::NoRoom;
        }
        line.later.push_back(sequence);
        if !matches!(line.state, State::Parked { .. }) {
            self.wanted.insert(sequence);
        }
        self.aside.insert(sequence, Aside { key, number });
        Place::Aside
    }

    /// The first of a line is settled. Returns the event that is out from now on, if it is in memory.
    pub(crate) fn leave(&mut self, key: Key) -> Option<Sequence> {
        let line = self.lines.get_mut(&key)?;
        let next = line.later.pop_front();
        if let State::GivenUp { through, .. } = line.state
            && next.is_none_or(|next| next > through)
        {
            line.state = State::Open;
            self.given_up -= 1;
        }
        let Some(next) = next else {
            self.lines.remove(&key);
            return None;
        };
        line.first = next;
        if self.aside.contains_key(&next) {
            return None;
        }
        self.behind -= 1;
        Some(next)
    }

    /// The first of a line failed for good. Returns what of the line is in memory, the first included: all of
    /// it is to be [`put_aside`](Self::put_aside).
    pub(crate) fn park(&mut self, now: Duration, key: Key, failed: Failed) -> Vec<Sequence> {
        let Some(line) = self.lines.get_mut(&key) else {
            return Vec::new();
        };
        let mut in_memory = vec![line.first];
        for sequence in &line.later {
            if !self.wanted.remove(sequence) {
                in_memory.push(*sequence);
            }
        }
        self.behind -= in_memory.len() - 1;
        line.state = State::Parked {
            since: now,
            failed: Box::new(failed),
        };
        self.parked.insert((now, line.first, key));
        in_memory
    }

    /// An event of a parked key leaves memory.
    pub(crate) fn put_aside(&mut self, sequence: Sequence, aside: Aside) {
        self.aside.insert(sequence, aside);
    }

    /// Ends the parking of a key: its events are tried again in order; with `skip` all but the first, which is
    /// given up. Returns whether it was parked.
    pub(crate) fn unpark(&mut self, key: Key, skip: bool) -> bool {
        let first = self.lines.get(&key).map(|line| line.first);
        let skip = first
            .filter(|_| skip)
            .map(|first| (first, "skipped by command".into()));
        self.open(key, skip)
    }

    /// All parked keys, the first parked first.
    pub(crate) fn parked_keys(&self) -> Vec<Key> {
        self.parked.iter().map(|(_, _, key)| *key).collect()
    }

    /// Gives up a parked key with all its events.
    pub(crate) fn give_up(&mut self, key: Key, why: &str) {
        let last = self
            .lines
            .get(&key)
            .map(|line| line.later.back().copied().unwrap_or(line.first));
        self.open(key, last.map(|last| (last, why.into())));
    }

    /// Gives up the key that has been parked longest, unless another one is still being given up.
    pub(crate) fn give_up_oldest(&mut self, why: &str) {
        if let Some((_, _, key)) = self.parked.first().copied().filter(|_| self.given_up == 0) {
            self.give_up(key, why);
        }
    }

    /// Gives up what was parked at `until` or before.
    pub(crate) fn give_up_since(&mut self, until: Duration, why: &str) {
        while let Some((since, _, key)) = self.parked.first().copied()
            && since <= until
        {
            self.give_up(key, why);
        }
    }

    fn open(&mut self, key: Key, give_up: Option<(Sequence, Arc<str>)>) -> bool {
        let Some(line) = self.lines.get_mut(&key) else {
            return false;
        };
        let failed = match &mut line.state {
            State::Parked { since, failed } => {
                self.parked.remove(&(*since, line.first, key));
                std::mem::take(failed)
            }
            State::Open | State::GivenUp { .. } => return false,
        };
        line.state = match give_up {
            None => State::Open,
            Some((through, why)) => {
                self.given_up += 1;
                let failed = Some(failed);
                State::GivenUp { through, why, failed }
            }
        };
        self.wanted.insert(line.first);
        self.wanted.extend(&line.later);
        true
    }

    /// Whether the event is to become a dead letter without a further attempt.
    pub(crate) fn given_up(&mut self, key: Key, sequence: Sequence) -> Option<GivenUp> {
        match &mut self.lines.get_mut(&key)?.state {
            State::GivenUp { through, why, failed } if sequence <= *through => Some(GivenUp {
                why: why.clone(),
                failed: failed.take(),
            }),
            _ => None,
        }
    }

    /// The next event to come back; nothing while it would only wait in memory, where `share` wait already.
    pub(crate) fn wanted(&self, share: usize) -> Option<Sequence> {
        let sequence = self.wanted.first().copied()?;
        (self.behind < share || self.is_first(sequence)).then_some(sequence)
    }

    pub(crate) fn has_wanted(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// An event is back in memory: it is out, or waits behind others.
    pub(crate) fn back(&mut self, sequence: Sequence) -> Option<(Aside, Place)> {
        self.wanted.remove(&sequence);
        let aside = self.aside.remove(&sequence)?;
        if self.is_first_of(aside.key, sequence) {
            return Some((aside, Place::First));
        }
        self.behind += 1;
        Some((aside, Place::Behind))
    }

    fn is_first(&self, sequence: Sequence) -> bool {
        let aside = self.aside.get(&sequence);
        aside.is_some_and(|aside| self.is_first_of(aside.key, sequence))
    }

    fn is_first_of(&self, key: Key, sequence: Sequence) -> bool {
        self.lines.get(&key).is_some_and(|line| line.first == sequence)
    }

    /// An event that was set aside is no longer in the log. Returns the event that is out from now on, if that
    /// is another one in memory.
    pub(crate) fn lose(&mut self, sequence: Sequence) -> Option<Sequence> {
        self.wanted.remove(&sequence);
        let aside = self.aside.remove(&sequence)?;
        if self.is_first_of(aside.key, sequence) {
            return self.leave(aside.key);
        }
        if let Some(line) = self.lines.get_mut(&aside.key) {
            line.later.retain(|later| *later != sequence);
        }
        None
    }

    /// The oldest event that is set aside.
    pub(crate) fn oldest_aside(&self) -> Option<(Sequence, Aside)> {
        self.aside.first_key_value().map(|(s, aside)| (*s, *aside))
    }

    /// All that are set aside, oldest first; those that are parked with their attempts.
    pub(crate) fn all_aside(&self) -> impl Iterator<Item = (Sequence, Option<&Failed>)> {
        self.aside.iter().map(|(sequence, aside)| {
            let line = self.lines.get(&aside.key).filter(|line| line.first == *sequence);
            let failed = line.and_then(|line| match &line.state {
                State::Parked { failed, .. } => Some(&**failed),
                State::Open | State::GivenUp { .. } => None,
            });
            (*sequence, failed)
        })
    }

    /// Since when the key is parked that has been parked longest.
    pub(crate) fn parked_since(&self) -> Option<Duration> {
        self.parked.first().map(|(since, ..)| *since)
    }
    /// How many keys are parked.
    pub(crate) fn parked(&self) -> usize {
        self.parked.len()
    }
    /// How many events are set aside.
    pub(crate) fn aside(&self) -> usize {
        self.aside.len()
    }
    /// How many events in memory wait for an earlier one.
    pub(crate) fn behind(&self) -> usize {
        self.behind
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}
