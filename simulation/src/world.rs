//! Everything a seed makes, through all lives of the hub, and the verdict.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::checks::Checks;
use crate::clock::SimClock;
use crate::dice::Dice;
use crate::disk::{Faults, Loss, SimDisk};
use crate::life::{Ended, Shared, shared};
use crate::plan::{End, Life, Plan};
use crate::producers::Producer;
use crate::published::Published;
use crate::sinks::Health;
use crate::store::Store;
use crate::trace::Trace;
use crate::witness::Witness;

/// Where the journal is on the simulated disk.
pub(crate) const DIR: &str = "/journal";

/// What a sink took is settled within this, on a healthy disk.
const SETTLED_WITHIN: Duration = Duration::from_millis(400);

/// Everything.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) dice: Dice,
    pub(crate) clock: SimClock,
    pub(crate) disk: SimDisk,
    pub(crate) witness: Arc<Witness>,
    pub(crate) published: Shared<Published>,
    pub(crate) store: Shared<Store>,
    pub(crate) producers: Vec<Shared<Producer>>,
    pub(crate) aimed: Arc<AtomicU64>,
    pub(crate) health: Arc<Health>,
    pub(crate) life: usize,
    pub(crate) last: Option<Ended>,
    /// The last life's disk had its troubles.
    pub(crate) was_rough: bool,
    /// What sinks took in the last life before this is settled.
    pub(crate) nothing_to_repeat: Option<Duration>,
}

/// What a run that held came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The same for two runs that went the same way.
    pub number: u64,
    /// Events in the log.
    pub events: usize,
    /// Deliveries that ended.
    pub settled: usize,
    /// Lives of the hub.
    pub lives: usize,
}

impl World {
    /// The world of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let plan = Plan::new(&mut dice);
        let clock = SimClock::new(dice.split());
        let witness = Arc::new(Witness::new(Trace::new(clock.clone())));
        let health = Arc::new(Health::default());
        let producers = (0..plan.producers)
            .map(|n| shared(Producer::new(n, dice.split())))
            .collect();
        Self {
            disk: SimDisk::new(dice.split()),
            store: shared(Store::new(witness.clone(), health.clone(), dice.split())),
            published: shared(Published::default()),
            aimed: Arc::new(AtomicU64::new(1)),
            life: 0,
            last: None,
            was_rough: false,
            nothing_to_repeat: None,
            plan,
            dice,
            clock,
            witness,
            producers,
            health,
        }
    }

    /// The story so far.
    pub(crate) fn trace(&self) -> &Trace {
        &self.witness.trace
    }

    pub(crate) fn forgets(&self) -> bool {
        self.plan.options.retain_age.is_some() || self.plan.options.retain_bytes.is_some()
    }

    /// All lives, the healing, and the verdict. An error is what must not have happened.
    pub(crate) fn run(&mut self) -> Result<Held, String> {
        self.trace().say(format_args!("{:?}", self.plan));
        for life in self.plan.lives.clone() {
            self.live_on_a_runtime(life)?;
        }
        self.heal();
        let rest = Life {
            end: End::Rest,
            faulty: false,
            cramped: false,
        };
        self.live_on_a_runtime(rest)?;
        let last = Life {
            end: End::Stop(Duration::ZERO, Duration::from_secs(60)),
            ..rest
        };
        self.live_on_a_runtime(last)?;
        self.verdict()
    }

    fn live_on_a_runtime(&mut self, life: Life) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .map_err(|error| error.to_string())?;
        let clock = self.clock.clone();
        let ended = runtime.block_on(async {
            clock.begin_life();
            let ended = self.live(life).await;
            clock.end_life();
            ended
        });
        // Everything that is under way ends here, wherever it stands.
        drop(runtime);
        let ended = ended?;
        self.trace()
            .say(format_args!("life {} ended: {ended:?}", self.life));
        let loss = match life.end {
            End::Change(_, loss) | End::Time(_, _, loss) => loss,
            End::Stop(..) | End::Rest => Loss::Nothing,
        };
        self.disk.set_faults(Faults::default());
        self.disk.set_capacity(u64::MAX / 2);
        self.disk.lose_power(loss);
        self.was_rough = life.faulty || life.cramped;
        let now = self.clock.now();
        self.nothing_to_repeat = match ended {
            _ if self.was_rough => None,
            Ended::Stopped(drained) => drained.finished.then_some(now),
            Ended::Cut => now.checked_sub(SETTLED_WITHIN).filter(|_| self.plan.is_roomy()),
        };
        self.last = Some(ended);
        Ok(())
    }

    fn heal(&mut self) {
        self.trace().say(format_args!("--- everything heals"));
        self.health.heal();
        for producer in &self.producers {
            producer.lock().unwrap_or_else(PoisonError::into_inner).done = true;
        }
    }

    fn verdict(&self) -> Result<Held, String> {
        let published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        let checks = Checks {
            published: &published,
            book: &self.witness.book(),
            store: &self.store.lock().unwrap_or_else(PoisonError::into_inner),
            forgets: self.forgets(),
        };
        checks.nothing_owed()?;
        Ok(Held {
            number: self.trace().number(),
            events: published.events().count(),
            settled: published.settlements().count(),
            lives: self.life,
        })
    }
}
