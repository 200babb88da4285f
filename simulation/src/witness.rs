//! What the world outside saw: every receipt a producer got, every delivery a sink was given.
//!
//! None of it is forgotten in a crash. What can be judged at once is judged here; the rest in `checks.rs`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dispatch_contract::{
    Committed, Delivery, DeliverySpec, Event, Order, Placed, Progress, Sequence, Settlement, SubscriptionId,
};
use dispatch_router::{DeliveryInfo, Observer};
use tokio::sync::Notify;

use crate::trace::Trace;

/// One delivery attempt, as its sink saw it.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    /// In which life of the hub.
    pub(crate) life: usize,
    /// To the dead letter sink.
    pub(crate) dead_letter: bool,
    /// When the sink answered that it took the event, since the world began.
    pub(crate) taken: Option<Duration>,
}

/// An event somebody posted.
#[derive(Debug, Clone)]
pub(crate) struct Posted {
    /// What was posted.
    pub(crate) event: Event,
    /// The sequence of the first receipt.
    pub(crate) receipt: Option<Sequence>,
}

/// (organization, source, id).
pub(crate) type Name = (String, String, String);

/// The name of an event.
pub(crate) fn name(organization: &str, event: &Event) -> Name {
    (
        organization.to_owned(),
        event.source().to_owned(),
        event.id().to_owned(),
    )
}

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// Which life this is, from 1.
    pub(crate) life: usize,
    /// Events by name; without those for one subscription only.
    pub(crate) posted: BTreeMap<Name, Posted>,
    /// Events for one subscription only, by their id, with the sequence of the receipt.
    pub(crate) aimed: BTreeMap<String, Option<Sequence>>,
    /// Ids of the events sinks answered with.
    pub(crate) replies: BTreeSet<String>,
    /// All attempts.
    pub(crate) given: BTreeMap<(SubscriptionId, Sequence), Vec<Given>>,
    /// Receipts of drivers: the last checkpoint that was acknowledged.
    pub(crate) checkpoints: BTreeMap<(String, String), u64>,
    /// What each subscription had behind it as this life began.
    pub(crate) progress: HashMap<SubscriptionId, Progress>,
    /// The most attempts a subscription was ever allowed at once.
    most_at_once: BTreeMap<SubscriptionId, usize>,
    /// Who keeps order by key.
    ordered: BTreeMap<SubscriptionId, bool>,
    /// Who began or ceased to in this life: what is under way then is in no order.
    turning: BTreeSet<SubscriptionId>,
    /// The newest event of each key that was given in this life.
    newest: BTreeMap<(SubscriptionId, String), Sequence>,
    /// The most attempts of the whole router.
    most_at_once_of_all: usize,
    at_once: BTreeMap<SubscriptionId, usize>,
    routed: BTreeSet<Sequence>,
    settled: BTreeSet<(SubscriptionId, Sequence)>,
    /// What must not have happened.
    broken: Vec<String>,
}

impl Book {
    /// The most attempts a subscription was ever allowed at once.
    pub(crate) fn most_at_once_of(&self, id: SubscriptionId) -> usize {
        self.most_at_once.get(&id).copied().unwrap_or(usize::MAX / 2)
    }

    /// What is wrong with giving this event now to somebody who keeps order.
    fn out_of_order(&mut self, delivery: &Delivery) -> Option<String> {
        let (id, sequence) = (delivery.subscription, delivery.sequence);
        let key = delivery.event.key()?;
        if self.ordered.get(&id) != Some(&true) || self.turning.contains(&id) {
            return None;
        }
        let who = &delivery.subscription_name;
        let before = self.newest.insert((id, key.to_owned()), sequence)?;
        if before > sequence {
            return Some(format!(
                "{who} was given {sequence} after {before}, both of {key}"
            ));
        }
        let early = before < sequence && !self.settled.contains(&(id, before));
        early.then(|| format!("{who} was given {sequence} before {before} of {key} is settled"))
    }
}

/// Sees everything. Shared by all parts of the world.
#[derive(Debug)]
pub(crate) struct Witness {
    /// The story so far.
    pub(crate) trace: Trace,
    book: Mutex<Book>,
    alarm: Notify,
}

impl Witness {
    /// Nothing was seen yet.
    pub(crate) fn new(trace: Trace) -> Self {
        Self {
            trace,
            book: Mutex::default(),
            alarm: Notify::new(),
        }
    }

    /// What was seen.
    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happened that must not.
    pub(crate) fn broke(&self, what: String) {
        self.trace.say(format_args!("BROKEN: {what}"));
        self.book().broken.push(what);
        self.alarm.notify_one();
    }

    /// The first thing that must not have happened.
    pub(crate) fn broken(&self) -> Option<String> {
        self.book().broken.first().cloned()
    }

    /// Waits until something happens that must not.
    pub(crate) async fn alarm(&self) {
        self.alarm.notified().await;
    }

    /// A life begins, with what the journal says each subscription has behind it.
    pub(crate) fn begin_life(
        &self,
        life: usize,
        progress: HashMap<SubscriptionId, Progress>,
        most_at_once: usize,
    ) {
        let mut book = self.book();
        book.life = life;
        book.progress = progress;
        book.most_at_once_of_all = most_at_once;
        book.at_once.clear();
        book.routed.clear();
        book.settled.clear();
        book.turning.clear();
        book.newest.clear();
    }

    /// A subscription is as this says from now on.
    pub(crate) fn allow(&self, id: SubscriptionId, delivery: &DeliverySpec) {
        let mut book = self.book();
        let most = book.most_at_once.entry(id).or_default();
        *most = (*most).max(delivery.max_in_flight);
        let ordered = delivery.order == Order::Key;
        if book
            .ordered
            .insert(id, ordered)
            .is_some_and(|before| before != ordered)
        {
            book.turning.insert(id);
        }
    }

    /// A producer is about to post.
    pub(crate) fn post(&self, organization: &str, event: &Event) {
        let posted = || Posted {
            event: event.clone(),
            receipt: None,
        };
        self.book()
            .posted
            .entry(name(organization, event))
            .or_insert_with(posted);
    }

    /// A producer got a receipt. The log is kept from `kept_from` on: an older event is not recognised any more.
    pub(crate) fn receipt(&self, organization: &str, event: &Event, placed: Placed, kept_from: Sequence) {
        let (sequence, new) = match placed {
            Placed::New(sequence) => (sequence, true),
            Placed::Duplicate(sequence) => (sequence, false),
        };
        let wrong = {
            let mut book = self.book();
            let Some(posted) = book.posted.get_mut(&name(organization, event)) else {
                return;
            };
            match posted.receipt.replace(sequence) {
                Some(before) if before != sequence && before < kept_from && new => None,
                Some(before) if before != sequence || new => Some(before),
                _ => None,
            }
        };
        if let Some(before) = wrong {
            let id = event.id();
            self.broke(format!(
                "{id} was acknowledged as {before} and again as {placed:?}"
            ));
        }
    }

    /// An attempt begins. Ends with [`Seat::leave`], or by being dropped.
    pub(crate) fn give(self: &Arc<Self>, delivery: &Delivery, dead_letter: bool) -> Seat {
        let key = (delivery.subscription, delivery.sequence);
        let (who, sequence) = (&delivery.subscription_name, delivery.sequence);
        let mut wrong = Vec::new();
        let place = {
            let mut book = self.book();
            let book = &mut *book;
            let life = book.life;
            if book.progress.get(&key.0).is_some_and(|p| p.covers(sequence)) {
                wrong.push(format!(
                    "{who} was given {sequence}, which was settled before this life"
                ));
            }
            if book.settled.contains(&key) {
                wrong.push(format!("{who} was given {sequence}, which is settled"));
            }
            if !dead_letter {
                wrong.extend(book.out_of_order(delivery));
            }
            let given = book.given.entry(key).or_default();
            if given
                .iter()
                .any(|g| g.life == life && g.taken.is_some() && g.dead_letter == dead_letter)
            {
                wrong.push(format!("{who} was given {sequence} again after it was taken"));
            }
            given.push(Given {
                life,
                dead_letter,
                taken: None,
            });
            let place = given.len() - 1;
            let now = book.at_once.entry(key.0).or_default();
            *now += 1;
            let most = book.most_at_once.get(&key.0).copied().unwrap_or(usize::MAX);
            if *now > most {
                wrong.push(format!("{who} has {now} attempts at once, {most} are allowed"));
            }
            let all: usize = book.at_once.values().sum();
            if all > book.most_at_once_of_all {
                wrong.push(format!("{all} attempts at once"));
            }
            place
        };
        for wrong in wrong {
            self.broke(wrong);
        }
        Seat {
            witness: self.clone(),
            key,
            place,
            life: self.book().life,
        }
    }
}

/// One attempt under way.
#[derive(Debug)]
pub(crate) struct Seat {
    witness: Arc<Witness>,
    key: (SubscriptionId, Sequence),
    place: usize,
    life: usize,
}

impl Seat {
    /// The sink answered.
    pub(crate) fn leave(self, taken: bool) {
        let taken = taken.then(|| self.witness.trace.now());
        let mut book = self.witness.book();
        let given = book
            .given
            .get_mut(&self.key)
            .and_then(|all| all.get_mut(self.place));
        if let Some(given) = given {
            given.taken = taken;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut book = self.witness.book();
        if book.life == self.life
            && let Some(now) = book.at_once.get_mut(&self.key.0)
        {
            *now = now.saturating_sub(1);
        }
    }
}

/// [`Witness`] as the router's observer.
pub(crate) struct Watching(pub Arc<Witness>);

impl Observer for Watching {
    fn routed(&self, sequence: Sequence, _: &Committed, _: usize) {
        if !self.0.book().routed.insert(sequence) {
            self.0.broke(format!("{sequence} was routed twice in one life"));
        }
    }

    fn settled(&self, delivery: DeliveryInfo<'_>, settlement: &Settlement) {
        let (sequence, how) = (settlement.event, settlement.settled);
        let who = delivery.subscription_name;
        self.0.trace.say(format_args!(
            "{who}: {sequence} is settled, {how:?} after {}",
            settlement.attempts
        ));
        if !self.0.book().settled.insert((settlement.subscription, sequence)) {
            self.0
                .broke(format!("{sequence} was settled twice for {who} in one life"));
        }
    }
}

impl fmt::Debug for Watching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watching")
    }
}
