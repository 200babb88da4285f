//! The workers of one revision and the calls that wait for them.
//!
//! ```text
//! call -> idle worker? -> runs there (the one used last, so the others may go)
//!      -> else waits; fewer workers than allowed? -> one more starts
//!      -> too many wait? -> throttled
//! ```
//! Each worker is owned by one task. It takes the oldest waiting call when it is free, else lies idle. A worker
//! that a call used up (timeout, crash, cancelled) is replaced at once when it was the last; a worker that dies
//! idle, or does not start, is replaced by the next call: no call, no loop. A worker that lay idle for its time goes,
//! down to the minimum of its function, which may be none. See `seat.rs` for the life of a worker's place, `shared.rs`
//! for workers that take several calls at a time.

mod seat;
mod shared;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dispatch_contract::{Invocation, InvocationError, InvocationResult, Logs};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::seat::Seat;
use crate::launch::Launch;
use crate::settings::{Settings, Workers};
use crate::worker::{StartError, Worker};

/// How long after its deadline a running call is given up even if its worker's task says nothing.
const GRACE: Duration = Duration::from_secs(5);

/// The workers of a revision.
#[derive(Debug)]
pub(crate) struct Pool {
    launch: Arc<Launch>,
    settings: Settings,
    scale: Workers,
    state: Mutex<State>,
    calls: Arc<Calls>,
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
    /// Of these, the ones that are on their way out.
    leaving: usize,
    next_id: u64,
    closed: bool,
}

#[derive(Debug)]
struct Idle {
    id: u64,
    inbox: mpsc::Sender<Job>,
}

/// The calls nobody has answered yet, for [`Pool::close`].
#[derive(Debug, Default)]
struct Calls {
    open: AtomicUsize,
    fewer: Notify,
}

/// One of them, for as long as this lives.
#[derive(Debug)]
struct Ticket(Arc<Calls>);

impl Ticket {
    fn new(calls: &Arc<Calls>) -> Self {
        calls.open.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(calls))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
        self.0.fewer.notify_one();
    }
}

/// A call on its way to a worker.
#[derive(Debug)]
struct Job {
    invocation: Invocation,
    deadline: Instant,
    begun: Arc<AtomicBool>,
    reply: oneshot::Sender<InvocationResult>,
    _ticket: Ticket,
}

impl Pool {
    /// A pool with one worker that has loaded the function.
    pub(crate) async fn open(
        launch: Launch,
        settings: Settings,
        scale: Workers,
        stop: CancellationToken,
    ) -> Result<Arc<Self>, StartError> {
        let launch = Arc::new(launch);
        let worker = tokio::select! {
            started = Worker::start(&launch, settings.load) => started?,
            () = stop.cancelled() => return Err(StartError::Unavailable("the engine stops".to_owned())),
        };
        let pool = Arc::new(Self {
            launch,
            settings,
            scale,
            state: Mutex::default(),
            calls: Arc::default(),
            tasks: TaskTracker::new(),
            stop,
        });
        let seat = pool.seat(&mut pool.state());
        pool.tasks.spawn(seat.work(Some(worker)));
        for _ in 1..scale.min {
            let seat = pool.seat(&mut pool.state());
            pool.fill(Some(seat));
        }
        Ok(pool)
    }

    /// Calls the function once.
    pub(crate) async fn call(self: &Arc<Self>, invocation: Invocation, time: Duration) -> InvocationResult {
        let deadline = Instant::now() + time;
        let begun = Arc::new(AtomicBool::new(false));
        let (reply, mut answer) = oneshot::channel();
        let job = Job {
            invocation,
            deadline,
            begun: Arc::clone(&begun),
            reply,
            _ticket: Ticket::new(&self.calls),
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
            let fewer = self.calls.fewer.notified();
            if self.calls.open.load(Ordering::Acquire) == 0 {
                break;
            }
            tokio::select! {
                () = fewer => {}
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
        let more = state.workers < self.scale.max && state.starting < state.waiting.len();
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
        Seat::new(Arc::clone(self), state.next_id)
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
    /// The oldest call somebody still waits for.
    fn next(&mut self) -> Option<Job> {
        std::iter::from_fn(|| self.waiting.pop_front()).find(|job| !job.reply.is_closed())
    }
}

fn failed(error: InvocationError) -> InvocationResult {
    InvocationResult {
        result: Err(error),
        logs: Logs::default(),
    }
}
