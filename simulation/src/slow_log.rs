//! The journal at a distance: every call takes a little time, so that what comes first is a matter of chance.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dispatch_contract::{AppendError, Appended, Group, Log, Page, ReadError, Sequence, Tail};
use dispatch_journal::Journal;
use futures_util::future::BoxFuture;

use crate::dice::Dice;
use crate::witness::Witness;

/// A journal whose answers are late.
#[derive(Debug)]
pub(crate) struct SlowLog {
    journal: Journal,
    dice: Mutex<Dice>,
    witness: Arc<Witness>,
    /// How often a page was read from each place.
    reads: Mutex<BTreeMap<Sequence, usize>>,
}

/// Nobody has a reason to read from one place so often in one life.
const MOST_READS: usize = 300;
/// The longest delay, milliseconds.
const LATEST: u64 = 8;

fn delay(dice: &mut Dice) -> Option<Duration> {
    dice.chance(300)
        .then(|| Duration::from_millis(dice.between(0, LATEST)))
}

async fn pause(delay: Option<Duration>) {
    if let Some(delay) = delay {
        tokio::time::sleep(delay).await;
    }
}

impl SlowLog {
    /// This journal, later.
    pub(crate) fn new(journal: Journal, dice: Dice, witness: Arc<Witness>) -> Arc<Self> {
        Arc::new(Self {
            journal,
            dice: Mutex::new(dice),
            witness,
            reads: Mutex::default(),
        })
    }

    fn count_read(&self, from: Sequence) {
        let mut reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        let read = reads.entry(from).or_default();
        *read += 1;
        if *read == MOST_READS {
            self.witness.broke(format!("{from} is read again and again"));
        }
    }

    fn delay(&self) -> Option<Duration> {
        delay(&mut self.dice.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Log for SlowLog {
    fn append(&self, group: Group) -> BoxFuture<'_, Result<Appended, AppendError>> {
        Box::pin(async move {
            pause(self.delay()).await;
            let answer = self.journal.append(group).await;
            pause(self.delay()).await;
            answer
        })
    }

    fn note(&self, group: Group) -> BoxFuture<'_, Result<(), AppendError>> {
        Box::pin(async move {
            pause(self.delay()).await;
            let answer = self.journal.note(group).await;
            pause(self.delay()).await;
            answer
        })
    }

    fn hasten(&self) {
        self.journal.hasten();
    }

    fn read(&self, from: Sequence, max_bytes: usize) -> BoxFuture<'_, Result<Page, ReadError>> {
        Box::pin(async move {
            self.count_read(from);
            pause(self.delay()).await;
            let answer = self.journal.read(from, max_bytes).await;
            pause(self.delay()).await;
            answer
        })
    }

    fn tail(&self, from: Sequence) -> Box<dyn Tail> {
        let dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner).split();
        Box::new(SlowTail {
            tail: self.journal.tail(from),
            dice,
        })
    }

    fn head(&self) -> Sequence {
        self.journal.head()
    }
}

struct SlowTail {
    tail: Box<dyn Tail>,
    dice: Dice,
}

impl Tail for SlowTail {
    fn next(&mut self) -> BoxFuture<'_, Option<Arc<Page>>> {
        Box::pin(async move {
            pause(delay(&mut self.dice)).await;
            self.tail.next().await
        })
    }
}
