//! What the end of a call means for its delivery and for its run. Pure.
//!
//! | result | delivery | code | run |
//! |---|---|---|---|
//! | a payload | accepted | | READY |
//! | `InputError` | rejected: the same event would fail again | | ERROR |
//! | `FunctionError`, `SystemError` | released | 500 | ERROR |
//! | timeout | released | 504 | ERROR |
//! | busy, not reachable | released, not before a moment | 429, 503 | ERROR |
//!
//! The codes are what an HTTP sink would have said: they tell the router whether the trouble is with the function
//! or with the event.

use std::time::Duration;

use bytes::Bytes;
use dispatch_contract::{FunctionErrorKind, InvocationError, Outcome};
use dispatch_schemas::RunError;

const BUSY_FOR: Duration = Duration::from_millis(200);
const AWAY_FOR: Duration = Duration::from_secs(1);
const MAX_REASON: usize = 300;

/// The outcome of the delivery.
pub(super) fn verdict(result: &Result<Bytes, InvocationError>) -> Outcome {
    let error = match result {
        Ok(_) => return Outcome::Accepted,
        Err(error) => error,
    };
    let code = code(error);
    let reason = one_line(error);
    match error {
        InvocationError::Function(e) if e.kind == FunctionErrorKind::Input => {
            Outcome::Rejected { reason, code }
        }
        InvocationError::Function(_) | InvocationError::Timeout => Outcome::Released {
            reason,
            code,
            after: None,
        },
        InvocationError::Throttled => Outcome::Released {
            reason,
            code,
            after: Some(BUSY_FOR),
        },
        InvocationError::Unavailable(_) => Outcome::Released {
            reason,
            code,
            after: Some(AWAY_FOR),
        },
    }
}

fn code(error: &InvocationError) -> Option<u16> {
    match error {
        InvocationError::Function(e) if e.kind == FunctionErrorKind::Input => None,
        InvocationError::Function(_) => Some(500),
        InvocationError::Timeout => Some(504),
        InvocationError::Throttled => Some(429),
        InvocationError::Unavailable(_) => Some(503),
    }
}

/// The error as the run shows it.
pub(super) fn run_error(error: &InvocationError) -> RunError {
    let (ty, message, stacktrace) = match error {
        InvocationError::Function(e) => (e.kind, e.message.clone(), e.stacktrace.clone()),
        InvocationError::Timeout => (
            FunctionErrorKind::Function,
            "Function execution exceeded the timeout".to_owned(),
            Vec::new(),
        ),
        other => (FunctionErrorKind::System, other.to_string(), Vec::new()),
    };
    RunError {
        ty: ty.as_str().to_owned(),
        message,
        stacktrace,
    }
}

/// The kind of error and the first line of what it says.
fn one_line(error: &InvocationError) -> String {
    let RunError { ty, message, .. } = run_error(error);
    let line = message.lines().next().unwrap_or_default();
    let line: String = line.chars().take(MAX_REASON).collect();
    format!("{ty}: {line}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use dispatch_contract::FunctionError;

    fn failed(kind: FunctionErrorKind) -> InvocationError {
        InvocationError::Function(FunctionError {
            kind,
            message: "no\nsecond line".into(),
            stacktrace: vec!["at".into()],
        })
    }

    #[test]
    fn the_table_of_verdicts() {
        use FunctionErrorKind::{Function, Input, System};
        let released = |reason: &str, code, after: Option<u64>| Outcome::Released {
            reason: reason.into(),
            code: Some(code),
            after: after.map(Duration::from_millis),
        };
        let table = [
            (Ok(Bytes::from_static(b"1")), Outcome::Accepted),
            (
                Err(failed(Input)),
                Outcome::Rejected {
                    reason: "InputError: no".into(),
                    code: None,
                },
            ),
            (Err(failed(Function)), released("FunctionError: no", 500, None)),
            (Err(failed(System)), released("SystemError: no", 500, None)),
            (
                Err(InvocationError::Timeout),
                released(
                    "FunctionError: Function execution exceeded the timeout",
                    504,
                    None,
                ),
            ),
            (
                Err(InvocationError::Throttled),
                released("SystemError: the function is busy", 429, Some(200)),
            ),
            (
                Err(InvocationError::Unavailable("gone".into())),
                released(
                    "SystemError: the function cannot be reached: gone",
                    503,
                    Some(1000),
                ),
            ),
        ];
        for (result, outcome) in table {
            assert_eq!(verdict(&result), outcome, "{result:?}");
        }
    }

    #[test]
    fn a_run_keeps_the_whole_message_and_the_trace() {
        let error = run_error(&failed(FunctionErrorKind::Input));
        assert_eq!(
            (error.ty.as_str(), error.message.as_str()),
            ("InputError", "no\nsecond line")
        );
        assert_eq!(error.stacktrace, ["at"]);
    }
}
