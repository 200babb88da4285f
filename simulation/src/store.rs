//! What the hub keeps of its subscriptions: durable at once, changed before the router is told.
//!
//! The real hub keeps this in a database of its own; here it never fails. Filters are kept with the first sequence
//! they judge, and trimmed by the router's floor, exactly as the hub does.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dispatch_contract::{
    BackoffPolicy, Committed, DeliverySpec, Order, Progress, Rate, Sequence, SubscriptionId,
};
use dispatch_router::{FilterVersion, Subscription};

use crate::dice::Dice;
use crate::events::{ORGANIZATIONS, filter};
use crate::sinks::{Health, SimSink, Temper};
use crate::witness::Witness;

/// A subscription as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    /// Its identity.
    pub(crate) id: SubscriptionId,
    /// Its name.
    pub(crate) name: Arc<str>,
    /// Whose events it sees.
    pub(crate) organization: Arc<str>,
    /// The head when it was made: it owes what comes after.
    pub(crate) since: Sequence,
    /// How hard it tries.
    pub(crate) delivery: DeliverySpec,
    /// All filters it ever had.
    pub(crate) filters: Vec<FilterVersion>,
    /// Those that are still needed.
    needed: Vec<FilterVersion>,
    temper: Temper,
    dead_letters: bool,
}

impl Stored {
    /// Whether an event is for it.
    pub(crate) fn wants(&self, sequence: Sequence, committed: &Committed) -> bool {
        if sequence <= self.since || committed.organization != self.organization {
            return false;
        }
        match committed.target {
            Some(target) => target == self.id,
            None => {
                let judge = self.filters.iter().rev().find(|version| version.from <= sequence);
                judge.is_some_and(|version| version.filter.matches(&committed.event))
            }
        }
    }
}

/// All subscriptions.
#[derive(Debug)]
pub(crate) struct Store {
    /// Those that are.
    pub(crate) live: Vec<Stored>,
    /// Those that were.
    pub(crate) gone: Vec<Stored>,
    named: u128,
    witness: Arc<Witness>,
    health: Arc<Health>,
    dice: Dice,
}

impl Store {
    /// No subscriptions yet.
    pub(crate) fn new(witness: Arc<Witness>, health: Arc<Health>, dice: Dice) -> Self {
        Self {
            live: Vec::new(),
            gone: Vec::new(),
            named: 0,
            witness,
            health,
            dice,
        }
    }

    /// Makes a subscription that judges what comes after `head`; returns its place.
    pub(crate) fn create(&mut self, head: Sequence) -> usize {
        self.named += 1;
        let dice = &mut self.dice;
        // One in six gets only what is aimed at it, as a function's own does.
        let filters = (!dice.chance(170)).then(|| FilterVersion {
            from: head + 1,
            filter: filter(dice),
        });
        let filters: Vec<_> = filters.into_iter().collect();
        let stored = Stored {
            id: SubscriptionId(uuid::Uuid::from_u128(self.named)),
            name: format!("s{}", self.named).into(),
            organization: (*dice.pick(ORGANIZATIONS)).into(),
            since: head,
            delivery: delivery(dice),
            needed: filters.clone(),
            filters,
            temper: Temper::any(dice),
            dead_letters: dice.chance(300),
        };
        self.live.push(stored);
        self.live.len() - 1
    }

    /// Changes a subscription somehow: its filters, its settings or its sinks.
    pub(crate) fn change(&mut self, place: usize, head: Sequence, floor: Sequence) {
        let dice = &mut self.dice;
        let stored = &mut self.live[place];
        match dice.below(3) {
            0 if !stored.filters.is_empty() => {
                let version = FilterVersion {
                    from: head + 1,
                    filter: filter(dice),
                };
                go_on(&mut stored.filters, version.clone());
                go_on(&mut stored.needed, version);
                let over = stored
                    .needed
                    .iter()
                    .skip(1)
                    .take_while(|next| next.from <= floor + 1)
                    .count();
                stored.needed.drain(..over);
            }
            1 => stored.delivery = delivery(dice),
            _ => {
                stored.temper = Temper::any(dice);
                stored.dead_letters = dice.chance(300);
            }
        }
    }

    /// Removes a subscription; what it owes is dropped.
    pub(crate) fn remove(&mut self, place: usize) -> SubscriptionId {
        let stored = self.live.remove(place);
        let id = stored.id;
        self.gone.push(stored);
        id
    }

    /// A subscription as the router gets it.
    pub(crate) fn lane(
        &mut self,
        place: usize,
        progress: &HashMap<SubscriptionId, Progress>,
    ) -> Subscription {
        let stored = self.live[place].clone();
        self.witness.allow(stored.id, &stored.delivery);
        let mut sink = |dead_letters| {
            let (witness, health) = (self.witness.clone(), self.health.clone());
            let temper = if dead_letters {
                Temper::any(&mut self.dice)
            } else {
                stored.temper
            };
            Arc::new(SimSink::new(
                witness,
                health,
                temper,
                dead_letters,
                self.dice.split(),
            ))
        };
        let known = progress.get(&stored.id).cloned();
        Subscription {
            id: stored.id,
            organization: stored.organization.clone(),
            name: stored.name.clone(),
            filters: stored.needed.clone(),
            sink: sink(false),
            dead_letter_sink: stored.dead_letters.then(|| sink(true) as _),
            delivery: stored.delivery.clone(),
            progress: known.unwrap_or_else(|| Progress {
                through: stored.since,
                ..Progress::default()
            }),
        }
    }
}

fn go_on(filters: &mut Vec<FilterVersion>, version: FilterVersion) {
    filters.retain(|before| before.from < version.from);
    filters.push(version);
}

fn delivery(dice: &mut Dice) -> DeliverySpec {
    DeliverySpec {
        retry: dice.between(0, 5) as u32,
        backoff_policy: *dice.pick(&[BackoffPolicy::Linear, BackoffPolicy::Exponential]),
        backoff_delay: Duration::from_millis(dice.between(5, 300)),
        timeout: Duration::from_millis(dice.between(100, 2000)),
        max_in_flight: dice.between(1, 8) as usize,
        order: *dice.pick(&[Order::None, Order::Key]),
        rate: match dice.chance(100) {
            true => Rate::per_second(dice.between(5, 200) as f64),
            false => None,
        },
    }
}
