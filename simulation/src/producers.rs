//! Those who post: senders that try again until they have a receipt, and drivers that go on from their checkpoint.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dispatch_contract::{AppendError, Appended, Checkpoint, Group, Log, NewEvent, Sequence, SubscriptionId};
use dispatch_journal::Journal;

use crate::dice::Dice;
use crate::events::{ORGANIZATIONS, event};
use crate::witness::Witness;

/// The most events in one group.
const MOST_EVENTS: u64 = 4;
/// Groups without a receipt that a sender keeps trying.
const MOST_OPEN: usize = 6;

/// Somebody who posts. Outlives the hub.
#[derive(Debug)]
pub(crate) struct Producer {
    name: String,
    organization: Arc<str>,
    driver: bool,
    dice: Dice,
    /// The number of the next new event.
    next: u64,
    /// Events by number, without a receipt.
    open: Vec<Vec<u64>>,
    /// Posts again what has a receipt, so often in a thousand.
    repeats: u64,
    /// The longest wait between two posts, milliseconds.
    pace: u64,
    /// Posts nothing new any more.
    pub(crate) done: bool,
}

/// One post.
struct Post {
    group: Group,
    numbers: Vec<u64>,
    checkpoint: Option<u64>,
    patience: Duration,
}

impl Producer {
    /// The `n`-th producer. Every third is a driver.
    pub(crate) fn new(n: usize, mut dice: Dice) -> Self {
        Self {
            name: format!("/p{n}"),
            organization: (*dice.pick(ORGANIZATIONS)).into(),
            driver: n % 3 == 2,
            next: 1,
            open: Vec::new(),
            repeats: dice.below(200),
            pace: *dice.pick(&[15, 60, 200, 600]),
            dice,
            done: false,
        }
    }

    /// A life begins: a driver goes on from its checkpoint, a sender may have forgotten some of what is open.
    pub(crate) fn begin_life(&mut self, journal: &Journal) {
        if self.driver {
            let value = journal.checkpoint(&self.organization, &self.name);
            self.next = 1 + checkpoint_value(value.as_deref());
            self.open.clear();
        } else if self.dice.chance(300) {
            self.open.pop();
        }
    }

    /// How many groups have no receipt.
    pub(crate) fn is_content(&self) -> bool {
        self.done && self.open.is_empty()
    }

    fn next_post(&mut self) -> Option<Post> {
        let numbers = match self.open.first() {
            Some(oldest)
                if self.driver || self.done || self.open.len() >= MOST_OPEN || self.dice.chance(500) =>
            {
                let open = oldest.clone();
                if !self.driver {
                    self.open.rotate_left(1);
                }
                open
            }
            _ if self.done => return None,
            _ if !self.driver && self.next > 1 && self.dice.chance(self.repeats) => {
                vec![self.dice.between(1, self.next - 1)]
            }
            _ => {
                let count = self.dice.between(1, MOST_EVENTS);
                let numbers: Vec<u64> = (self.next..self.next + count).collect();
                self.next += count;
                self.open.push(numbers.clone());
                numbers
            }
        };
        let checkpoint = if self.driver {
            numbers.last().copied()
        } else {
            None
        };
        let new = |number: &u64| NewEvent {
            organization: self.organization.clone(),
            event: event(&self.name, *number),
            target: None,
        };
        let group = Group {
            events: numbers.iter().map(new).collect(),
            checkpoint: checkpoint.map(|value| Checkpoint {
                organization: self.organization.clone(),
                driver: self.name.as_str().into(),
                value: value.to_string().into(),
            }),
            ..Group::default()
        };
        let hasty = self.dice.chance(50);
        let patience = if hasty { self.dice.between(0, 5) } else { 5_000 };
        Some(Post {
            group,
            numbers,
            checkpoint,
            patience: Duration::from_millis(patience),
        })
    }

    fn answered(&mut self, post: &Post, appended: &Appended, kept_from: Sequence, witness: &Witness) {
        if appended.placed.len() != post.group.events.len() {
            witness.broke(format!(
                "{}: a receipt for {} events",
                self.name,
                appended.placed.len()
            ));
        }
        for (new, placed) in post.group.events.iter().zip(&appended.placed) {
            witness.receipt(&self.organization, &new.event, *placed, kept_from);
        }
        let numbers = &post.numbers;
        witness
            .trace
            .say(format_args!("{} {numbers:?}: {:?}", self.name, appended.placed));
        self.open.retain(|open| open != numbers);
        if let Some(value) = post.checkpoint {
            let key = (self.organization.to_string(), self.name.clone());
            witness.book().checkpoints.insert(key, value);
        }
    }
}

/// What a driver's checkpoint says.
pub(crate) fn checkpoint_value(value: Option<&[u8]>) -> u64 {
    let text = value.and_then(|value| std::str::from_utf8(value).ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Posts until there is nothing left to post, or the hub closes.
pub(crate) async fn produce(
    producer: Arc<Mutex<Producer>>,
    log: Arc<dyn Log>,
    journal: Journal,
    witness: Arc<Witness>,
) {
    let with =
        |f: &mut dyn FnMut(&mut Producer)| f(&mut producer.lock().unwrap_or_else(PoisonError::into_inner));
    loop {
        let (mut wait, mut next) = (Duration::ZERO, None);
        with(&mut |p| {
            wait = Duration::from_millis(p.dice.between(1, p.pace));
            next = p.next_post();
        });
        let Some(post) = next else {
            return;
        };
        for new in &post.group.events {
            witness.post(&new.organization, &new.event);
        }
        let answer = tokio::time::timeout(post.patience, log.append(post.group.clone())).await;
        match answer {
            Ok(Ok(appended)) => {
                let kept_from = journal.stats().first;
                with(&mut |p| p.answered(&post, &appended, kept_from, &witness));
            }
            Ok(Err(AppendError::Unavailable { reason, retry_after })) => {
                with(&mut |p| {
                    witness
                        .trace
                        .say(format_args!("{} {:?}: {reason}", p.name, post.numbers))
                });
                wait += retry_after.min(Duration::from_millis(300));
            }
            Ok(Err(AppendError::Closed)) => return,
            Ok(Err(AppendError::TooLarge(why))) => {
                witness.broke(format!("a small group is too large: {why}"))
            }
            // Nobody knows what became of it; it is posted again.
            Err(_) => {}
        }
        tokio::time::sleep(wait).await;
    }
}

/// Posts one event for one subscription only, once: it is not recognised as a duplicate.
pub(crate) async fn aim(
    log: Arc<dyn Log>,
    witness: Arc<Witness>,
    organization: Arc<str>,
    target: SubscriptionId,
    number: u64,
) {
    let event = event("/aimed", number);
    let id = event.id().to_owned();
    witness.book().aimed.insert(id.clone(), None);
    let new = NewEvent {
        organization,
        event,
        target: Some(target),
    };
    let group = Group {
        events: vec![new],
        ..Group::default()
    };
    if let Ok(appended) = log.append(group).await {
        let receipt: Option<Sequence> = appended.placed.first().and_then(|placed| match placed {
            dispatch_contract::Placed::New(sequence) => Some(*sequence),
            dispatch_contract::Placed::Duplicate(_) => None,
        });
        witness
            .trace
            .say(format_args!("aimed {number} at {target}: {receipt:?}"));
        if receipt.is_none() {
            witness.broke(format!("the aimed event {number} was taken for a duplicate"));
        }
        witness.book().aimed.insert(id, receipt);
    }
}
