//! A worker's place in its pool: given back when the worker's task ends, however it ends.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dispatch_contract::{InvocationError, InvocationResult};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep};

use super::{Idle, Job, Pool, failed};
use crate::message;
use crate::worker::{Called, StartError, Worker};

/// A worker that must stay asks again whether it may leave, but not sooner.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// A worker's place in the pool.
pub(super) struct Seat {
    pub(super) pool: Arc<Pool>,
    pub(super) id: u64,
    starting: bool,
    /// It counts no more among those that stay.
    leaving: bool,
    end: End,
    /// When a worker that rests may be superfluous, or sooner: it is not set anew for every call, which would wake whoever
    /// waits for the earliest timer.
    timer: Pin<Box<Sleep>>,
}

/// Why a worker's task ended, for whether another one starts in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The worker lay idle or died so: another one only if calls wait.
    Idle,
    /// A call used the worker up: another one if calls wait or too few are left.
    UsedUp,
    /// The worker did not start: the next call tries again.
    NotStarted,
}

impl Seat {
    /// A place for a worker that is about to start; it counts already.
    pub(super) fn new(pool: Arc<Pool>, id: u64) -> Self {
        Self {
            pool,
            id,
            starting: true,
            leaving: false,
            end: End::NotStarted,
            timer: Box::pin(sleep(Duration::ZERO)),
        }
    }

    /// The task of one worker.
    pub(super) async fn work(mut self, worker: Option<Worker>) {
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
        if let (Worker::Warm(warm), 2..) = (&mut worker, pool.scale.concurrency)
            && let Some(wire) = warm.shared()
        {
            self.end = self.share(warm, &wire, &sender, &mut inbox).await;
            return worker.end().await;
        }
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
        &mut self,
        worker: &mut Worker,
        sender: &mpsc::Sender<Job>,
        inbox: &mut mpsc::Receiver<Job>,
    ) -> Option<Job> {
        let pool = Arc::clone(&self.pool);
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
        let mut until = Instant::now() + pool.scale.idle;
        loop {
            tokio::select! {
                biased;
                job = inbox.recv() => return job,
                () = pool.stop.cancelled() => {}
                () = worker.watch() => {
                    tracing::warn!(function = %pool.launch.label, "an idle worker ended by itself");
                }
                () = self.timer.as_mut() => {
                    let now = Instant::now();
                    if now < until || !self.may_leave() {
                        if now >= until {
                            until = now + pool.scale.idle.max(ASK_AGAIN);
                        }
                        self.timer.as_mut().reset(until);
                        continue;
                    }
                }
            }
            self.leave(inbox);
            return None;
        }
    }

    /// Whether the pool has more workers than must stay; then this one counts no more among them.
    pub(super) fn may_leave(&mut self) -> bool {
        let mut state = self.pool.state();
        let superfluous = state.workers - state.leaving > self.pool.scale.min;
        if superfluous {
            state.leaving += 1;
            drop(state);
            self.leaving = true;
        }
        superfluous
    }

    /// Nobody hands this worker a call from here on; one that came just now is given back.
    pub(super) fn leave(&self, inbox: &mut mpsc::Receiver<Job>) {
        let mut state = self.pool.state();
        state.idle.retain(|idle| idle.id != self.id);
        if let Ok(job) = inbox.try_recv() {
            state.waiting.push_front(job);
        }
    }

    /// Runs one call; whether the worker can go on.
    async fn run(&self, worker: &mut Worker, mut job: Job) -> bool {
        job.begun.store(true, Ordering::Release);
        let called = tokio::select! {
            called = worker.call(&job.invocation, job.deadline) => called,
            () = job.reply.closed() => return false,
            () = self.pool.stop.cancelled() => return false,
        };
        let Called { result, logs, usable } = called;
        // Whoever called may have gone in this moment; the worker is fine all the same.
        job.reply
            .send(InvocationResult { result, logs })
            .unwrap_or_default();
        if !usable {
            return false;
        }
        // Whoever called goes first.
        yield_now().await;
        worker.is_tidy()
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
        state.leaving -= usize::from(self.leaving);
        state.idle.retain(|idle| idle.id != self.id);
        let wanted = match self.end {
            End::Idle => !state.waiting.is_empty(),
            End::UsedUp => {
                !state.waiting.is_empty() || state.workers < self.pool.scale.min.max(1) && !state.closed
            }
            End::NotStarted => false,
        };
        let room = state.workers < self.pool.scale.max && !self.pool.stop.is_cancelled();
        let seat = (wanted && room).then(|| self.pool.seat(&mut state));
        drop(state);
        self.pool.fill(seat);
    }
}
