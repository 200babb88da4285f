//! Sinks of every temper: fast, slow, out for a while, hanging, refusing, answering, and never content with some keys.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dispatch_contract::{Answer, Delivery, Event, Outcome, Sink};
use futures_util::future::BoxFuture;

use crate::dice::Dice;
use crate::events::TYPES;
use crate::witness::Witness;

/// How a sink behaves; shares are in a thousand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Temper {
    /// An answer takes so many milliseconds, at most.
    slow: u64,
    /// "Not now."
    releases: u64,
    /// "Not now, come back in two seconds."
    releases_for_long: u64,
    /// "Never."
    rejects: u64,
    /// No answer at all.
    hangs: u64,
    /// An event comes back.
    replies: u64,
    /// Out for the first part of every such stretch of milliseconds.
    outage: Option<(u64, u64)>,
    /// Keys whose number divides by this always fail.
    poison: Option<u64>,
}

impl Temper {
    /// Any temper.
    pub(crate) fn any(dice: &mut Dice) -> Self {
        let calm = dice.chance(300);
        let mut share = |most: u64| if calm { 0 } else { dice.below(most + 1) };
        let (releases, releases_for_long, rejects) = (share(300), share(50), share(50));
        let (hangs, replies) = (share(60), share(250));
        let outage = dice.chance(250).then(|| {
            let stretch = dice.between(500, 4000);
            (dice.between(100, stretch), stretch)
        });
        Self {
            slow: *dice.pick(&[1, 5, 50, 400, 1500]),
            releases,
            releases_for_long,
            rejects,
            hangs,
            replies,
            outage,
            poison: dice.chance(200).then(|| dice.between(2, 5)),
        }
    }
}

/// Whether the sinks have got well. Poisoned keys never do.
#[derive(Debug, Default)]
pub(crate) struct Health(AtomicBool);

impl Health {
    /// From now on.
    pub(crate) fn heal(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
    fn is_well(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// A sink.
#[derive(Debug)]
pub(crate) struct SimSink {
    witness: Arc<Witness>,
    health: Arc<Health>,
    temper: Temper,
    dead_letters: bool,
    dice: Mutex<Dice>,
}

/// What will happen.
enum Mood {
    Hang,
    Say(Answer),
}

impl SimSink {
    /// A sink of this temper; with `dead_letters`, for what could not be delivered.
    pub(crate) fn new(
        witness: Arc<Witness>,
        health: Arc<Health>,
        temper: Temper,
        dead_letters: bool,
        dice: Dice,
    ) -> Self {
        Self {
            witness,
            health,
            temper,
            dead_letters,
            dice: Mutex::new(dice),
        }
    }

    fn decide(&self, delivery: &Delivery) -> (Duration, Mood) {
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        let (well, temper) = (self.health.is_well(), self.temper);
        let takes = if well { 1 } else { dice.between(0, temper.slow) };
        let roll = dice.below(1000);
        let now = self.witness.trace.now().as_millis() as u64;
        let key = delivery
            .event
            .subject()
            .and_then(|s| s.strip_prefix("key-")?.parse::<u64>().ok());
        let poisoned = temper
            .poison
            .is_some_and(|by| key.is_some_and(|key| key.is_multiple_of(by)));
        let out = temper.outage.is_some_and(|(out, stretch)| now % stretch < out);
        let mut below = 0;
        let mut falls = |share: u64| {
            below += share;
            !well && roll < below
        };
        let answer = if poisoned && !self.dead_letters {
            Answer::released("poisoned")
        } else if out && !well {
            Answer::released("out")
        } else if falls(temper.hangs) {
            return (Duration::ZERO, Mood::Hang);
        } else if falls(temper.releases) {
            Answer::released("not now")
        } else if falls(temper.releases_for_long) {
            Answer::from(Outcome::Released {
                reason: "later".to_owned(),
                code: Some(503),
                after: Some(Duration::from_secs(2)),
            })
        } else if falls(temper.rejects) {
            Answer::rejected("never")
        } else {
            match reply(delivery, temper.replies) {
                Some(reply) => Answer::accepted().with_event(reply),
                None => Answer::accepted(),
            }
        };
        (Duration::from_millis(takes), Mood::Say(answer))
    }
}

/// The event a delivery is answered with; the same for every attempt.
fn reply(delivery: &Delivery, permille: u64) -> Option<Event> {
    let mut dice = Dice::new(delivery.sequence.wrapping_mul(31) ^ delivery.subscription.0.as_u128() as u64);
    if !dice.chance(permille) {
        return None;
    }
    let id = format!("reply-{}", delivery.id());
    Event::builder(id, "/reply", *dice.pick(TYPES)).build().ok()
}

impl Sink for SimSink {
    fn deliver(&self, delivery: Delivery) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            let trace = &self.witness.trace;
            let (who, sequence, attempt) = (&delivery.subscription_name, delivery.sequence, delivery.attempt);
            let grave = if self.dead_letters { " (dead letter)" } else { "" };
            let seat = self.witness.give(&delivery, self.dead_letters);
            trace.say(format_args!("{who}{grave}: given {sequence}, attempt {attempt}"));
            let (takes, mood) = self.decide(&delivery);
            let Mood::Say(answer) = mood else {
                return std::future::pending().await;
            };
            tokio::time::sleep(takes).await;
            trace.say(format_args!("{who}{grave}: {sequence} {}", said(&answer.outcome)));
            let replies = answer.events.iter().map(|event| event.id().to_owned());
            self.witness.book().replies.extend(replies);
            seat.leave(answer.outcome == Outcome::Accepted);
            answer
        })
    }
}

fn said(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Accepted => "taken",
        Outcome::Released { reason, .. } | Outcome::Rejected { reason, .. } => reason,
    }
}
