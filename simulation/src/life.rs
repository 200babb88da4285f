//! One life of the hub: opened on what the last one left, worked, and ended one way or another.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dispatch_contract::Log;
use dispatch_journal::{Journal, OpenError, Recovered, Work};
use dispatch_router::{Drained, Router};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::checks::{Checks, read_back};
use crate::disk::Faults;
use crate::plan::{End, Life, faults};
use crate::producers::{aim, produce};
use crate::slow_log::SlowLog;
use crate::witness::Watching;
use crate::world::{DIR, World};

/// A disk that fails at every opening is mended after so many.
const OPENINGS: usize = 12;
/// A life that does not end by itself ends after this.
const LONGEST: Duration = Duration::from_millis(1500);
/// Everything comes to rest within this, in the world's time.
const REST: Duration = Duration::from_secs(4 * 3600);

/// How a life ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// In the middle of something.
    Cut,
    /// Asked to, and whether everything was done by then.
    Stopped(Drained),
}

/// A hub that works.
struct Hub {
    journal: Journal,
    log: Arc<SlowLog>,
    router: Router,
    tasks: Vec<(&'static str, JoinHandle<()>)>,
    producers: Vec<JoinHandle<()>>,
}

impl World {
    /// Lives one life. An error is what must not have happened.
    pub(crate) async fn live(&mut self, life: Life) -> Result<Ended, String> {
        self.life += 1;
        let number = self.life;
        self.trace().say(format_args!("--- life {number}: {life:?}"));
        if life.faulty {
            self.disk.set_faults(faults(&mut self.dice));
        }
        if let End::Change(n, _) = life.end {
            self.disk.cut_power_at(Some(n));
        }
        let Some((journal, recovered, work)) = self.open()? else {
            return Ok(Ended::Cut);
        };
        self.check_opening(&journal, &recovered).await?;
        let mut hub = self.start(journal, &recovered, work, life);
        let ended = tokio::select! {
            biased;
            () = self.witness.alarm() => Ended::Cut,
            ended = self.until_end(&mut hub, life.end) => ended?,
        };
        match self.witness.broken() {
            Some(broken) => Err(broken),
            None => Ok(ended),
        }
    }

    /// Opens the journal; `None` when the power went meanwhile.
    fn open(&mut self) -> Result<Option<(Journal, Recovered, Work)>, String> {
        for n in 0.. {
            if n == OPENINGS {
                self.disk.set_faults(Faults::default());
            }
            let clock = Arc::new(self.clock.clone());
            let opened = Journal::open_manual(
                Arc::new(self.disk.clone()),
                DIR.as_ref(),
                &self.plan.options,
                clock,
            );
            let error = match opened {
                Ok(opened) => return Ok(Some(opened)),
                Err(error) => error,
            };
            if !self.disk.is_on() {
                return Ok(None);
            }
            let full = matches!(&error, OpenError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull);
            if n >= OPENINGS || full {
                return Err(format!("the journal cannot be opened: {error:?}"));
            }
            self.trace().say(format_args!("not opened: {error:?}"));
        }
        Ok(None)
    }

    /// Looks at the whole log on a disk that behaves for so long.
    async fn check_opening(&mut self, journal: &Journal, recovered: &Recovered) -> Result<(), String> {
        let (head, first) = (recovered.head, recovered.first);
        let torn = recovered.torn.is_some();
        self.trace().say(format_args!(
            "opened: {first} to {head}, torn {torn}, {:?}",
            recovered.damage
        ));
        let faults = self.disk.set_faults(Faults::default());
        self.opens_again()?;
        let read = read_back(journal, recovered).await?;
        let published = &mut *self.published.lock().unwrap_or_else(PoisonError::into_inner);
        published.read_back(recovered, &read)?;
        let checks = Checks {
            published,
            book: &self.witness.book(),
            store: &self.store.lock().unwrap_or_else(PoisonError::into_inner),
            forgets: self.forgets(),
        };
        checks.opening(journal, recovered)?;
        if let Some(until) = self.nothing_to_repeat.take() {
            checks.nothing_to_repeat(until)?;
        }
        if matches!(self.last, Some(Ended::Stopped(_))) && recovered.torn.is_some() && !self.was_rough {
            return Err(format!("torn after a clean stop: {:?}", recovered.torn));
        }
        self.disk.set_faults(faults);
        Ok(())
    }

    /// What an opening repaired is repaired: another one, if the power went now, would find nothing.
    fn opens_again(&self) -> Result<(), String> {
        let (disk, clock) = (Arc::new(self.disk.copy()), Arc::new(self.clock.copy()));
        let (_journal, again, _work) = Journal::open_manual(disk, DIR.as_ref(), &self.plan.options, clock)
            .map_err(|error| format!("the journal cannot be opened again: {error:?}"))?;
        if let Some(torn) = again.torn {
            return Err(format!("torn again: {torn}"));
        }
        match again.damage.iter().find(|damage| damage.missing.is_some()) {
            Some(damage) => Err(format!("damaged again: {damage}")),
            None => Ok(()),
        }
    }

    fn start(&mut self, journal: Journal, recovered: &Recovered, work: Work, life: Life) -> Hub {
        let progress = &recovered.progress;
        self.witness
            .begin_life(self.life, progress.clone(), self.plan.limits.in_flight);
        let lanes = {
            let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
            while store.live.len() < self.plan.subscriptions {
                store.create(recovered.head);
            }
            (0..store.live.len())
                .map(|place| store.lane(place, progress))
                .collect()
        };
        let log = SlowLog::new(journal.clone(), self.dice.split(), self.witness.clone());
        let (router, running) = dispatch_router::start_seeded(
            self.dice.bits(),
            log.clone(),
            recovered.head,
            lanes,
            self.plan.limits.clone(),
            Arc::new(Watching(self.witness.clone())),
        );
        let mut hub = Hub {
            tasks: vec![("router", running), ("journal", tokio::spawn(work.run()))],
            producers: Vec::new(),
            journal,
            log,
            router,
        };
        for producer in &self.producers {
            producer
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .begin_life(&hub.journal);
            let posts = produce(
                producer.clone(),
                hub.log.clone(),
                hub.journal.clone(),
                self.witness.clone(),
            );
            hub.producers.push(tokio::spawn(posts));
        }
        self.surround(&mut hub, life);
        hub
    }

    /// Everything beside the hub: who follows the log, who changes the configuration, and what goes wrong.
    fn surround(&mut self, hub: &mut Hub, life: Life) {
        let (journal, router) = (hub.journal.clone(), hub.router.clone());
        let follow = self.follow(journal, router);
        hub.tasks.push(("follower", tokio::spawn(follow)));
        if self.plan.changes > 0 && !matches!(life.end, End::Rest) {
            let change = self.reconfigure(hub.journal.clone(), hub.log.clone(), hub.router.clone());
            hub.tasks.push(("configuration", tokio::spawn(change)));
        }
        let trouble = self.trouble(life);
        hub.tasks.push(("trouble", tokio::spawn(trouble)));
    }

    async fn until_end(&self, hub: &mut Hub, end: End) -> Result<Ended, String> {
        match end {
            End::Change(..) => {
                // A life without many changes ends all the same.
                let gone = tokio::time::timeout(LONGEST, self.disk.power_gone()).await;
                self.trace()
                    .say(format_args!("the power is gone: {}", gone.is_ok()));
                Ok(Ended::Cut)
            }
            End::Time(lasts, turns, _) => {
                sleep(lasts).await;
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
                Ok(Ended::Cut)
            }
            End::Stop(lasts, within) => {
                sleep(lasts).await;
                self.stop(hub, within).await
            }
            End::Rest => {
                self.rest(hub).await?;
                self.stop(hub, Duration::from_secs(60)).await
            }
        }
    }

    /// What a hub does when it is told to stop.
    async fn stop(&self, hub: &mut Hub, within: Duration) -> Result<Ended, String> {
        for producer in hub.producers.drain(..) {
            producer.abort();
        }
        for (name, task) in &hub.tasks {
            if matches!(*name, "configuration") {
                task.abort();
            }
        }
        let asked = self.clock.now();
        let drained = hub.router.drain(within).await;
        let took = self.clock.now() - asked;
        self.trace().say(format_args!("drained: {drained:?}"));
        if took > within + Duration::from_secs(1) {
            return Err(format!("a drain within {within:?} took {took:?}"));
        }
        let closed = tokio::time::timeout(Duration::from_secs(60), hub.journal.close()).await;
        if closed.is_err() {
            return Err("the journal does not close".to_owned());
        }
        for (name, task) in hub.tasks.drain(..) {
            if matches!(name, "trouble" | "configuration" | "follower") {
                task.abort();
            }
            match tokio::time::timeout(Duration::from_secs(60), task).await {
                Ok(Err(error)) if error.is_panic() => return Err(format!("the {name} panicked")),
                Ok(_) => {}
                Err(_) => return Err(format!("the {name} does not end")),
            }
        }
        Ok(Ended::Stopped(drained))
    }

    /// Waits until there is nothing left to do.
    async fn rest(&self, hub: &mut Hub) -> Result<(), String> {
        let start = self.clock.now();
        let mut still = (0, 0);
        while still.1 < 10 {
            sleep(Duration::from_millis(500)).await;
            for (name, task) in &hub.tasks {
                if task.is_finished() && *name != "trouble" {
                    return Err(format!("the {name} ended by itself"));
                }
            }
            let content = self
                .producers
                .iter()
                .all(|p| p.lock().unwrap_or_else(PoisonError::into_inner).is_content());
            let statuses = hub.router.statuses().await;
            let idle = statuses
                .iter()
                .all(|s| !s.behind && s.queued + s.in_flight + s.retrying + s.behind_keys == 0);
            let head = hub.log.head();
            still = match content && idle && head == still.0 {
                true => (head, still.1 + 1),
                false => (head, 0),
            };
            if self.clock.now() - start > REST {
                return Err(format!("no rest: {statuses:#?}"));
            }
        }
        Ok(())
    }

    /// Changes subscriptions, makes and removes some, and posts what is for one of them only.
    fn reconfigure(
        &mut self,
        journal: Journal,
        log: Arc<SlowLog>,
        router: Router,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (store, witness) = (self.store.clone(), self.witness.clone());
        let (mut dice, pace) = (self.dice.split(), self.plan.changes);
        let aimed = self.aimed.clone();
        async move {
            loop {
                sleep(Duration::from_millis(dice.between(1, pace))).await;
                let what = dice.below(12);
                if what < 3 {
                    let target = {
                        let store = store.lock().unwrap_or_else(PoisonError::into_inner);
                        let stored = dice.pick(&store.live);
                        (stored.organization.clone(), stored.id)
                    };
                    let number = aimed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let (log, witness) = (log.clone(), witness.clone());
                    tokio::spawn(aim(log, witness, target.0, target.1, number));
                    continue;
                }
                if what >= 10 {
                    let parked = {
                        let store = store.lock().unwrap_or_else(PoisonError::into_inner);
                        dice.pick(&store.live).id
                    };
                    let unparked = router.unpark(parked, None, dice.chance(300)).await;
                    witness.trace.say(format_args!("unpark {parked}: {unparked:?}"));
                    continue;
                }
                let change = {
                    let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
                    let place = dice.below(store.live.len() as u64) as usize;
                    let (head, progress) = (journal.head(), witness.book().progress.clone());
                    witness
                        .trace
                        .say(format_args!("change {what} of {}", store.live[place].name));
                    match what {
                        3 if store.live.len() > 1 => ControlFlow::Break(store.remove(place)),
                        4 if store.live.len() < 8 => {
                            let place = store.create(head);
                            ControlFlow::Continue(store.lane(place, &progress))
                        }
                        _ => {
                            store.change(place, head, router.floor());
                            ControlFlow::Continue(store.lane(place, &progress))
                        }
                    }
                };
                match change {
                    ControlFlow::Continue(lane) => router.put(lane).await,
                    ControlFlow::Break(id) => {
                        router.remove(id).await;
                        journal.forget(id);
                    }
                }
            }
        }
    }

    /// The disk fails and fills up now and then, and the wall clock jumps.
    fn trouble(&mut self, life: Life) -> impl Future<Output = ()> + Send + use<> {
        let (disk, clock, mut dice) = (self.disk.clone(), self.clock.clone(), self.dice.split());
        let (trace, jumps) = (self.trace().clone(), self.plan.jumps);
        async move {
            loop {
                sleep(Duration::from_millis(dice.between(20, 800))).await;
                if life.faulty {
                    let faults = if dice.chance(500) {
                        faults(&mut dice)
                    } else {
                        Faults::default()
                    };
                    disk.set_faults(faults);
                    trace.say(format_args!("{faults:?}"));
                }
                if life.cramped {
                    let room = if dice.chance(500) {
                        dice.below(40 << 10)
                    } else {
                        u64::MAX / 2
                    };
                    disk.set_capacity(disk.used() + room);
                    trace.say(format_args!("room for {room} bytes"));
                }
                if jumps && dice.chance(200) {
                    let by = dice.between(0, 7_200_000) as i64 - 3_600_000;
                    clock.jump(by);
                    trace.say(format_args!("the wall clock jumps by {by} ms"));
                }
            }
        }
    }
}

/// A part that several share.
pub(crate) type Shared<T> = Arc<Mutex<T>>;

/// Makes a shared part.
pub(crate) fn shared<T>(part: T) -> Shared<T> {
    Arc::new(Mutex::new(part))
}
