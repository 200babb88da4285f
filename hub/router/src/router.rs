//! The loop around the machine: follows the log, runs attempts, hands settlements over, obeys commands.
//!
//! One task owns the machine, so there is no lock. It never awaits a sink, a read or the log by itself:
//! these are tasks and futures beside it, and whatever ends first is told to the machine. Stopping: a drain
//! lets attempts end within its time and cuts off the rest; when the last [`Router`] is dropped everything
//! is cut off at once. Both only repeat deliveries, they lose none.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use dispatch_contract::{AppendError, Log, Page, ReadError, Sequence, SubscriptionId, Tail};
use futures_util::FutureExt as _;
use futures_util::future::{AbortHandle, BoxFuture, OptionFuture};
use futures_util::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::attempt::{Ended, attempt};
use crate::crew::Crew;
use crate::limits::{Limits, Quotas};
use crate::machine::{Effect, Machine, Moment, Ticket};
use crate::observer::Observer;
use crate::status::{Drained, LaneStatus, PendingDelivery};
use crate::subscription::Subscription;

/// Commands waiting for the loop; more wait with their senders.
const COMMANDS: usize = 64;
/// What a drain keeps of its time for the last settlements.
const LAST_WRITE: Duration = Duration::from_millis(250);

/// Talks to a running router. Cheap to clone.
#[derive(Clone)]
pub struct Router {
    commands: mpsc::Sender<Command>,
    floor: Arc<AtomicU64>,
}

enum Command {
    Put(Box<Subscription>, oneshot::Sender<()>),
    Remove(SubscriptionId, oneshot::Sender<()>),
    Status(SubscriptionId, oneshot::Sender<Option<LaneStatus>>),
    Statuses(oneshot::Sender<Vec<LaneStatus>>),
    Pending(
        Arc<str>,
        Option<SubscriptionId>,
        usize,
        oneshot::Sender<Vec<PendingDelivery>>,
    ),
    Unpark(
        SubscriptionId,
        Option<String>,
        bool,
        oneshot::Sender<Option<usize>>,
    ),
    Quotas(Quotas, oneshot::Sender<()>),
    Drain(Duration, oneshot::Sender<Drained>),
}

/// Starts a router on the current runtime. `from_head` is the log's head as the subscriptions' progress was
/// read: they catch up to it by themselves. The task ends after a drain, or when the last [`Router`] is
/// dropped.
pub fn start(
    log: Arc<dyn Log>,
    from_head: Sequence,
    subscriptions: Vec<Subscription>,
    limits: Limits,
    observer: Arc<dyn Observer>,
) -> (Router, JoinHandle<()>) {
    let seed = RandomState::new().hash_one(Instant::now());
    start_seeded(seed, log, from_head, subscriptions, limits, observer)
}

/// Starts a router whose every choice follows from `seed` and from the order in which things happen: on a
/// runtime of one thread with a paused clock, the same again from the same seed. For simulations.
pub fn start_seeded(
    seed: u64,
    log: Arc<dyn Log>,
    from_head: Sequence,
    subscriptions: Vec<Subscription>,
    limits: Limits,
    observer: Arc<dyn Observer>,
) -> (Router, JoinHandle<()>) {
    let (sender, commands) = mpsc::channel(COMMANDS);
    let started = Instant::now();
    let mut machine = Machine::new(from_head, limits, seed, observer);
    for subscription in subscriptions {
        machine.put(moment(started), subscription);
    }
    let floor = Arc::new(AtomicU64::new(machine.floor()));
    let router = Router {
        commands: sender,
        floor: floor.clone(),
    };
    let running = Running {
        tail: pages(log.tail(from_head + 1)),
        log,
        machine,
        commands,
        started,
        floor,
        crew: Crew::start(),
        aborts: HashMap::new(),
        reads: JoinSet::new(),
        noting: None,
        effects: Vec::new(),
        pages_first: false,
        drain: None,
    };
    (router, tokio::spawn(running.run()))
}

impl Router {
    /// Takes in a new or changed subscription; resolves when it counts for every event not yet routed. A
    /// changed one keeps its queue, its progress and what is under way; its filter versions count from their
    /// `from`, but never judge again what was already looked at.
    pub async fn put(&self, subscription: Subscription) {
        self.ask(|reply| Command::Put(Box::new(subscription), reply))
            .await;
    }

    /// Forgets a subscription: attempts under way are cut short, what it owes is dropped.
    pub async fn remove(&self, id: SubscriptionId) {
        self.ask(|reply| Command::Remove(id, reply)).await;
    }

    /// How one subscription stands; `None` when it is unknown or the router has stopped.
    pub async fn status(&self, id: SubscriptionId) -> Option<LaneStatus> {
        self.ask(|reply| Command::Status(id, reply)).await.flatten()
    }

    /// How all subscriptions stand, in no order.
    pub async fn statuses(&self) -> Vec<LaneStatus> {
        self.ask(Command::Statuses).await.unwrap_or_default()
    }

    /// At most `limit` deliveries of an organization (of one subscription) that have not ended, the parked ones
    /// first; what a subscription that is behind has not read yet is not among them.
    pub async fn pending(
        &self,
        organization: &str,
        subscription: Option<SubscriptionId>,
        limit: usize,
    ) -> Vec<PendingDelivery> {
        self.ask(|reply| Command::Pending(organization.into(), subscription, limit, reply))
            .await
            .unwrap_or_default()
    }

    /// Tries parked keys of a subscription again, or one of them, in order; with `skip` the parked event of each
    /// becomes a dead letter and its key goes on. Returns how many keys, `None` for an unknown subscription.
    pub async fn unpark(&self, id: SubscriptionId, key: Option<String>, skip: bool) -> Option<usize> {
        self.ask(|reply| Command::Unpark(id, key, skip, reply))
            .await
            .flatten()
    }

    /// What organizations may have under way from now on. What is under way already goes on.
    pub async fn set_quotas(&self, quotas: Quotas) {
        self.ask(|reply| Command::Quotas(quotas, reply)).await;
    }

    /// No subscription owes anything at or before this, and the log has written so: a crash does not change it. For
    /// retention.
    pub fn floor(&self) -> Sequence {
        self.floor.load(Ordering::Acquire)
    }

    /// Starts nothing new, waits for what is under way, hands all settlements to the log, and ends the
    /// router; all within `limit`. What does not end in time is cut off and will be delivered again.
    pub async fn drain(&self, limit: Duration) -> Drained {
        // A router that stopped before can promise nothing.
        let stopped = Drained {
            finished: false,
            in_flight_left: 0,
        };
        self.ask(|reply| Command::Drain(limit, reply))
            .await
            .unwrap_or(stopped)
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}

struct Running {
    log: Arc<dyn Log>,
    machine: Machine,
    commands: mpsc::Receiver<Command>,
    started: Instant,
    floor: Arc<AtomicU64>,
    /// `None` once the log is closed.
    tail: Option<BoxStream<'static, Arc<Page>>>,
    crew: Crew,
    aborts: HashMap<Ticket, AbortHandle>,
    reads: JoinSet<(Sequence, Result<Page, ReadError>)>,
    noting: Option<BoxFuture<'static, Result<(), AppendError>>>,
    effects: Vec<Effect>,
    /// Every other time new events come before attempts that ended, so that neither starves the other.
    pages_first: bool,
    drain: Option<Drain>,
}

struct Drain {
    /// Attempts are cut off.
    cut: Instant,
    /// The last settlements are given up.
    end: Instant,
    replies: Vec<oneshot::Sender<Drained>>,
}

/// Why the loop woke up.
enum Woken {
    Command(Option<Command>),
    Page(Option<Arc<Page>>),
    Ended(Vec<Ended>),
    Read(Sequence, Result<Page, ReadError>),
    Noted(Result<(), AppendError>),
    Time,
}

impl Running {
    async fn run(mut self) {
        loop {
            self.act();
            if self.is_over() {
                break;
            }
            match self.woken().await {
                Woken::Command(Some(command)) => self.obey(command),
                Woken::Command(None) => break,
                Woken::Page(Some(page)) => self.machine.follow(self.now(), &page),
                Woken::Page(None) => {
                    tracing::debug!("the log is closed; nothing more is routed");
                    self.tail = None;
                }
                Woken::Ended(ended) => self.end_attempts(ended),
                Woken::Read(from, page) => self.machine.refill(self.now(), from, page),
                Woken::Noted(result) => {
                    self.noting = None;
                    self.machine.noted(self.now(), result);
                }
                Woken::Time => {}
            }
        }
        self.finish().await;
    }

    /// Lets the machine decide and does what it says.
    fn act(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        self.machine.poll(self.now(), &mut effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Deliver {
                    ticket,
                    sink,
                    delivery,
                } => {
                    let (handle, registration) = AbortHandle::new_pair();
                    self.aborts.insert(ticket, handle);
                    self.crew.begin(attempt(ticket, sink, delivery, registration));
                }
                Effect::Abort(ticket) => {
                    if let Some(handle) = self.aborts.get(&ticket) {
                        handle.abort();
                    }
                }
                Effect::Read { from, max_bytes } => {
                    self.reads.spawn(read(self.log.clone(), from, max_bytes));
                }
                Effect::Note(group) => {
                    let log = self.log.clone();
                    self.noting = Some(Box::pin(async move { log.note(group).await }));
                }
                Effect::Hasten => self.log.hasten(),
            }
        }
        self.effects = effects;
        self.floor.store(self.machine.floor(), Ordering::Release);
    }

    async fn woken(&mut self) -> Woken {
        let cut = self.drain.as_ref().map(|drain| drain.cut);
        let wake = self.machine.wake_at().map(|at| self.started + at);
        let alarm = OptionFuture::from(wake.into_iter().chain(cut).min().map(sleep_until));
        let noted = OptionFuture::from(self.noting.as_mut());
        let mut page = OptionFuture::from(self.tail.as_mut().map(|tail| tail.next()));
        self.pages_first = !self.pages_first;
        if self.pages_first
            && let Some(Some(page)) = (&mut page).now_or_never()
        {
            return Woken::Page(page);
        }
        // The order is fixed and not drawn by lot, so that a simulation can be repeated. What comes first is bounded:
        // one note, few reads, and these wait for what the attempts bring about.
        tokio::select! {
            biased;
            command = self.commands.recv() => Woken::Command(command),
            Some(result) = noted => Woken::Noted(result),
            Some(Ok((from, page))) = self.reads.join_next() => Woken::Read(from, page),
            ended = self.crew.ended() => Woken::Ended(ended),
            Some(page) = page => Woken::Page(page),
            Some(()) = alarm => Woken::Time,
        }
    }

    fn end_attempts(&mut self, ended: Vec<Ended>) {
        let now = self.now();
        for Ended { ticket, answer, took } in ended {
            self.aborts.remove(&ticket);
            self.machine.ended(now, ticket, answer, took);
        }
    }

    fn obey(&mut self, command: Command) {
        // Whoever asked may have gone; then nobody misses the answer.
        match command {
            Command::Put(subscription, reply) => {
                self.machine.put(self.now(), *subscription);
                self.floor.store(self.machine.floor(), Ordering::Release);
                reply.send(()).ok();
            }
            Command::Remove(id, reply) => {
                self.machine.remove(self.now(), id);
                reply.send(()).ok();
            }
            Command::Status(id, reply) => drop(reply.send(self.machine.status(self.now(), id))),
            Command::Statuses(reply) => drop(reply.send(self.machine.statuses(self.now()))),
            Command::Pending(organization, subscription, limit, reply) => {
                let pending = self
                    .machine
                    .pending(self.now(), &organization, subscription, limit);
                drop(reply.send(pending));
            }
            Command::Unpark(id, key, skip, reply) => {
                reply.send(self.machine.unpark(id, key.as_deref(), skip)).ok();
            }
            Command::Quotas(quotas, reply) => {
                self.machine.set_quotas(quotas);
                reply.send(()).ok();
            }
            Command::Drain(limit, reply) => self.start_drain(limit, reply),
        }
    }

    fn start_drain(&mut self, limit: Duration, reply: oneshot::Sender<Drained>) {
        self.machine.drain();
        let now = Instant::now();
        let drain = self.drain.get_or_insert_with(|| Drain {
            cut: now,
            end: now,
            replies: Vec::new(),
        });
        drain.cut = now + limit.saturating_sub(LAST_WRITE.min(limit / 4));
        drain.end = now + limit;
        drain.replies.push(reply);
    }

    fn is_over(&self) -> bool {
        let Some(drain) = &self.drain else {
            return false;
        };
        let unwritable = self.machine.is_log_closed() && self.machine.in_flight() == 0;
        self.machine.is_drained() || unwritable || Instant::now() >= drain.cut
    }

    /// Cuts off what is left, writes the last settlements if this is a drain, and answers who asked for it.
    async fn finish(mut self) {
        let in_flight_left = self.machine.in_flight();
        self.commands.close();
        let tasks = async {
            self.crew.shutdown().await;
            self.reads.shutdown().await;
        };
        if timeout(LAST_WRITE, tasks).await.is_err() {
            tracing::warn!("an attempt does not stop when it is cut off");
        }
        let Some(drain) = self.drain.take() else {
            return;
        };
        self.machine.stop();
        while !self.machine.is_written() && !self.machine.is_log_closed() {
            self.act();
            let Some(noting) = self.noting.as_mut() else {
                let wake = self.machine.wake_at().map_or(drain.end, |at| self.started + at);
                sleep_until(wake.min(drain.end)).await;
                if Instant::now() >= drain.end {
                    break;
                }
                continue;
            };
            let Ok(result) = timeout_at(drain.end, noting).await else {
                break;
            };
            self.noting = None;
            self.machine.noted(self.now(), result);
        }
        self.floor.store(self.machine.floor(), Ordering::Release);
        let drained = Drained {
            finished: in_flight_left == 0 && self.machine.is_written(),
            in_flight_left,
        };
        for reply in drain.replies {
            reply.send(drained).ok();
        }
    }

    fn now(&self) -> Moment {
        moment(self.started)
    }
}

fn moment(started: Instant) -> Moment {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Moment {
        since_start: started.elapsed(),
        unix_ms: unix.map_or(0, |d| d.as_millis() as i64),
    }
}

/// The tail as a stream, so that waiting for its next page can be given up and taken up again.
fn pages(tail: Box<dyn Tail>) -> Option<BoxStream<'static, Arc<Page>>> {
    let pages = stream::unfold(tail, |mut tail| async move { Some((tail.next().await?, tail)) });
    let pages: Pin<Box<_>> = Box::pin(pages);
    Some(pages)
}

async fn read(log: Arc<dyn Log>, from: Sequence, max_bytes: usize) -> (Sequence, Result<Page, ReadError>) {
    let page = AssertUnwindSafe(async { log.read(from, max_bytes).await })
        .catch_unwind()
        .await;
    let page = page.unwrap_or_else(|_| {
        Err(ReadError {
            at: from,
            reason: "the log panicked".to_owned(),
        })
    });
    (from, page)
}
