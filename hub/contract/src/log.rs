//! The log as everybody but the journal sees it: what is written, what is read, what is promised.
//!
//! The embedded journal implements [`Log`]; NATS JetStream and Kafka may one day. Every record, of whatever
//! kind, has a [`Sequence`]; sequences only grow. A [`Group`] becomes durable whole or not at all.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use crate::Event;

/// Position of a record in the log. The first record has 1; 0 means "before everything".
pub type Sequence = u64;

/// Identity of a subscription: new for each one created, even under an old name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionId(pub Uuid);

impl fmt::Display for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An event on its way into the log.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Organization it belongs to.
    pub organization: Arc<str>,
    /// The event.
    pub event: Event,
    /// For one subscription only, whatever its filters say: a function call by `exec`, a redriven dead
    /// letter. Such an event is not deduplicated.
    pub target: Option<SubscriptionId>,
}

/// What becomes durable together: all of it, or nothing.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// Events, in order.
    pub events: Vec<NewEvent>,
    /// Deliveries that ended.
    pub settlements: Vec<Settlement>,
    /// Subscriptions that owe nothing up to a sequence.
    pub through: Vec<Through>,
    /// How far a driver has read.
    pub checkpoint: Option<Checkpoint>,
}

/// A delivery that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The subscription.
    pub subscription: SubscriptionId,
    /// The event.
    pub event: Sequence,
    /// How it ended.
    pub settled: Settled,
    /// How many attempts were made.
    pub attempts: u32,
    /// The attempts that failed, oldest first; bounded by the router.
    pub failures: Vec<Attempt>,
}

/// How a delivery ended for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The sink took it.
    Delivered,
    /// Retries are used up, or the sink refused: kept as a dead letter.
    DeadLettered,
    /// The subscription went away, or retention took the event.
    Dropped,
}

/// One failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// When it ended, Unix milliseconds.
    pub at: i64,
    /// How long it took, milliseconds.
    pub took: u32,
    /// The other side's status code, when it has one.
    pub code: Option<u16>,
    /// Why, for people.
    pub reason: String,
}

/// The subscription owes nothing at or before `sequence` but what is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Through {
    /// The subscription.
    pub subscription: SubscriptionId,
    /// Everything up to and with this is settled or was never its own.
    pub sequence: Sequence,
    /// But for these, ascending: they are still owed. Nearly always none; so that a few events that wait for long
    /// do not keep all settlements behind them in the log's memory.
    pub but_for: Vec<Sequence>,
}

/// How far a driver has read, in the driver's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Organization of the driver.
    pub organization: Arc<str>,
    /// The driver's id.
    pub driver: Arc<str>,
    /// Opaque, at most 64 KiB.
    pub value: Bytes,
}

/// What a subscription has behind it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Nothing at or before this is owed, but for `owed`.
    pub through: Sequence,
    /// Events at or before `through` that are owed all the same.
    pub owed: BTreeSet<Sequence>,
    /// Events after `through` that are settled.
    pub beyond: BTreeSet<Sequence>,
}

impl Progress {
    /// Whether the event at `sequence` is settled, or was never owed.
    pub fn covers(&self, sequence: Sequence) -> bool {
        match sequence <= self.through {
            true => !self.owed.contains(&sequence),
            false => self.beyond.contains(&sequence),
        }
    }

    /// Takes in that an event is settled.
    pub fn settle(&mut self, event: Sequence) {
        match event <= self.through {
            true => self.owed.remove(&event),
            false => self.beyond.insert(event),
        };
    }

    /// Takes in how far the subscription is. What was settled before stays settled.
    pub fn advance(&mut self, mark: &Through) {
        if mark.sequence <= self.through {
            return;
        }
        let owed = mark.but_for.iter().copied();
        let owed = owed.filter(|event| *event <= mark.sequence && !self.covers(*event));
        self.owed = owed.collect();
        self.through = mark.sequence;
        self.beyond = self.beyond.split_off(&mark.sequence.saturating_add(1));
    }
}

/// An event that is durable.
#[derive(Debug, Clone)]
pub struct Committed {
    /// Organization it belongs to.
    pub organization: Arc<str>,
    /// For one subscription only.
    pub target: Option<SubscriptionId>,
    /// When it arrived, Unix milliseconds.
    pub arrival: i64,
    /// The event.
    pub event: Event,
}

/// One durable record.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its position.
    pub sequence: Sequence,
    /// What it says.
    pub record: Record,
}

/// What a record says.
#[derive(Debug, Clone)]
pub enum Record {
    /// An event.
    Event(Committed),
    /// A delivery that ended.
    Settlement(Settlement),
    /// A subscription owes nothing up to here.
    Through(Through),
    /// A driver has read up to here.
    Checkpoint(Checkpoint),
}

/// What happened to each event of an appended group, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// One for each event of the group.
    pub placed: Vec<Placed>,
}

impl Appended {
    /// Events that were new.
    pub fn accepted(&self) -> usize {
        self.placed.iter().filter(|p| matches!(p, Placed::New(_))).count()
    }
    /// Events the log already held.
    pub fn duplicates(&self) -> usize {
        self.placed.len() - self.accepted()
    }
}

/// Where an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// Appended under this sequence.
    New(Sequence),
    /// Already in the log, under this sequence.
    Duplicate(Sequence),
}

/// Why an append failed. Nothing of the group is durable, and nothing may be acknowledged.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The log takes no more for now: full queue or full disk. Ask again later.
    #[error("the journal takes no more events for now: {reason}")]
    Unavailable {
        /// Why, for people.
        reason: String,
        /// When it is worth asking again.
        retry_after: Duration,
    },
    /// The group can never be taken.
    #[error("the journal cannot hold this: {0}")]
    TooLarge(String),
    /// The log is closed.
    #[error("the journal is closed")]
    Closed,
}

/// Why a read failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot read the journal at {at}: {reason}")]
pub struct ReadError {
    /// From which sequence.
    pub at: Sequence,
    /// Why, for people.
    pub reason: String,
}

/// Some records, in order.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The records; may be empty although more follow (damaged or retained ranges are skipped).
    pub entries: Vec<Entry>,
    /// Where to go on. Greater than what was asked for, unless the end was reached.
    pub next: Sequence,
}

/// The durable log.
pub trait Log: Send + Sync + 'static {
    /// Makes the group durable; resolves after the disk said so. Events already in the log, by
    /// (organization, source, id), are not appended again.
    ///
    /// Dropping the future does not undo the append.
    fn append(&self, group: Group) -> BoxFuture<'_, Result<Appended, AppendError>>;

    /// Hands the group over in order and resolves when it is queued: it becomes durable with the next
    /// [`append`](Log::append), or soon by itself, and then [`tail`](Log::tail) shows it. What was handed over before
    /// becomes durable before. For what may be done twice after a crash: settlements.
    fn note(&self, group: Group) -> BoxFuture<'_, Result<(), AppendError>>;

    /// Somebody waits until what was noted is written: it need not wait for an append any longer. A hint.
    fn hasten(&self) {}

    /// Reads records from `from` on, up to about `max_bytes` (at least one record if there is one).
    fn read(&self, from: Sequence, max_bytes: usize) -> BoxFuture<'_, Result<Page, ReadError>>;

    /// Follows the log from `from` on.
    fn tail(&self, from: Sequence) -> Box<dyn Tail>;

    /// The last durable sequence; 0 when there is none.
    fn head(&self) -> Sequence;

    /// Bytes of an organization's events that are kept, whether anybody still needs them or not. `None`: not counted
    /// here.
    fn kept_bytes(&self, _organization: &str) -> Option<u64> {
        None
    }
}

/// A reader that follows the log. Never loses its place; costs the writer nothing.
pub trait Tail: Send {
    /// The next records, in order, as soon as there are any. `None` when the log is closed and all was read.
    fn next(&mut self) -> BoxFuture<'_, Option<Arc<Page>>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(sequence: Sequence, but_for: &[Sequence]) -> Through {
        Through {
            subscription: SubscriptionId(Uuid::nil()),
            sequence,
            but_for: but_for.to_vec(),
        }
    }

    #[test]
    fn a_mark_leaves_owed_what_it_names_until_that_is_settled() {
        let mut progress = Progress::default();
        for event in [3, 5, 9] {
            progress.settle(event);
        }

        progress.advance(&mark(7, &[2, 4]));
        assert_eq!(
            (1..=10).filter(|n| progress.covers(*n)).collect::<Vec<_>>(),
            [1, 3, 5, 6, 7, 9]
        );

        progress.settle(4);
        progress.advance(&mark(6, &[4]));
        progress.advance(&mark(8, &[2, 4]));
        assert_eq!(
            progress.owed,
            BTreeSet::from([2]),
            "what is settled stays settled"
        );

        progress.advance(&mark(9, &[]));
        assert_eq!(
            progress,
            Progress {
                through: 9,
                ..Progress::default()
            }
        );
    }
}
