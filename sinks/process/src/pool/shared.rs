//! A worker that takes several calls at a time: a server behind HTTP.
//!
//! It lies among the idle ones as long as it has room. What it prints goes to the call that ends next, for nobody can
//! tell whose it is. A call that exceeds its time ends the worker, for nobody can stop that call alone; the others are
//! told to try again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use dispatch_contract::{InvocationError, InvocationResult, Logs};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout_at};

use super::seat::{End, Seat};
use super::{Idle, Job};
use crate::wire::Http;
use crate::worker::{Driven, Output, Warm};

/// How a call of several ended.
enum Ended {
    Answered(Box<InvocationResult>),
    /// Nobody waits for it any more.
    Abandoned,
    Late,
    /// The worker hung up.
    Lost,
}

/// What happens next to a worker.
enum Next {
    Handed(Job),
    Ended(Job, Ended),
    Idle,
    Stop,
}

impl Seat {
    /// Gives the worker calls until it should end, or a call used it up.
    pub(super) async fn share(
        &mut self,
        worker: &mut Warm,
        wire: &Http,
        sender: &mpsc::Sender<Job>,
        inbox: &mut mpsc::Receiver<Job>,
    ) -> End {
        let pool = Arc::clone(&self.pool);
        let mut calls = FuturesUnordered::new();
        let mut output = Output::default();
        let mut offered = false;
        loop {
            {
                let mut state = pool.state();
                while !offered && calls.len() < pool.scale.concurrency {
                    match state.next() {
                        Some(job) => calls.push(one(wire, job)),
                        None => {
                            offered = true;
                            state.idle.push(Idle {
                                id: self.id,
                                inbox: sender.clone(),
                            });
                        }
                    }
                }
            }
            let quiet = calls.is_empty();
            let next = async {
                tokio::select! {
                    biased;
                    Some((job, ended)) = calls.next(), if !quiet => Next::Ended(job, ended),
                    Some(job) = inbox.recv() => Next::Handed(job),
                    () = pool.stop.cancelled() => Next::Stop,
                    () = sleep(pool.scale.idle), if quiet => Next::Idle,
                }
            };
            match worker.attend(&mut output, next).await {
                Driven::Done(Next::Handed(job)) => {
                    offered = false;
                    calls.push(one(wire, job));
                }
                Driven::Done(Next::Ended(job, Ended::Answered(mut answered))) => {
                    worker.finish(&mut output, &mut answered);
                    // Whoever called may have gone in this moment.
                    job.reply.send(*answered).unwrap_or_default();
                }
                Driven::Done(Next::Ended(_, Ended::Abandoned)) => {}
                Driven::Done(Next::Ended(job, Ended::Late)) => {
                    worker.kill();
                    let mut late = failed_with(InvocationError::Timeout);
                    worker.finish(&mut output, &mut late);
                    job.reply.send(late).unwrap_or_default();
                    self.leave(inbox);
                    drop_all(calls, "another call of the same worker exceeded its time").await;
                    return End::UsedUp;
                }
                Driven::Done(Next::Ended(job, Ended::Lost)) => {
                    let mut lost = failed_with(worker.lost().await);
                    worker.finish(&mut output, &mut lost);
                    job.reply.send(lost).unwrap_or_default();
                    self.leave(inbox);
                    drop_all(calls, "the worker ended").await;
                    return End::UsedUp;
                }
                Driven::Ended(status) => {
                    tracing::warn!(function = %pool.launch.label, %status, "a worker ended by itself");
                    self.leave(inbox);
                    let quiet = calls.is_empty();
                    drop_all(calls, "the worker ended").await;
                    return if quiet { End::Idle } else { End::UsedUp };
                }
                Driven::Done(Next::Idle) if !self.may_leave() => {}
                Driven::Done(Next::Idle | Next::Stop) => {
                    self.leave(inbox);
                    return End::Idle;
                }
            }
        }
    }
}

/// One call, to its end.
async fn one(wire: &Http, mut job: Job) -> (Job, Ended) {
    job.begun.store(true, Ordering::Release);
    let called = tokio::select! {
        called = timeout_at(job.deadline, wire.call(&job.invocation, job.deadline)) => Some(called),
        () = job.reply.closed() => None,
    };
    let ended = match called {
        None => Ended::Abandoned,
        Some(Err(_)) => Ended::Late,
        Some(Ok(Err(_))) => Ended::Lost,
        Some(Ok(Ok(answer))) => Ended::Answered(Box::new(InvocationResult {
            result: answer.result.map_err(InvocationError::Function),
            logs: answer.logs,
        })),
    };
    (job, ended)
}

/// Ends the calls whose worker is gone. What they would have answered nobody knows.
async fn drop_all(mut calls: FuturesUnordered<impl Future<Output = (Job, Ended)>>, why: &str) {
    while let Some((job, ended)) = calls.next().await {
        let told = match ended {
            Ended::Answered(answered) => *answered,
            Ended::Abandoned => continue,
            Ended::Late => failed_with(InvocationError::Timeout),
            Ended::Lost => failed_with(InvocationError::Unavailable(why.to_owned())),
        };
        job.reply.send(told).unwrap_or_default();
    }
}

fn failed_with(error: InvocationError) -> InvocationResult {
    InvocationResult {
        result: Err(error),
        logs: Logs::default(),
    }
}
