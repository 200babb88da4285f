//! A machine with its log and sinks, all moved by hand, one step at a time.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dispatch_contract::{
    Answer, AppendError, Committed, Delivery, DeliverySpec, Event, Group, Log as _, Order, Outcome, Progress,
    Rate, ReadError, Sequence, Settlement, Sink, SubscriptionId,
};
use dispatch_router::{DeliveryInfo, Effect, FilterVersion, Machine, Moment, Observer, Subscription, Ticket};
use futures_util::future::BoxFuture;

use crate::memory_log::MemoryLog;
use crate::steps::{KEYS, Note, ORGANIZATIONS, RETRY, Reply, Step, TYPES, filters, limits};

pub(crate) struct NoSink;

impl Sink for NoSink {
    fn deliver(&self, _: Delivery) -> BoxFuture<'_, Answer> {
        unreachable!("the simulation answers for it")
    }
}

/// Counts settlements of one life.
#[derive(Default)]
pub(crate) struct Life {
    pub(crate) settled: Mutex<HashMap<(SubscriptionId, Sequence), usize>>,
    pub(crate) routed: Mutex<HashMap<Sequence, usize>>,
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

pub(crate) struct World {
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) machine: Machine,
    pub(crate) life: Arc<Life>,
    pub(crate) now: Duration,
    pub(crate) tail: Sequence,
    pub(crate) subscriptions: BTreeMap<usize, (Subscription, Sequence)>,
    pub(crate) in_flight: Vec<(Ticket, Delivery)>,
    /// Told to stop, but still running.
    pub(crate) cut_short: Vec<Ticket>,
    pub(crate) reads: Vec<Sequence>,
    pub(crate) note: Option<Group>,
    /// The head after the last append that was waited for.
    pub(crate) durable: Sequence,
    /// When attempts started, by lane.
    pub(crate) starts: HashMap<SubscriptionId, Vec<Duration>>,
    /// Lanes whose breaker is half open, and the attempts started since.
    pub(crate) probes: HashMap<SubscriptionId, usize>,
    pub(crate) events: usize,
    pub(crate) names: u128,
    pub(crate) crashes: usize,
    /// Marks that named what is owed.
    pub(crate) named: usize,
    /// How often the log was asked to write soon.
    pub(crate) hastened: usize,
}

impl World {
    pub(crate) fn new(filter_of: &[usize]) -> Self {
        let life = Arc::new(Life::default());
        let mut world = Self {
            log: MemoryLog::new(),
            machine: Machine::new(0, limits(), 1, life.clone()),
            life,
            now: Duration::ZERO,
            tail: 1,
            subscriptions: BTreeMap::new(),
            in_flight: Vec::new(),
            cut_short: Vec::new(),
            reads: Vec::new(),
            note: None,
            durable: 0,
            starts: HashMap::new(),
            probes: HashMap::new(),
            events: 0,
            names: 0,
            crashes: 0,
            named: 0,
            hastened: 0,
        };
        for (lane, filter) in filter_of.iter().enumerate() {
            world.create(lane, *filter);
        }
        world
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment {
            since_start: self.now,
            unix_ms: self.now.as_millis() as i64,
        }
    }

    pub(crate) fn create(&mut self, lane: usize, filter: usize) {
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
                order: if lane < 2 { Order::None } else { Order::Key },
                rate: Rate::per_second(3.0).filter(|_| lane % 2 == 1),
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

    pub(crate) fn take(&mut self, step: Step) {
        match step {
            Step::Append {
                organization,
                ty,
                key,
                count,
                target,
            } => self.append(organization, ty, key, count, target),
            Step::Follow(most) => self.follow(most),
            Step::Answer { which, reply } => self.answer(which, reply),
            Step::Read { which, most, fails } => self.read(which, most, fails),
            Step::Note(note) => self.note(note),
            Step::Pass(millis) => self.now += Duration::from_millis(millis),
            Step::Crash { lose, older } => self.crash(lose, older),
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
            Step::Unpark { lane, key, skip } => {
                let id = self.subscriptions[&lane].0.id;
                self.machine.unpark(id, key.map(|key| KEYS[key]), skip).unwrap();
            }
        }
        self.poll();
    }

    pub(crate) fn poll(&mut self) {
        let mut effects = Vec::new();
        self.machine.poll(self.moment(), &mut effects);
        for effect in effects {
            match effect {
                Effect::Deliver { ticket, delivery, .. } => {
                    self.check_delivery(&delivery);
                    self.check_order(&delivery);
                    self.check_gate(&delivery);
                    self.in_flight.push((ticket, delivery));
                }
                Effect::Abort(ticket) => {
                    self.in_flight.retain(|(t, _)| *t != ticket);
                    self.cut_short.push(ticket);
                }
                Effect::Read { from, .. } => self.reads.push(from),
                Effect::Note(group) => {
                    assert!(self.note.is_none(), "one group is handed over at a time");
                    self.note = Some(group);
                }
                Effect::Hasten => self.hastened += 1,
            }
        }
        self.check_bounds();
    }

    pub(crate) fn append(
        &mut self,
        organization: usize,
        ty: usize,
        key: Option<usize>,
        count: usize,
        target: Option<usize>,
    ) {
        let target = target.map(|lane| self.subscriptions[&lane].0.id);
        for _ in 0..count {
            self.events += 1;
            let event = Event::builder(format!("e{}", self.events), "/sim", TYPES[ty]);
            let event = match key {
                Some(key) => event.subject(KEYS[key]),
                None => event,
            };
            let event = event.build().unwrap();
            self.log.append_to(ORGANIZATIONS[organization], event, target);
        }
        self.durable = self.log.head();
    }

    pub(crate) fn follow(&mut self, most: usize) {
        let page = self.log.page(self.tail, most);
        self.tail = page.next;
        self.machine.follow(self.moment(), &page);
    }

    pub(crate) fn answer(&mut self, which: usize, reply: Reply) {
        if let Some(ticket) = self.cut_short.pop() {
            let answer = Answer::released("cut short");
            self.machine.ended(self.moment(), ticket, answer, Duration::ZERO);
        }
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

    pub(crate) fn read(&mut self, which: usize, most: usize, fails: bool) {
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

    pub(crate) fn note(&mut self, note: Note) {
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
                    self.check_nothing_owed(mark.subscription, mark.sequence, &mark.but_for);
                    self.check_stretch(mark.subscription);
                    self.named += usize::from(!mark.but_for.is_empty());
                }
                Ok(())
            }
        };
        self.machine.noted(self.moment(), result);
    }

    pub(crate) fn crash(&mut self, lose: usize, older: usize) {
        self.crashes += 1;
        self.check_repeats();
        let head = self.log.head();
        self.log
            .lose_after(head.saturating_sub(lose as Sequence).max(self.durable));
        let head = self.log.head();
        for (_, created) in self.subscriptions.values_mut() {
            // A store that names a sequence the log lost starts the subscription there.
            *created = (*created).min(head);
        }
        self.life = Arc::new(Life::default());
        // The head may be asked for before the progress is read.
        let head = head.saturating_sub(older as Sequence);
        self.machine = Machine::new(head, limits(), self.crashes as u64, self.life.clone());
        self.now = Duration::ZERO;
        self.tail = head + 1;
        self.starts.clear();
        self.probes.clear();
        self.in_flight.clear();
        self.cut_short.clear();
        self.reads.clear();
        self.note = None;
        for (subscription, created) in self.subscriptions.values_mut() {
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

    fn unpark_all(&mut self) -> usize {
        let ids = self.subscriptions.values().map(|(s, _)| s.id);
        ids.map(|id| self.machine.unpark(id, None, false).unwrap()).sum()
    }

    /// Everything answers from now on; returns when the machine has nothing left to do.
    pub(crate) fn come_to_rest(&mut self) {
        for _ in 0..100_000 {
            self.poll();
            let head = self.log.head();
            if self.tail <= head {
                self.follow(100);
            } else if !(self.in_flight.is_empty() && self.cut_short.is_empty()) {
                self.answer(0, Reply::Accept);
            } else if !self.reads.is_empty() {
                self.read(0, 7, false);
            } else if self.note.is_some() {
                self.note(Note::Taken);
            } else if self.unpark_all() > 0 {
            } else if let Some(at) = self.machine.wake_at() {
                self.now = self.now.max(at);
            } else {
                return;
            }
        }
        panic!(
            "the machine does not come to rest: {:#?}",
            self.machine.statuses(self.moment())
        );
    }
}
