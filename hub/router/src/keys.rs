//! Order by key: which of a lane's events wait for an earlier one of their key.
//!
//! The owed events of a key are its *line*, in the order of the log. Only the first of a line is out: queued,
//! under way, or waiting for its next attempt. A few of those behind it are in memory; the others are *set
//! aside*: no more than their sequence is kept, and they are read from the log again when their turn is near.
//! What is set aside is always the end of a line, and of each line only the first set aside is asked back, so it
//! comes back in order. Lines whose first event is set aside come before those that only want a reserve.
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
    /// Firsts of lines that are set aside and would be out.
    heads: BTreeSet<Sequence>,
    /// Of the other lines that want more in memory, the first that is set aside.
    reserve: BTreeSet<Sequence>,
    /// Since when, the parked event, its key.
    parked: BTreeSet<(Duration, Sequence, Key)>,
    given_up: usize,
    /// Events in memory that wait for an earlier one.
    behind: usize,
}

/// What may wait in memory for an earlier event of its key, and what by its sequence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// In memory, of one key.
    pub(crate) of_a_key: usize,
    /// In memory, of all keys.
    pub(crate) behind: usize,
    /// Set aside.
    pub(crate) aside: usize,
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
    /// So many of them, from the first, are in memory.
    in_memory: usize,
    state: State,
}

impl Line {
    fn last(&self) -> Sequence {
        self.later.back().copied().unwrap_or(self.first)
    }
    /// The first that is set aside.
    fn first_aside(&self) -> Option<Sequence> {
        match self.in_memory.checked_sub(1) {
            None => Some(self.first),
            Some(later) => self.later.get(later).copied(),
        }
    }
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

    /// Takes in a new event of a key, later than all others of that key.
    pub(crate) fn join(&mut self, key: Key, sequence: Sequence, number: u64, room: Room) -> Place {
        let line = match self.lines.entry(key) {
            Entry::Vacant(place) => {
                place.insert(Line {
                    first: sequence,
                    later: VecDeque::new(),
                    in_memory: 1,
                    state: State::Open,
                });
                return Place::First;
            }
            Entry::Occupied(line) => line.into_mut(),
        };
        if line.first_aside().is_none() && line.in_memory <= room.of_a_key && self.behind < room.behind {
            line.later.push_back(sequence);
            line.in_memory += 1;
            self.behind += 1;
            return Place::Behind;
        }
        if self.aside.len() >= room.aside {
            return Place::NoRoom;
        }
        line.later.push_back(sequence);
        self.aside.insert(sequence, Aside { key, number });
        self.want(key, room);
        Place::Aside
    }

    /// The first of a line is settled. Returns the event that is out from now on, if it is in memory.
    pub(crate) fn leave(&mut self, key: Key, room: Room) -> Option<Sequence> {
        self.unwant(key);
        let line = self.lines.get_mut(&key)?;
        line.in_memory -= 1;
        let next = self.advance(key, room)?;
        let ready = self.lines.get(&key).is_some_and(|line| line.in_memory > 0);
        self.behind -= usize::from(ready);
        ready.then_some(next)
    }

    /// Takes the first of a line out. Returns the one behind it.
    fn advance(&mut self, key: Key, room: Room) -> Option<Sequence> {
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
        self.want(key, room);
        Some(next)
    }

    /// Asks for what a line wants back.
    fn want(&mut self, key: Key, room: Room) {
        let Some(line) = self.lines.get(&key) else {
            return;
        };
        let parked = matches!(line.state, State::Parked { .. });
        let Some(aside) = line.first_aside().filter(|_| !parked) else {
            return;
        };
        if line.in_memory == 0 {
            self.heads.insert(aside);
        } else if line.in_memory <= room.of_a_key {
            self.reserve.insert(aside);
        }
    }

    /// Asks for nothing of a line any more.
    fn unwant(&mut self, key: Key) {
        if let Some(aside) = self.lines.get(&key).and_then(Line::first_aside)
            && !self.heads.remove(&aside)
        {
            self.reserve.remove(&aside);
        }
    }

    /// The first of a line failed for good. Returns what of the line is in memory, the first included: all of
    /// it is to be [`put_aside`](Self::put_aside).
    pub(crate) fn park(&mut self, now: Duration, key: Key, failed: Failed) -> Vec<Sequence> {
        self.unwant(key);
        let Some(line) = self.lines.get_mut(&key) else {
            return Vec::new();
        };
        let mut in_memory = vec![line.first];
        in_memory.extend(line.later.iter().take(line.in_memory - 1));
        self.behind -= in_memory.len() - 1;
        line.in_memory = 0;
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
        let last = self.lines.get(&key).map(Line::last);
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
        self.heads.insert(line.first);
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

    /// The next event to come back, from `from` on: none for the reserve while enough wait in memory.
    pub(crate) fn wanted(&self, from: Sequence, room: Room) -> Option<Sequence> {
        let reserve = || self.reserve.range(from..).next();
        let next = self.heads.range(from..).next();
        next.or_else(|| reserve().filter(|_| self.behind < room.behind))
            .copied()
    }

    pub(crate) fn has_wanted(&self) -> bool {
        !(self.heads.is_empty() && self.reserve.is_empty())
    }

    /// A wanted event is back in memory: it is out, or waits behind others.
    pub(crate) fn back(&mut self, sequence: Sequence, room: Room) -> Option<(Aside, Place)> {
        let aside = self.aside.remove(&sequence)?;
        self.unwant(aside.key);
        let line = self.lines.get_mut(&aside.key)?;
        line.in_memory += 1;
        let first = line.in_memory == 1;
        self.behind += usize::from(!first);
        self.want(aside.key, room);
        let place = match first {
            true => Place::First,
            false => Place::Behind,
        };
        Some((aside, place))
    }

    /// A wanted event is no longer in the log.
    pub(crate) fn lose(&mut self, sequence: Sequence, room: Room) {
        let Some(aside) = self.aside.remove(&sequence) else {
            return;
        };
        self.unwant(aside.key);
        let Some(line) = self.lines.get_mut(&aside.key) else {
            return;
        };
        match line.in_memory.checked_sub(1) {
            None => {
                self.advance(aside.key, room);
            }
            Some(later) => {
                line.later.remove(later);
                self.want(aside.key, room);
            }
        }
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
