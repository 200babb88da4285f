//! A worker that is a program of its own for every call: the function message on standard input, its answer on
//! standard output, its logs on standard error.

use std::process::{ExitStatus, Stdio};

use bytes::Bytes;
use dispatch_contract::{FunctionError, FunctionErrorKind, Invocation, InvocationError, Logs};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until};

use super::process::{Driven, Output, Pipes, Process};
use super::{Called, StartError};
use crate::launch::Launch;
use crate::message::{self, MAX_ANSWER};

/// Calls the function once.
pub(super) async fn call(launch: &Launch, invocation: &Invocation, deadline: Instant) -> Called {
    let question = match message::text(invocation) {
        Ok(text) => text,
        Err(error) => return failed(InvocationError::Function(error)),
    };
    let contained = launch
        .command(None, None)
        .map_err(|e| StartError::Unavailable(format!("cannot contain the worker: {e}")));
    let started = match contained {
        Ok((mut command, cage)) => {
            command.stdin(Stdio::piped());
            Process::start_asking(launch, command, cage).await
        }
        Err(error) => Err(error),
    };
    let (mut process, pipes) = match started {
        Ok(started) => started,
        Err(StartError::Invalid(reason) | StartError::Unavailable(reason)) => {
            return failed(InvocationError::Function(message::system(reason)));
        }
    };
    let (mut output, mut said) = (Output::default(), Vec::new());
    let driven = tokio::select! {
        // First, because a flood of output would use up the task's budget before it is asked.
        biased;
        () = sleep_until(deadline) => None,
        driven = process.drive(&mut output, ask(pipes, &question, &mut said)) => Some(driven),
    };
    let status = match driven {
        None => {
            process.end().await;
            process.drain(&mut output);
            return Called {
                result: Err(InvocationError::Timeout),
                logs: output.logs(),
                usable: true,
            };
        }
        Some(Driven::Ended(status)) => Some(status),
        // It closed its standard output: it has said everything.
        Some(Driven::Done(())) if said.len() <= MAX_ANSWER => process.hung_up().await,
        Some(Driven::Done(())) => None,
    };
    process.end().await;
    process.drain(&mut output);
    let logs = output.logs();
    let (result, brought) = judge(said, status, &logs);
    Called {
        result: result.map_err(InvocationError::Function),
        logs: super::process::joined(brought, logs),
        usable: true,
    }
}

/// Writes the question and reads the answer at once, so that neither blocks the other.
async fn ask((mut stdin, stdout): Pipes, question: &[u8], said: &mut Vec<u8>) {
    let write = async move {
        // A program may answer without having read everything.
        if stdin.write_all(question).await.is_ok() {
            stdin.shutdown().await.unwrap_or_default();
        }
    };
    let read = async move {
        let mut bounded = stdout.take(MAX_ANSWER as u64 + 1);
        bounded.read_to_end(said).await.unwrap_or_default();
    };
    let mut write = std::pin::pin!(write);
    let mut read = std::pin::pin!(read);
    tokio::select! {
        biased;
        () = &mut read => {}
        () = &mut write => read.await,
    }
}

/// What the end of the program and its words mean.
fn judge(said: Vec<u8>, status: Option<ExitStatus>, logs: &Logs) -> (Result<Bytes, FunctionError>, Logs) {
    if said.len() > MAX_ANSWER {
        return (Err(message::too_long(said.len())), Logs::default());
    }
    if let Some(status) = status.filter(|status| !status.success()) {
        let last = logs
            .stderr
            .last()
            .map_or(String::new(), |line| format!(": {line}"));
        let error = function_error(format!("the program failed ({status}){last}"), logs);
        return (Err(error), Logs::default());
    }
    let answer = message::answer(&Bytes::from(said));
    match answer.retire {
        true => {
            let text =
                "the program's standard output is no function message: {\"context\": {…}, \"payload\": …}";
            (Err(function_error(text.to_owned(), logs)), Logs::default())
        }
        false => (answer.result, answer.logs),
    }
}

fn function_error(message: String, logs: &Logs) -> FunctionError {
    let last = logs.stderr.len().saturating_sub(20);
    FunctionError {
        kind: FunctionErrorKind::Function,
        message,
        stacktrace: logs.stderr[last..].to_vec(),
    }
}

fn failed(error: InvocationError) -> Called {
    Called {
        result: Err(error),
        logs: Logs::default(),
        usable: true,
    }
}
