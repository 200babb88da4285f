//! The machine under random schedules: events, answers, crashes, full queues, a log that fails, changed
//! subscriptions. Whatever happens, nothing is lost, nothing is settled twice in one life, and every bound
//! holds at every step.
#![allow(clippy::unwrap_used)] // test code

mod memory_log;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dispatch_contract::{
    Answer, AppendError, Committed, Delivery, DeliverySpec, Event, Group, Log as _, Outcome, Progress,
    ReadError, Sequence, Settled, Settlement, Sink, SubscriptionId,
};
use dispatch_router::{
    DeliveryInfo, Effect, Filter, FilterVersion, Limits, Machine, Moment, Observer, Subscription, Ticket,
};
use futures_util::future::BoxFuture;
use memory_log::MemoryLog;
use proptest::prelude::*;

const ORGANIZATIONS: [&str; 2] = ["one", "two"];
const TYPES: [&str; 4] = ["a.one", "a.two", "b.one", "dispatch.x"];
const LANES: usize = 5;
const RETRY: u32 = 2;

fn limits() -> Limits {
    Limits {
        queue_events: 4,
        queue_bytes: 600,
        in_flight: 5,
        max_hops: 3,
        max_failures_kept: 2,
        beyond: 8,
        reads: 2,
        unwritten: 6,
        idle_marks_every: Duration::from_secs(1),
        ..Limits::default()
    }
}

fn filters() -> Vec<Option<Filter>> {
    vec![
        None,
        Some(Filter::All(vec![])),
        Some(Filter::All(vec![Filter::exact("type", "a.one")])),
        Some(Filter::All(vec![Filter::prefix("type", "a.")])),
        Some(Filter::All(vec![Filter::Any(vec![
            Filter::exact("type", "dispatch.x"),
            Filter::suffix("type", "one"),
        ])])),
    ]
}

#[derive(Debug, Clone)]
enum Step {
    Append {
        organization: usize,
        ty: usize,
        count: usize,
        target: Option<usize>,
    },
    Follow(usize),
    Answer {
        which: usize,
        reply: Reply,
    },
    Read {
        which: usize,
        most: usize,
        fails: bool,
    },
    Note(Note),
    Pass(u64),
    Crash {
        lose: usize,
    },
    Change {
        lane: usize,
        filter: usize,
        dead_letters: bool,
    },
    Replace {
        lane: usize,
        filter: usize,
    },
}

#[derive(Debug, Clone, Copy)]
enum Reply {
    Accept,
    AcceptWithEvent,
    Release,
    ReleaseLater,
    Reject,
}

#[derive(Debug, Clone, Copy)]
enum Note {
    Taken,
    Unavailable,
    TooLarge,
}

fn step() -> impl Strategy<Value = Step> {
    let reply = prop_oneof![
        4 => Just(Reply::Accept),
        1 => Just(Reply::AcceptWithEvent),
        3 => Just(Reply::Release),
        1 => Just(Reply::ReleaseLater),
        1 => Just(Reply::Reject),
    ];
    let note = prop_oneof![6 => Just(Note::Taken), 1 => Just(Note::Unavailable), 1 => Just(Note::TooLarge)];
    prop_oneof![
        12 => (0..2usize, 0..TYPES.len(), 1..5usize, proptest::option::weighted(0.15, 0..LANES))
            .prop_map(|(organization, ty, count, target)| Step::Append { organization, ty, count, target }),
        10 => (1..12usize).prop_map(Step::Follow),
        24 => (any::<usize>(), reply).prop_map(|(which, reply)| Step::Answer { which, reply }),
        10 => (any::<usize>(), 1..20usize, proptest::bool::weighted(0.1))
            .prop_map(|(which, most, fails)| Step::Read { which, most, fails }),
        12 => note.prop_map(Step::Note),
        10 => (1..1500u64).prop_map(Step::Pass),
        1 => (0..6usize).prop_map(|lose| Step::Crash { lose }),
        2 => (0..LANES, 0..filters().len(), any::<bool>())
            .prop_map(|(lane, filter, dead_letters)| Step::Change { lane, filter, dead_letters }),
        1 => (0..LANES, 0..filters().len()).prop_map(|(lane, filter)| Step::Replace { lane, filter }),
    ]
}

struct NoSink;

impl Sink for NoSink {
    fn deliver(&self, _: Delivery) -> BoxFuture<'_, Answer> {
        unreachable!("the simulation answers for it")
    }
}

/// Counts settlements of one life.
#[derive(Default)]
struct Life {
    settled: Mutex<HashMap<(SubscriptionId, Sequence), usize>>,
    routed: Mutex<HashMap<Sequence, usize>>,
}

impl Observer for Life {
    fn routed(&self, sequence: Sequence, _: &Committed, _: usize) {
        *self.routed.lock().unwrap().entry(sequence).or_default() += 1;
    }
    fn settled(&self, delivery: DeliveryInfo<'_>, settlement: &Settlement) {
        assert_eq!(delivery.subscription, settlement.subscription);
        let key = (settlement.subscription, settlement.event);
        *self.settled.lock().unwrap().entry(key).or_default() += 1;
    }
}

struct World {
    log: Arc<MemoryLog>,
    machine: Machine,
    life: Arc<Life>,
    now: Duration,
    tail: Sequence,
    subscriptions: BTreeMap<usize, (Subscription, Sequence)>,
    in_flight: Vec<(Ticket, Delivery)>,
    reads: Vec<Sequence>,
    note: Option<Group>,
    /// The head after the last append that was waited for.
    durable: Sequence,
    events: usize,
    names: u128,
    crashes: usize,
}

impl World {
    fn new(filter_of: &[usize]) -> Self {
        let life = Arc::new(Life::default());
        let mut world = Self {
            log: MemoryLog::new(),
            machine: Machine::new(0, limits(), 1, life.clone()),
            life,
            now: Duration::ZERO,
            tail: 1,
            subscriptions: BTreeMap::new(),
            in_flight: Vec::new(),
            reads: Vec::new(),
            note: None,
            durable: 0,
            events: 0,
            names: 0,
            crashes: 0,
        };
        for (lane, filter) in filter_of.iter().enumerate() {
            world.create(lane, *filter);
        }
        world
    }

    fn moment(&self) -> Moment {
        Moment {
            since_start: self.now,
            unix_ms: self.now.as_millis() as i64,
        }
    }

    fn create(&mut self, lane: usize, filter: usize) {
        self.names += 1;
        let head = self.log.head();
        let version = |filter| FilterVersion {
            from: head + 1,
            filter,
        };
        let subscription = Subscription {
            id: SubscriptionId(uuid::Uuid::from_u128(self.names)),
            organization: ORGANIZATIONS[lane % 2].into(),
            name: format!("lane-{lane}").into(),
            filters: filters()[filter].clone().map(version).into_iter().collect(),
            sink: Arc::new(NoSink),
            dead_letter_sink: None,
            delivery: DeliverySpec {
                retry: RETRY,
                max_in_flight: 1 + lane % 3,
                ..DeliverySpec::default()
            },
            progress: Progress {
                through: head,
                ..Progress::default()
            },
        };
        self.machine.put(self.moment(), subscription.clone());
        self.subscriptions.insert(lane, (subscription, head));
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Append {
                organization,
                ty,
                count,
                target,
            } => self.append(organization, ty, count, target),
            Step::Follow(most) => self.follow(most),
            Step::Answer { which, reply } => self.answer(which, reply),
            Step::Read { which, most, fails } => self.read(which, most, fails),
            Step::Note(note) => self.note(note),
            Step::Pass(millis) => self.now += Duration::from_millis(millis),
            Step::Crash { lose } => self.crash(lose),
            Step::Change {
                lane,
                filter,
                dead_letters,
            } => {
                let head = self.log.head();
                let (subscription, _) = self.subscriptions.get_mut(&lane).unwrap();
                if let Some(filter) = filters()[filter].clone() {
                    subscription.filters.retain(|v| v.from <= head);
                    subscription.filters.push(FilterVersion {
                        from: head + 1,
                        filter,
                    });
                }
                subscription.dead_letter_sink = dead_letters.then(|| Arc::new(NoSink) as Arc<dyn Sink>);
                let changed = subscription.clone();
                self.machine.put(self.moment(), changed);
            }
            Step::Replace { lane, filter } => {
                let id = self.subscriptions[&lane].0.id;
                self.machine.remove(self.moment(), id);
                self.create(lane, filter);
            }
        }
        self.poll();
    }

    fn poll(&mut self) {
        let mut effects = Vec::new();
        self.machine.poll(self.moment(), &mut effects);
        for effect in effects {
            match effect {
                Effect::Deliver { ticket, delivery, .. } => self.in_flight.push((ticket, delivery)),
                Effect::Abort(ticket) => {
                    self.in_flight.retain(|(t, _)| *t != ticket);
                    let answer = Answer::released("cut short");
                    self.machine.ended(self.moment(), ticket, answer, Duration::ZERO);
                }
                Effect::Read { from, .. } => self.reads.push(from),
                Effect::Note(group) => {
                    assert!(self.note.is_none(), "one group is handed over at a time");
                    self.note = Some(group);
                }
            }
        }
        self.check_bounds();
    }

    fn append(&mut self, organization: usize, ty: usize, count: usize, target: Option<usize>) {
        let target = target.map(|lane| self.subscriptions[&lane].0.id);
        for _ in 0..count {
            self.events += 1;
            let event = Event::builder(format!("e{}", self.events), "/sim", TYPES[ty])
                .build()
                .unwrap();
            self.log.append_to(ORGANIZATIONS[organization], event, target);
        }
        self.durable = self.log.head();
    }

    fn follow(&mut self, most: usize) {
        let page = self.log.page(self.tail, most);
        self.tail = page.next;
        self.machine.follow(self.moment(), &page);
    }

    fn answer(&mut self, which: usize, reply: Reply) {
        if self.in_flight.is_empty() {
            return;
        }
        let (ticket, delivery) = self.in_flight.swap_remove(which % self.in_flight.len());
        assert!(delivery.attempt <= RETRY + 1);
        let answer = match reply {
            Reply::Accept => Answer::accepted(),
            Reply::AcceptWithEvent => {
                let id = format!("reply-{}-{}", delivery.id(), delivery.attempt);
                Answer::accepted().with_event(Event::builder(id, "/reply", "a.one").build().unwrap())
            }
            Reply::Release => Answer::released("busy"),
            Reply::ReleaseLater => Answer::from(Outcome::Released {
                reason: "later".into(),
                code: Some(503),
                after: Some(Duration::from_secs(2)),
            }),
            Reply::Reject => Answer::rejected("no"),
        };
        self.machine
            .ended(self.moment(), ticket, answer, Duration::from_millis(1));
    }

    fn read(&mut self, which: usize, most: usize, fails: bool) {
        if self.reads.is_empty() {
            return;
        }
        let from = self.reads.swap_remove(which % self.reads.len());
        let page = match fails {
            false => Ok(self.log.page(from, most)),
            true => Err(ReadError {
                at: from,
                reason: "simulated".into(),
            }),
        };
        self.machine.refill(self.moment(), from, page);
    }

    fn note(&mut self, note: Note) {
        let Some(group) = self.note.take() else {
            return;
        };
        let single = group.settlements.len() + group.through.len() < 2;
        let result = match note {
            Note::Unavailable => Err(AppendError::Unavailable {
                reason: "full".into(),
                retry_after: Duration::from_millis(300),
            }),
            // What can never be written would rightly lose what it caused; not here.
            Note::TooLarge if !single => Err(AppendError::TooLarge("simulated".into())),
            Note::TooLarge | Note::Taken => {
                let through = group.through.clone();
                self.log.append_now(group);
                for mark in through {
                    self.check_nothing_owed(mark.subscription, mark.sequence);
                }
                Ok(())
            }
        };
        self.machine.noted(self.moment(), result);
    }

    fn crash(&mut self, lose: usize) {
        self.crashes += 1;
        let head = self.log.head();
        self.log
            .lose_after(head.saturating_sub(lose as Sequence).max(self.durable));
        let head = self.log.head();
        self.life = Arc::new(Life::default());
        self.machine = Machine::new(head, limits(), self.crashes as u64, self.life.clone());
        self.now = Duration::ZERO;
        self.tail = head + 1;
        self.in_flight.clear();
        self.reads.clear();
        self.note = None;
        for (subscription, created) in self.subscriptions.values_mut() {
            // A store that names a sequence the log lost starts the subscription there.
            *created = (*created).min(head);
            subscription.progress = self.log.progress(subscription.id, *created);
            self.machine.put(
                Moment {
                    since_start: Duration::ZERO,
                    unix_ms: 0,
                },
                subscription.clone(),
            );
        }
    }

    /// What a subscription is owed, judged one event at a time.
    fn wanted(&self, subscription: &Subscription, created: Sequence) -> Vec<Sequence> {
        let wants = |sequence: Sequence, committed: &Committed| match committed.target {
            Some(target) => target == subscription.id,
            None => subscription
                .filters
                .iter()
                .rev()
                .find(|v| v.from <= sequence)
                .is_some_and(|v| v.filter.matches(&committed.event)),
        };
        self.log
            .events()
            .into_iter()
            .filter(|(sequence, committed)| {
                *sequence > created
                    && committed.organization == subscription.organization
                    && wants(*sequence, committed)
            })
            .map(|(sequence, _)| sequence)
            .collect()
    }

    fn check_bounds(&self) {
        let limits = limits();
        assert!(self.machine.in_flight() <= limits.in_flight);
        assert!(self.in_flight.len() <= limits.in_flight);
        assert!(self.reads.len() <= limits.reads);
        for (subscription, _) in self.subscriptions.values() {
            let status = self.machine.status(subscription.id).unwrap();
            assert!(status.in_flight <= subscription.delivery.max_in_flight);
            assert!(status.queued + status.in_flight + status.retrying <= limits.queue_events);
        }
        assert!(
            self.life.settled.lock().unwrap().values().all(|n| *n == 1),
            "settled twice in one life"
        );
        assert!(
            self.life.routed.lock().unwrap().values().all(|n| *n == 1),
            "routed twice in one life"
        );
    }

    fn check_nothing_owed(&self, id: SubscriptionId, through: Sequence) {
        let Some((subscription, created)) = self.subscriptions.values().find(|(s, _)| s.id == id) else {
            return;
        };
        let settled: Vec<Sequence> = self.log.settlements(id).iter().map(|s| s.event).collect();
        for sequence in self.wanted(subscription, *created) {
            assert!(
                sequence > through || settled.contains(&sequence),
                "{through} was marked while {sequence} is owed"
            );
        }
    }

    fn check_floor(&self) {
        for (subscription, _) in self.subscriptions.values() {
            self.check_nothing_owed(subscription.id, self.machine.floor());
        }
    }

    /// Everything answers from now on; returns when the machine has nothing left to do.
    fn come_to_rest(&mut self) {
        for _ in 0..100_000 {
            self.poll();
            let head = self.log.head();
            if self.tail <= head {
                self.follow(100);
            } else if !self.in_flight.is_empty() {
                self.answer(0, Reply::Accept);
            } else if !self.reads.is_empty() {
                self.read(0, 7, false);
            } else if self.note.is_some() {
                self.note(Note::Taken);
            } else if let Some(at) = self.machine.wake_at() {
                self.now = self.now.max(at);
            } else {
                return;
            }
        }
        panic!(
            "the machine does not come to rest: {:#?}",
            self.machine.statuses()
        );
    }

    fn check_end(&self) {
        for (subscription, created) in self.subscriptions.values() {
            let status = self.machine.status(subscription.id).unwrap();
            assert!(
                !status.behind && status.queued + status.in_flight + status.retrying == 0,
                "{status:?}"
            );
            let wanted = self.wanted(subscription, *created);
            let settlements = self.log.settlements(subscription.id);
            for sequence in &wanted {
                let times = settlements.iter().filter(|s| s.event == *sequence).count();
                assert!(times >= 1, "{sequence} was lost for {}", subscription.name);
                assert!(
                    times == 1 || self.crashes > 0,
                    "{sequence} was settled {times} times"
                );
            }
            for settlement in &settlements {
                assert!(
                    wanted.contains(&settlement.event),
                    "{settlement:?} was never asked for"
                );
                assert!(settlement.attempts <= RETRY + 1);
                let failed = settlement.settled == Settled::DeadLettered;
                assert!(
                    !failed || !settlement.failures.is_empty(),
                    "a dead letter says why"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]
    #[test]
    fn every_event_is_settled_once_per_subscription_whatever_happens(
        filter_of in proptest::collection::vec(0..filters().len(), LANES),
        steps in proptest::collection::vec(step(), 1..250),
    ) {
        let mut world = World::new(&filter_of);
        world.poll();

        for step in steps {
            world.take(step);
            world.check_floor();
        }
        world.come_to_rest();

        world.check_end();
        world.check_floor();
    }
}

#[test]
fn a_router_at_rest_writes_nothing() {
    let mut world = World::new(&[1, 1, 1, 1, 1]);
    world.append(0, 0, 3, None);
    world.come_to_rest();
    let written = world.log.head();

    world.now += Duration::from_secs(3600);
    world.come_to_rest();

    assert_eq!(world.log.head(), written);
    assert!(world.machine.floor() >= 3);
}

#[test]
fn first_attempts_are_made_in_the_order_of_the_log() {
    let mut world = World::new(&[1, 0, 0, 0, 0]);
    let mut seen = Vec::new();

    world.append(0, 0, 40, None);
    for _ in 0..1000 {
        world.poll();
        world.follow(3);
        world.read(0, 5, false);
        world.note(Note::Taken);
        seen.extend(world.in_flight.iter().map(|(_, delivery)| delivery.sequence));
        world.answer(0, Reply::Accept);
    }

    assert_eq!(seen, (1..=40).collect::<Vec<_>>());
}
