//! The workers of one revision and the calls that wait for them.
//!
//! ```text
//! call -> idle worker? -> runs there (the one used last, so the others may go)
//!      -> else waits; fewer workers than allowed? -> one more starts
//!      -> too many wait? -> throttled
//! ```
//! Each worker is owned by one task. It takes the oldest waiting call when it is free, else lies idle. A worker
//! that a call used up (timeout, crash, cancelled) is replaced at once when it was the last; a worker that dies
//! idle, or does not start, is replaced by the next call: no call, no loop.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dispatch_contract::{FaasError, InvocationError, InvocationResult, Logs};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::launch::Launch;
use crate::message;
use crate::settings::Settings;
use crate::worker::{Called, StartError, Worker};

/// How long after its deadline a running call is given up even if its worker's task says nothing.
const GRACE: Duration = Duration::from_secs(5);

/// The workers of a revision.
#[derive(Debug)]
pub(crate) struct Pool {
    launch: Launch,
    settings: Settings,
    state: Mutex<State>,
    /// Something about the state that [`Pool::close`] waits for has changed.
    changed: Notify,
    tasks: TaskTracker,
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Idle>,
    waiting: VecDeque<Job>,
    /// Workers that live or start.
    workers: usize,
    /// Of these, the ones that start.
    starting: usize,
    next_id: u64,
    closed: bool,
}

#[derive(Debug)]
struct Idle {
    id: u64,
    inbox: mpsc::Sender<Job>,
}

/// A call on its way to a worker.
#[derive(Debug)]
struct Job {
    frame: Vec<u8>,
    deadline: Instant,
    begun: Arc<AtomicBool>,
    reply: oneshot::Sender<InvocationResult>,
}

impl Pool {
    /// A pool with one worker that has loaded the function.
    pub(crate) async fn open(
        launch: Launch,
        settings: Settings,
        stop: CancellationToken,
    ) -> Result<Arc<Self>, FaasError> {
        let worker = tokio::select! {
            started = Worker::start(&launch, settings.load) => started,
            () = stop.cancelled() => Err(StartError::Unavailable("the engine stops".to_owned())),
        };
        let worker = worker.map_err(|error| match error {
            StartError::Invalid(reason) => FaasError::Invalid(reason),
            StartError::Unavailable(reason) => FaasError::Unavailable(reason),
        })?;
        let pool = Arc::new(Self {
            launch,
            settings,
            state: Mutex::default(),
            changed: Notify::new(),
            tasks: TaskTracker::new(),
            stop,
        });
        let seat = pool.seat(&mut pool.state());
        pool.tasks.spawn(seat.work(Some(worker)));
        Ok(pool)
    }

    /// Calls the function once.
    pub(crate) async fn call(self: &Arc<Self>, frame: Vec<u8>, time: Duration) -> InvocationResult {
        let deadline = Instant::now() + time;
        let begun = Arc::new(AtomicBool::new(false));
        let (reply, mut answer) = oneshot::channel();
        let job = Job {
            frame,
            deadline,
            begun: Arc::clone(&begun),
            reply,
        };
        if let Err(error) = self.submit(job) {
            return failed(error);
        }
        let answered = tokio::select! {
            biased;
            answered = &mut answer => answered.ok(),
            () = sleep_until(deadline) => match begun.load(Ordering::Acquire) {
                true => timeout_at(deadline + GRACE, answer).await.ok().and_then(Result::ok),
                false => {
                    let text = "did not invoke, already exceeded timeout";
                    return failed(InvocationError::Unavailable(text.to_owned()));
                }
            },
        };
        answered.unwrap_or_else(|| failed(InvocationError::Unavailable("the engine stopped".to_owned())))
    }

    /// Takes no more calls, lets those under way end, then ends all workers.
    pub(crate) async fn close(&self) {
        self.state().closed = true;
        let patience = sleep(crate::settings::MAX_TIMEOUT);
        tokio::pin!(patience);
        loop {
            let changed = self.changed.notified();
            if self.state().is_quiet() {
                break;
            }
            tokio::select! {
                () = changed => {}
                () = self.stop.cancelled() => break,
                () = &mut patience => break,
            }
        }
        self.end().await;
    }

    /// Ends all workers now, whatever they do.
    pub(crate) async fn end(&self) {
        self.stop.cancel();
        self.state().closed = true;
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn submit(self: &Arc<Self>, mut job: Job) -> Result<(), InvocationError> {
        let mut state = self.state();
        if state.closed || self.stop.is_cancelled() {
            return Err(InvocationError::Unavailable(
                "the revision was removed".to_owned(),
            ));
        }
        while let Some(idle) = state.idle.pop() {
            match idle.inbox.try_send(job) {
                Ok(()) => return Ok(()),
                Err(error) => job = error.into_inner(),
            }
        }
        if state.waiting.len() >= self.settings.max_waiting {
            state.waiting.retain(|job| !job.reply.is_closed());
            if state.waiting.len() >= self.settings.max_waiting {
                return Err(InvocationError::Throttled);
            }
        }
        state.waiting.push_back(job);
        let more = state.workers < self.settings.max_workers && state.starting < state.waiting.len();
        let seat = more.then(|| self.seat(&mut state));
        drop(state);
        self.fill(seat);
        Ok(())
    }

    /// A place for one more worker.
    fn seat(self: &Arc<Self>, state: &mut State) -> Seat {
        state.workers += 1;
        state.starting += 1;
        state.next_id += 1;
        Seat {
            pool: Arc::clone(self),
            id: state.next_id,
            starting: true,
            end: End::NotStarted,
        }
    }

    /// Starts the task of a worker. Never under the lock: a runtime that shuts down drops the task, and with it
    /// the seat, right here.
    fn fill(&self, seat: Option<Seat>) {
        if let Some(seat) = seat {
            self.tasks.spawn(seat.work(None));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// No call runs or waits.
    fn is_quiet(&self) -> bool {
        self.waiting.is_empty() && self.workers == self.idle.len() + self.starting
    }

    /// The oldest call somebody still waits for.
    fn next(&mut self) -> Option<Job> {
        std::iter::from_fn(|| self.waiting.pop_front()).find(|job| !job.reply.is_closed())
    }
}

/// A worker's place in the pool: given back when the worker's task ends, however it ends.
struct Seat {
    pool: Arc<Pool>,
    id: u64,
    starting: bool,
    end: End,
}

/// Why a worker's task ended, for whether another one starts in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The worker lay idle or died so: another one only if calls wait.
    Idle,
    /// A call used the worker up: another one if calls wait or none is left.
    UsedUp,
    /// The worker did not start: the next call tries again.
    NotStarted,
}

impl Seat {
    /// The task of one worker.
    async fn work(mut self, worker: Option<Worker>) {
        let pool = Arc::clone(&self.pool);
        let started = match worker {
            Some(worker) => Ok(worker),
            None => tokio::select! {
                started = Worker::start(&pool.launch, pool.settings.load) => started,
                () = pool.stop.cancelled() => return,
            },
        };
        let mut worker = match started {
            Ok(worker) => worker,
            Err(error) => return self.not_started(error),
        };
        (self.starting, self.end) = (false, End::Idle);
        pool.state().starting -= 1;
        let (sender, mut inbox) = mpsc::channel(1);
        while let Some(job) = self.next(&mut worker, &sender, &mut inbox).await {
            if !self.run(&mut worker, job).await {
                self.end = End::UsedUp;
                break;
            }
        }
        worker.end().await;
    }

    /// The next call for this worker; `None` when it should end.
    async fn next(
        &self,
        worker: &mut Worker,
        sender: &mpsc::Sender<Job>,
        inbox: &mut mpsc::Receiver<Job>,
    ) -> Option<Job> {
        let pool = &self.pool;
        {
            let mut state = pool.state();
            if let Some(job) = state.next() {
                return Some(job);
            }
            state.idle.push(Idle {
                id: self.id,
                inbox: sender.clone(),
            });
        }
        pool.changed.notify_one();
        loop {
            let superfluous = tokio::select! {
                biased;
                job = inbox.recv() => return job,
                () = pool.stop.cancelled() => false,
                () = worker.watch() => {
                    tracing::warn!(function = %pool.launch.label, "an idle worker ended by itself");
                    false
                }
                () = sleep(pool.settings.idle) => true,
            };
            let mut state = pool.state();
            if superfluous && state.idle.len() < 2 {
                continue;
            }
            // Nobody hands this worker a call from here on, but one may have come just now.
            state.idle.retain(|idle| idle.id != self.id);
            if let Ok(job) = inbox.try_recv() {
                state.waiting.push_front(job);
            }
            return None;
        }
    }

    /// Runs one call; whether the worker can go on.
    async fn run(&self, worker: &mut Worker, mut job: Job) -> bool {
        job.begun.store(true, Ordering::Release);
        let called = tokio::select! {
            called = worker.call(&job.frame, job.deadline) => called,
            () = job.reply.closed() => return false,
            () = self.pool.stop.cancelled() => return false,
        };
        let Called { result, logs, usable } = called;
        // Whoever called may have gone in this moment; the worker is fine all the same.
        job.reply
            .send(InvocationResult { result, logs })
            .unwrap_or_default();
        usable
    }

    fn not_started(&self, error: StartError) {
        let reason = match error {
            StartError::Invalid(reason) | StartError::Unavailable(reason) => reason,
        };
        tracing::warn!(function = %self.pool.launch.label, reason, "a worker did not start");
        let mut state = self.pool.state();
        if state.workers > 1 {
            return;
        }
        for job in state.waiting.drain(..) {
            let error = InvocationError::Function(message::system(reason.clone()));
            job.reply.send(failed(error)).unwrap_or_default();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        state.workers -= 1;
        state.starting -= usize::from(self.starting);
        state.idle.retain(|idle| idle.id != self.id);
        let wanted = match self.end {
            End::Idle => !state.waiting.is_empty(),
            End::UsedUp => !state.waiting.is_empty() || state.workers == 0 && !state.closed,
            End::NotStarted => false,
        };
        let room = state.workers < self.pool.settings.max_workers && !self.pool.stop.is_cancelled();
        let seat = (wanted && room).then(|| self.pool.seat(&mut state));
        drop(state);
        self.pool.fill(seat);
        self.pool.changed.notify_one();
    }
}

fn failed(error: InvocationError) -> InvocationResult {
    InvocationResult {
        result: Err(error),
        logs: Logs::default(),
    }
}
