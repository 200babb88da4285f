//! A worker that loads its function once and is called on its wire.

use std::time::Duration;

use dispatch_contract::{FunctionError, Invocation, InvocationError, InvocationResult};
use tokio::time::{Instant, sleep_until, timeout};

use super::process::{Driven, Output, Process, joined};
use super::{Called, StartError};
use crate::launch::Launch;
use crate::message;
use crate::wire::{Answer, Door, GreetError, Http, Wire, WireError};

/// A worker that loaded its function.
#[derive(Debug)]
pub(crate) struct Warm {
    wire: Wire,
    process: Process,
    /// How long after its deadline a call may still be told to have been stopped.
    grace: Duration,
}

impl Warm {
    /// Starts a process and has it load the function.
    pub(super) async fn start(launch: &Launch, patience: Duration) -> Result<Self, StartError> {
        let door = Door::open(launch)
            .map_err(|e| StartError::Unavailable(format!("cannot listen for the worker: {e}")))?;
        let (mut command, cage) = launch
            .command(door.socket(), door.ports())
            .map_err(|e| StartError::Unavailable(format!("cannot contain the worker: {e}")))?;
        door.announce(&mut command);
        let mut process = Process::start(launch, command, cage).await?;
        let greet = door.greet(launch, process.leader());
        let mut output = Output::default();
        let driven = timeout(patience, process.drive(&mut output, greet)).await;
        let why = match driven {
            Ok(Driven::Done(Ok(wire))) => {
                process.settle(wire.worker());
                return Ok(Self {
                    wire,
                    process,
                    grace: launch.plan.grace,
                });
            }
            Ok(Driven::Done(Err(GreetError::Refused(why)))) => why,
            Ok(Driven::Done(Err(GreetError::Lost(why)))) => {
                let status = process.hung_up().await;
                process.last_words(output, &status.map_or(why, |s| s.to_string()))
            }
            Ok(Driven::Ended(status)) => process.last_words(output, &status.to_string()),
            Err(_) => format!("it did not load within {} s", patience.as_secs()),
        };
        process.end().await;
        Err(StartError::invalid(why))
    }

    /// Calls the function once. The group is dead when this returns a worker that is not usable.
    pub(super) async fn call(&mut self, invocation: &Invocation, deadline: Instant) -> Called {
        self.process.discard();
        let mut output = Output::default();
        let work = self.wire.exchange(invocation, deadline);
        let driven = tokio::select! {
            // First, because a flood of output would use up the task's budget before it is asked.
            biased;
            () = sleep_until(deadline + self.grace) => None,
            driven = self.process.drive(&mut output, work) => Some(driven),
        };
        let Answer {
            result,
            logs,
            retire,
            timed_out,
        } = match driven {
            Some(Driven::Done(Ok(answer))) => answer,
            Some(Driven::Done(Err(WireError::TooLong(length)))) => lost(message::too_long(length)),
            Some(Driven::Done(Err(WireError::Closed))) => {
                let status = self.process.hung_up().await;
                lost(self.process.died(status))
            }
            Some(Driven::Ended(status)) => lost(self.process.died(Some(status))),
            None => {
                self.process.kill();
                self.process.drain(&mut output);
                return Called {
                    result: Err(InvocationError::Timeout),
                    logs: output.logs(),
                    usable: false,
                };
            }
        };
        if retire {
            self.process.kill();
        }
        self.process.drain(&mut output);
        let logs = joined(logs, output.logs());
        let result = match timed_out {
            true => Err(InvocationError::Timeout),
            false => result.map_err(|e| InvocationError::Function(self.wire.explained(e, &logs))),
        };
        Called {
            result,
            logs,
            usable: !retire,
        }
    }

    /// Whether the last call left nothing running. Else the group is dead.
    pub(super) fn is_tidy(&mut self) -> bool {
        let strays = self.process.has_strays();
        if strays {
            self.process.kill();
        }
        !strays
    }

    /// The wire, where several calls may be on it at a time.
    pub(crate) fn shared(&self) -> Option<Http> {
        match &self.wire {
            Wire::Http(http) => Some(http.clone()),
            Wire::Frames(_) | Wire::Lambda(_) => None,
        }
    }

    /// Waits for `work` while emptying the pipes, unless the process ends first.
    pub(crate) async fn attend<T>(
        &mut self,
        output: &mut Output,
        work: impl Future<Output = T>,
    ) -> Driven<T> {
        self.process.drive(output, work).await
    }

    /// Gives a call that ended what was printed since the last one did.
    pub(crate) fn finish(&mut self, output: &mut Output, called: &mut InvocationResult) {
        self.process.drain(output);
        let logs = joined(std::mem::take(&mut called.logs), std::mem::take(output).logs());
        if let Err(InvocationError::Function(error)) = &mut called.result {
            *error = self.wire.explained(error.clone(), &logs);
        }
        called.logs = logs;
    }

    /// The worker hung up on a call: how that call ended. Nothing of it is left.
    pub(crate) async fn lost(&mut self) -> InvocationError {
        let status = self.process.hung_up().await;
        let error = self.process.died(status);
        self.process.kill();
        InvocationError::Function(error)
    }

    /// Kills the group.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Resolves when the process ends by itself; throws away what it prints meanwhile. Cancel safe.
    pub(super) async fn watch(&mut self) {
        let mut nowhere = Output::default();
        self.process
            .drive(&mut nowhere, std::future::pending::<()>())
            .await;
    }

    /// Kills the group and waits until the process is gone.
    pub(super) async fn end(mut self) {
        self.process.end().await;
    }
}

/// The call failed and the worker with it.
fn lost(error: FunctionError) -> Answer {
    Answer {
        retire: true,
        ..Answer::failed(error)
    }
}
