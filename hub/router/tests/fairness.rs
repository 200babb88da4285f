//! Slow, hung and greedy lanes beside healthy ones, in simulated time: what waits in the router waits for its own
//! sink and for nobody else.
#![allow(clippy::unwrap_used)] // test code

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use dispatch_contract::{
    Answer, Committed, Delivery, DeliverySpec, Entry, Event, Page, Progress, Record, Sequence, Sink,
    SubscriptionId,
};
use dispatch_router::{
    Effect, Filter, FilterVersion, Limits, Machine, Moment, Quotas, Silent, Subscription, Ticket,
};
use futures_util::future::BoxFuture;

const QUICK: Duration = Duration::from_millis(2);
const SLOW: Duration = Duration::from_secs(30);

struct NoSink;

impl Sink for NoSink {
    fn deliver(&self, _: Delivery) -> BoxFuture<'_, Answer> {
        unreachable!("the simulation answers for it")
    }
}

/// How long a lane's sink takes, by the time an attempt starts.
type Takes = Box<dyn Fn(Duration) -> Duration>;

/// A machine whose sinks take their time.
struct World {
    machine: Machine,
    now: Duration,
    lanes: HashMap<SubscriptionId, (String, Takes)>,
    log: Vec<Entry>,
    arrived: Vec<Duration>,
    ends: BinaryHeap<Reverse<(Duration, Ticket)>>,
    started: HashMap<Ticket, Duration>,
    /// How long each event waited for its attempt, by the name of its lane.
    waits: HashMap<String, Vec<Duration>>,
}

impl World {
    fn new(limits: Limits) -> Self {
        Self {
            machine: Machine::new(0, limits, 1, Arc::new(Silent)),
            now: Duration::ZERO,
            lanes: HashMap::new(),
            log: Vec::new(),
            arrived: Vec::new(),
            ends: BinaryHeap::new(),
            started: HashMap::new(),
            waits: HashMap::new(),
        }
    }

    fn moment(&self) -> Moment {
        Moment {
            since_start: self.now,
            unix_ms: 0,
        }
    }

    fn lane(
        &mut self,
        organization: &str,
        name: &str,
        delivery: DeliverySpec,
        takes: impl Fn(Duration) -> Duration + 'static,
    ) {
        let id = SubscriptionId(uuid::Uuid::from_u128(self.lanes.len() as u128 + 1));
        self.lanes.insert(id, (name.to_owned(), Box::new(takes)));
        self.machine.put(
            self.moment(),
            Subscription {
                id,
                organization: organization.into(),
                name: name.into(),
                filters: vec![FilterVersion {
                    from: 1,
                    filter: Filter::All(vec![]),
                }],
                sink: Arc::new(NoSink),
                dead_letter_sink: None,
                delivery,
                progress: Progress::default(),
            },
        );
    }

    fn arrive(&mut self, organization: &str) {
        let sequence = self.log.len() as Sequence + 1;
        let event = Event::builder(sequence.to_string(), "/s", "t").build().unwrap();
        let record = Record::Event(Committed {
            organization: organization.into(),
            target: None,
            arrival: 0,
            event,
        });
        self.write(vec![record]);
        self.poll();
    }

    /// Into the log, where the machine sees it at once.
    fn write(&mut self, records: Vec<Record>) {
        let first = self.log.len() as Sequence + 1;
        let entries = (first..).zip(records);
        let entries: Vec<_> = entries
            .map(|(sequence, record)| Entry { sequence, record })
            .collect();
        self.arrived.extend(entries.iter().map(|_| self.now));
        self.log.extend(entries.iter().cloned());
        let next = self.log.len() as Sequence + 1;
        self.machine.follow(self.moment(), &Page { entries, next });
    }

    fn poll(&mut self) {
        loop {
            let mut effects = Vec::new();
            self.machine.poll(self.moment(), &mut effects);
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                self.take(effect);
            }
        }
    }

    fn take(&mut self, effect: Effect) {
        match effect {
            Effect::Deliver { ticket, delivery, .. } => {
                let (name, takes) = &self.lanes[&delivery.subscription];
                let waited = self.now - self.arrived[delivery.sequence as usize - 1];
                self.waits.entry(name.clone()).or_default().push(waited);
                self.started.insert(ticket, self.now);
                self.ends.push(Reverse((self.now + takes(self.now), ticket)));
            }
            Effect::Read { from, .. } => {
                let entries: Vec<Entry> = self
                    .log
                    .iter()
                    .skip(from as usize - 1)
                    .take(200)
                    .cloned()
                    .collect();
                let next = from + entries.len() as Sequence;
                self.machine
                    .refill(self.moment(), from, Ok(Page { entries, next }));
            }
            Effect::Note(group) => {
                self.machine.noted(self.moment(), Ok(()));
                let settlements = group.settlements.into_iter().map(Record::Settlement);
                let records = settlements.chain(group.through.into_iter().map(Record::Through));
                self.write(records.collect());
            }
            Effect::Abort(_) | Effect::Hasten => {}
        }
    }

    /// Lets time pass, and attempts end.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let ends = self.ends.peek().map(|Reverse((at, _))| *at);
            let wakes = self.machine.wake_at().map(|at| at.max(self.now));
            let next = ends.into_iter().chain(wakes).min().filter(|at| *at <= until);
            let Some(next) = next else {
                self.now = until;
                return;
            };
            self.now = next;
            while let Some(Reverse((at, ticket))) = self.ends.peek().copied()
                && at <= next
            {
                self.ends.pop();
                let took = self.now - self.started.remove(&ticket).unwrap();
                self.machine
                    .ended(self.moment(), ticket, Answer::accepted(), took);
            }
            self.poll();
        }
    }

    /// The 99th percentile of how long events waited, over all lanes whose name begins like this.
    fn p99(&self, name: &str) -> Duration {
        let of = self.waits.iter().filter(|(lane, _)| lane.starts_with(name));
        let mut waits: Vec<Duration> = of.flat_map(|(_, waits)| waits.iter().copied()).collect();
        waits.sort();
        waits[waits.len() * 99 / 100]
    }
}

fn patient() -> DeliverySpec {
    DeliverySpec {
        timeout: Duration::from_secs(60),
        ..DeliverySpec::default()
    }
}

/// What healthy lanes wait beside `slow` lanes that are slow from some time on.
fn healthy_beside(slow: usize, slow_from: Duration) -> (Duration, usize) {
    let mut world = World::new(Limits::default());
    for n in 0..20 {
        world.lane("one", &format!("healthy-{n}"), patient(), |_| QUICK);
    }
    for n in 0..slow {
        let takes = move |now: Duration| if now < slow_from { QUICK } else { SLOW };
        world.lane("one", &format!("slow-{n}"), patient(), takes);
    }
    for _ in 0..400 {
        world.arrive("one");
        world.pass(Duration::from_millis(10));
    }
    let expected = world.waits.iter().filter(|(lane, _)| lane.starts_with("healthy"));
    (world.p99("healthy"), expected.map(|(_, waits)| waits.len()).sum())
}

#[test]
fn slow_sinks_cost_healthy_ones_nothing_however_many_they_are() {
    let alone = healthy_beside(0, Duration::ZERO);

    for slow in [1, 64, 300] {
        assert_eq!(
            healthy_beside(slow, Duration::ZERO),
            alone,
            "{slow} slow from the start"
        );
    }

    assert_eq!(alone, (Duration::ZERO, 20 * 400));
}

#[test]
fn sinks_that_were_quick_and_hang_all_at_once_leave_room_for_the_others() {
    let alone = healthy_beside(0, Duration::ZERO);

    for slow in [64, 300] {
        let beside = healthy_beside(slow, Duration::from_secs(1));
        assert_eq!(beside, alone, "{slow} slow after a second");
    }
}

#[test]
fn ten_thousand_busy_lanes_of_one_organization_do_not_starve_another() {
    let mut world = World::new(Limits {
        in_flight: 100,
        ..Limits::default()
    });
    for n in 0..10_000 {
        world.lane("greedy", &format!("greedy-{n}"), patient(), |_| {
            Duration::from_millis(10)
        });
    }
    world.lane("modest", "modest", patient(), |_| QUICK);
    for _ in 0..3 {
        world.arrive("greedy");
    }

    for _ in 0..50 {
        world.arrive("modest");
        world.pass(Duration::from_millis(20));
    }

    assert_eq!(world.waits["modest"].len(), 50);
    assert!(
        world.p99("modest") <= Duration::from_millis(10),
        "{:?}",
        world.p99("modest")
    );
    assert!(world.p99("greedy") > Duration::from_millis(500), "they were busy");
}

#[test]
fn organizations_that_both_have_much_to_do_get_the_same() {
    let mut world = World::new(Limits {
        in_flight: 60,
        ..Limits::default()
    });
    for n in 0..200 {
        world.lane("many", &format!("many-{n}"), patient(), |_| {
            Duration::from_millis(10)
        });
    }
    for n in 0..3 {
        world.lane("few", &format!("few-{n}"), patient(), |_| {
            Duration::from_millis(10)
        });
    }
    for _ in 0..300 {
        world.arrive("many");
        world.arrive("few");
    }

    world.pass(Duration::from_millis(400));

    let made = |name: &str| -> usize {
        let of = world.waits.iter().filter(|(lane, _)| lane.starts_with(name));
        of.map(|(_, waits)| waits.len()).sum()
    };
    let few = made("few").min(900);
    assert!(
        few == 900 || few * 10 >= made("many") * 8,
        "{few} and {}",
        made("many")
    );
}

#[test]
fn a_quota_bounds_an_organization_and_only_that_one() {
    let mut world = World::new(Limits {
        quotas: Quotas {
            of: [("small".into(), Some(3))].into(),
            ..Quotas::default()
        },
        ..Limits::default()
    });
    world.lane("small", "small", patient(), |_| SLOW);
    world.lane("large", "large", patient(), |_| SLOW);
    for _ in 0..50 {
        world.arrive("small");
        world.arrive("large");
    }

    assert_eq!((world.waits["small"].len(), world.waits["large"].len()), (3, 50));
}

#[test]
fn a_quota_counts_from_the_moment_it_changes() {
    let mut world = World::new(Limits::default());
    let each = |each| Quotas {
        each,
        ..Quotas::default()
    };
    // Two lanes, so that each of them may hold only half of what their organization may still take.
    for name in ["one", "two"] {
        world.lane("acme", name, patient(), |_| SLOW);
    }
    world.machine.set_quotas(each(Some(4)));
    for _ in 0..50 {
        world.arrive("acme");
    }
    let before = world.machine.in_flight();
    assert!((1..=4).contains(&before), "{before}");

    world.machine.set_quotas(each(Some(20)));
    world.poll();
    let raised = world.machine.in_flight();
    assert!((2 * before..=20).contains(&raised), "{raised} after {before}");

    // Lowered: nothing is cut short, and nothing starts until there is less under way.
    world.machine.set_quotas(each(Some(2)));
    world.pass(SLOW + QUICK);
    let lowered = world.machine.in_flight();
    assert!((1..=2).contains(&lowered), "{lowered}");

    world.machine.set_quotas(each(None));
    world.poll();
    assert!(world.machine.in_flight() > 20, "{}", world.machine.in_flight());
}
