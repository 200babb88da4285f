//! The run of a delivery: how it begins, how it ends, and the event that tells of its end. Pure.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use dispatch_contract::{
    Delivery, Event, EventError, FunctionError, FunctionErrorKind, InvocationError, Logs,
};
use dispatch_schemas::{CloudEvent, LogLines, Run, RunError, Status};
use serde_json::value::{RawValue, to_raw_value};
use uuid::{Uuid, uuid};

use super::message::{CalledBy, Request};
use super::verdict::run_error;

/// Type of the event that tells of a run that ended well.
pub(super) const SUCCEEDED: &str = "dispatch.run.succeeded";
/// Type of the event that tells of a run that failed for good.
pub(super) const FAILED: &str = "dispatch.run.failed";
/// The largest record of a run. Beyond it, input and output are left out.
const MAX_RECORD: usize = 768 * 1024;
/// How what stands for a payload that was left out ends.
const NOT_KEPT: &str = "bytes were not kept)";
const NAMES: Uuid = uuid!("6f1c9a52-3a6e-4c0f-9d7e-52c1b0a7e6d4");

/// The name of a delivery's run: the same for every attempt, and for a delivery that a crash repeats.
pub(super) fn name_of(delivery_id: &str) -> Uuid {
    Uuid::new_v5(&NAMES, delivery_id.as_bytes())
}

/// Source of everything a function causes.
pub(super) fn source_of(function: &str) -> String {
    format!("/dispatch/functions/{function}")
}

/// Nanoseconds as runs count them.
pub(super) fn nanos(time: DateTime<Utc>) -> i64 {
    time.timestamp_nanos_opt().unwrap_or_default()
}

/// A run whose attempt begins. `secrets` are the function's own.
pub(super) fn begun(
    delivery: &Delivery,
    function: (&str, Uuid),
    request: &Request,
    secrets: &[String],
    executed_time: i64,
) -> Run {
    let mut run = Run {
        name: name_of(&delivery.id()),
        function_name: function.0.to_owned(),
        function_id: Some(function.1),
        input: told(request.payload.clone()),
        secrets: secrets.iter().chain(&request.secrets).cloned().collect(),
        executed_time,
        status: Some(Status::Creating),
        attempts: Some(delivery.attempt),
        ..Run::default()
    };
    if !request.by.has_caller() {
        run.subscription = Some(delivery.subscription_name.to_string());
    }
    called(&mut run, &request.by);
    run
}

/// How a run came about.
pub(super) fn called(run: &mut Run, by: &CalledBy) {
    match by {
        CalledBy::Event(event) => run.event = Some(CloudEvent::clone(event)),
        CalledBy::Exec {
            blocking,
            tags,
            again,
        } => {
            run.blocking = *blocking;
            run.tags.clone_from(tags);
            if let Some(again) = again {
                run.rerun_of = Some(again.run);
                run.event.clone_from(&again.event);
                run.http_context.clone_from(&again.http_context);
            }
        }
        CalledBy::Api { blocking, http } => {
            run.blocking = *blocking;
            run.http_context = Some(http.clone());
        }
    }
}

/// The same run after its attempt ended.
pub(super) fn ended(
    run: &Run,
    result: &Result<Bytes, InvocationError>,
    logs: Logs,
    at: DateTime<Utc>,
) -> Run {
    let mut run = Run {
        finished_time: Some(nanos(at)),
        logs: Some(lines(logs)),
        next_attempt: None,
        output: None,
        error: None,
        reason: None,
        ..run.clone()
    };
    // An engine may hand back what is no JSON; then the function has failed after all.
    let output = result
        .as_ref()
        .map(|bytes| serde_json::from_slice::<Box<RawValue>>(bytes));
    let error = match output {
        Ok(Ok(output)) => {
            run.status = Some(Status::Ready);
            run.output = told(output);
            return run;
        }
        Ok(Err(error)) => RunError {
            ty: "SystemError".to_owned(),
            message: format!("cannot JSON-parse result from the function: {error}"),
            stacktrace: Vec::new(),
        },
        Err(error) => run_error(error),
    };
    run.status = Some(Status::Error);
    run.reason = Some(vec![format!(
        "error running function: {}: {}",
        run.function_name, error.message
    )]);
    run.error = Some(error);
    run
}

/// A payload as runs tell it: `null` is left out, as it would be once read back.
fn told(payload: Box<RawValue>) -> Option<Box<RawValue>> {
    (payload.get() != "null").then_some(payload)
}

fn lines(logs: Logs) -> LogLines {
    let Logs {
        stdout,
        mut stderr,
        dropped,
    } = logs;
    if dropped > 0 {
        stderr.push(format!("({dropped} more lines were dropped)"));
    }
    LogLines::new(stdout, stderr)
}

/// The event that tells of the run's end. What the journal could not hold is left out, and says so.
pub(super) fn event_of(run: &Run, at: DateTime<Utc>) -> Result<Event, EventError> {
    let ty = match run.status {
        Some(Status::Ready) => SUCCEEDED,
        _ => FAILED,
    };
    let id = format!("{}-{}", run.name, run.attempts.unwrap_or(1));
    let json = record(run).map_err(|e| EventError::new("data", e.to_string()))?;
    Event::builder(id, source_of(&run.function_name), ty)
        .subject(run.function_name.clone())
        .time(at)
        .json(json)
        .build()
}

fn record(run: &Run) -> Result<Vec<u8>, serde_json::Error> {
    let whole = serde_json::to_vec(run)?;
    if whole.len() <= MAX_RECORD {
        return Ok(whole);
    }
    let mut run = run.clone();
    for part in [&mut run.input, &mut run.output] {
        let size = part.as_ref().map_or(0, |json| json.get().len());
        if size > MAX_RECORD / 8 {
            *part = Some(to_raw_value(&format!("({size} {NOT_KEPT}"))?);
        }
    }
    serde_json::to_vec(&run)
}

/// Whether a run's payload is there, and not only a note of how large it was.
pub(super) fn is_kept(payload: Option<&RawValue>) -> bool {
    let note = |json: &RawValue| {
        json.get()
            .strip_prefix("\"(")
            .is_some_and(|rest| rest.ends_with(&format!("{NOT_KEPT}\"")))
    };
    !payload.is_some_and(note)
}

/// How a call ends that somebody cancelled.
pub(super) fn cancelled() -> InvocationError {
    InvocationError::Function(FunctionError {
        kind: FunctionErrorKind::System,
        message: "the run was cancelled".to_owned(),
        stacktrace: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::message::request_from;
    use dispatch_contract::SubscriptionId;
    use std::time::Duration;

    fn delivery(event: Event) -> Delivery {
        Delivery {
            event,
            sequence: 7,
            organization: "dispatch".into(),
            subscription: SubscriptionId(Uuid::nil()),
            subscription_name: "sub".into(),
            attempt: 2,
            timeout: Duration::from_secs(30),
        }
    }

    fn run(data: &str) -> Run {
        let event = Event::builder("1", "/s", "t")
            .json(data.to_owned())
            .build()
            .unwrap();
        let request = request_from(&event, false).unwrap();
        begun(
            &delivery(event),
            ("hello", Uuid::max()),
            &request,
            &["s".into()],
            5,
        )
    }

    #[test]
    fn a_run_that_ended_well_tells_everything() {
        let at = DateTime::from_timestamp_nanos(9);
        let logs = Logs {
            stdout: vec!["out".into()],
            dropped: 3,
            ..Logs::default()
        };

        let run = ended(&run("{\"a\":1.0}"), &Ok(Bytes::from_static(b"[ 2 ]")), logs, at);

        assert!(run.is_finished());
        assert_eq!(run.output.as_ref().unwrap().get(), "[ 2 ]");
        assert_eq!(run.event.as_ref().unwrap().event_type, "t");
        let logs = run.logs.clone().unwrap();
        assert_eq!(logs.stderr.unwrap(), ["(3 more lines were dropped)"]);
        let event = event_of(&run, at).unwrap();
        assert_eq!(
            (event.ty(), event.source()),
            (SUCCEEDED, "/dispatch/functions/hello")
        );
        assert_eq!(
            event.id(),
            format!("{}-2", name_of("7-00000000-0000-0000-0000-000000000000"))
        );
        let told: Run = serde_json::from_slice(event.data().unwrap().bytes).unwrap();
        assert_eq!(
            (told.name, told.attempts, told.executed_time),
            (run.name, Some(2), 5)
        );
    }

    #[test]
    fn a_run_that_failed_has_one_reason() {
        let at = DateTime::from_timestamp_nanos(9);
        for result in [Err(InvocationError::Timeout), Ok(Bytes::from_static(b"nonsense"))] {
            let run = ended(&run("1"), &result, Logs::default(), at);
            assert_eq!(run.status, Some(Status::Error));
            let reason = run.reason.clone().unwrap();
            assert_eq!(reason.len(), 1);
            assert!(
                reason[0].starts_with("error running function: hello: "),
                "{reason:?}"
            );
            assert_eq!(event_of(&run, at).unwrap().ty(), FAILED);
        }
    }

    #[test]
    fn a_run_too_large_for_the_journal_says_what_was_left_out() {
        let large = format!("\"{}\"", "x".repeat(MAX_RECORD));
        let at = DateTime::from_timestamp_nanos(9);
        let run = ended(&run(&large), &Ok(Bytes::from(large)), Logs::default(), at);

        let event = event_of(&run, at).unwrap();

        let bytes = event.data().unwrap().bytes;
        assert!(bytes.len() < MAX_RECORD);
        let told: Run = serde_json::from_slice(bytes).unwrap();
        assert!(!is_kept(told.input.as_deref()) && is_kept(None));
        assert!(told.input.unwrap().get().contains("bytes were not kept"));
        assert_eq!(told.status, Some(Status::Ready));
    }
}
