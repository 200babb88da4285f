//! The messages inside the frames: `load`, the call of a function and its answer. Pure.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use dispatch_contract::{ExposeSecret, FunctionError, FunctionErrorKind, Invocation, Logs};
use serde::de::DeserializeOwned;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::settings::{MAX_CALL, MAX_RESULT};
use crate::wire::{Answer, Frame};

/// An answer's envelope and an error's text have room beside the result.
pub(crate) const MAX_ANSWER: usize = MAX_RESULT + 256 * 1024;

/// The first frame a worker gets.
pub(crate) fn load(folder: &Path, handler: &str) -> Vec<u8> {
    let order = serde_json::json!({
        "load": { "folder": folder, "handler": handler, "maxResult": MAX_RESULT }
    });
    let mut frame = Frame::with_capacity(256);
    frame.body().extend_from_slice(order.to_string().as_bytes());
    // Paths and handlers are far shorter than a call may be.
    frame.finish(MAX_CALL).unwrap_or_default()
}

/// What a function that is loaded is asked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asks {
    /// Function messages.
    Message,
    /// HTTP requests.
    Http,
}

/// What a worker answers to `load`: `Err` says why the function cannot be loaded.
pub(crate) fn loaded(answer: &[u8]) -> Result<Asks, String> {
    #[derive(Deserialize)]
    struct Loaded {
        error: Option<String>,
        #[serde(default)]
        http: bool,
    }
    match parse::<Loaded>(answer)? {
        Loaded {
            error: Some(error), ..
        } => Err(error),
        Loaded { http: true, .. } => Ok(Asks::Http),
        Loaded { .. } => Ok(Asks::Message),
    }
}

/// The frame of a call; `left` is the time it has, for workers that can stop a call themselves.
pub(crate) fn call(invocation: &Invocation, left: Duration) -> Result<Vec<u8>, FunctionError> {
    let mut frame = Frame::with_capacity(size_of(invocation));
    write(invocation, Some(left), frame.body())?;
    frame.finish(MAX_CALL).ok_or_else(too_large)
}

/// The function message with the secrets in its context, for workers that take no frames.
pub(crate) fn text(invocation: &Invocation) -> Result<Vec<u8>, FunctionError> {
    let mut text = Vec::with_capacity(size_of(invocation));
    write(invocation, None, &mut text)?;
    match text.len() <= MAX_CALL {
        true => Ok(text),
        false => Err(too_large()),
    }
}

fn size_of(invocation: &Invocation) -> usize {
    invocation.payload.len() + invocation.context.len() + 256
}

fn write(invocation: &Invocation, left: Option<Duration>, to: &mut Vec<u8>) -> Result<(), FunctionError> {
    let context: BTreeMap<String, &RawValue> =
        serde_json::from_slice(&invocation.context).map_err(|e| invalid(format!("context: {e}")))?;
    let payload: &RawValue =
        serde_json::from_slice(&invocation.payload).map_err(|e| invalid(format!("payload: {e}")))?;
    let message = Message {
        left: left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
        context: Context {
            members: context,
            secrets: &invocation.secrets,
        },
        payload,
    };
    serde_json::to_writer(to, &message).map_err(|e| invalid(e.to_string()))
}

/// A call that is longer than any worker gets.
pub(crate) fn too_large() -> FunctionError {
    invalid(format!("the function message has more than {MAX_CALL} bytes"))
}

/// A call that cannot be put into words for this function.
pub(crate) fn invalid(problem: String) -> FunctionError {
    FunctionError {
        kind: FunctionErrorKind::Input,
        message: format!("Invalid Input: {problem}"),
        stacktrace: Vec::new(),
    }
}

#[derive(Serialize)]
struct Message<'a> {
    /// In milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<u64>,
    context: Context<'a>,
    payload: &'a RawValue,
}

struct Context<'a> {
    members: BTreeMap<String, &'a RawValue>,
    secrets: &'a BTreeMap<String, dispatch_contract::SecretString>,
}

impl Serialize for Context<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let secrets: BTreeMap<&str, &str> = self
            .secrets
            .iter()
            .map(|(name, value)| (name.as_str(), value.expose_secret()))
            .collect();
        map.serialize_entry("secrets", &secrets)?;
        for (name, value) in self.members.iter().filter(|(n, _)| *n != "secrets") {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Reads the answer to a call: a function message.
pub(crate) fn answer(text: &Bytes) -> Answer {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(default)]
        context: Outcome,
        #[serde(borrow, default)]
        payload: Option<&'a RawValue>,
    }
    #[derive(Default, Deserialize)]
    struct Outcome {
        #[serde(default)]
        error: Option<Failure>,
        #[serde(default)]
        logs: Option<Lines>,
        #[serde(default)]
        retire: bool,
        #[serde(default)]
        timeout: bool,
    }
    #[derive(Deserialize)]
    struct Failure {
        #[serde(rename = "type")]
        kind: String,
        message: String,
        #[serde(default)]
        stacktrace: Option<Vec<String>>,
    }
    #[derive(Deserialize)]
    struct Lines {
        #[serde(default)]
        stdout: Option<Vec<String>>,
        #[serde(default)]
        stderr: Option<Vec<String>>,
    }
    let body: Body<'_> = match serde_json::from_slice(text) {
        Ok(body) => body,
        Err(error) => {
            let why = format!("cannot JSON-parse result from the worker: {error}");
            return Answer {
                retire: true,
                ..Answer::failed(system(why))
            };
        }
    };
    let result = match body.context.error {
        Some(error) => Err(FunctionError {
            kind: match error.kind.as_str() {
                "InputError" => FunctionErrorKind::Input,
                "SystemError" => FunctionErrorKind::System,
                _ => FunctionErrorKind::Function,
            },
            message: error.message,
            stacktrace: error.stacktrace.unwrap_or_default(),
        }),
        None => Ok(body.payload.map_or(Bytes::from_static(b"null"), |payload| {
            text.slice_ref(payload.get().as_bytes())
        })),
    };
    Answer {
        result,
        logs: body.context.logs.map_or_else(Logs::default, |logs| Logs {
            stdout: logs.stdout.unwrap_or_default(),
            stderr: logs.stderr.unwrap_or_default(),
            dropped: 0,
        }),
        retire: body.context.retire,
        timed_out: body.context.timeout,
    }
}

/// The answer of a worker that sent more than it may.
pub(crate) fn too_long(length: usize) -> FunctionError {
    FunctionError {
        kind: FunctionErrorKind::Function,
        message: format!("the result has {length} bytes; a result has at most {MAX_RESULT}"),
        stacktrace: Vec::new(),
    }
}

/// A failure of the machine.
pub(crate) fn system(message: String) -> FunctionError {
    FunctionError {
        kind: FunctionErrorKind::System,
        message,
        stacktrace: Vec::new(),
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|e| format!("the worker's answer is not JSON: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn invocation(context: &'static str, payload: &'static str) -> Invocation {
        Invocation {
            revision: Uuid::nil(),
            payload: Bytes::from_static(payload.as_bytes()),
            context: Bytes::from_static(context.as_bytes()),
            secrets: [("password".to_owned(), "OpenSesame".into())].into(),
            timeout: None,
        }
    }

    #[test]
    fn a_call_carries_the_payload_as_it_came_and_only_the_given_secrets() {
        let invocation = invocation(r#"{"event":{"a":1.50},"secrets":{"x":"y"}}"#, "[1.000]");
        let message =
            r#""context":{"secrets":{"password":"OpenSesame"},"event":{"a":1.50}},"payload":[1.000]}"#;

        let frame = call(&invocation, Duration::from_millis(1500)).unwrap();
        assert_eq!(
            std::str::from_utf8(&frame[4..]).unwrap(),
            format!("{{\"left\":1500,{message}")
        );
        let text = text(&invocation).unwrap();
        assert_eq!(std::str::from_utf8(&text).unwrap(), format!("{{{message}"));
    }

    #[test]
    fn what_is_no_json_is_an_input_error() {
        for (context, payload) in [("{}", "{"), ("[]", "1"), ("", "1"), ("{}", "")] {
            let error = text(&invocation(context, payload)).unwrap_err();
            assert_eq!(error.kind, FunctionErrorKind::Input, "{context:?} {payload:?}");
        }
    }

    #[test]
    fn an_answer_is_a_payload_or_an_error() {
        let read = |text: &'static str| answer(&Bytes::from_static(text.as_bytes()));
        let ok = read(r#"{"context":{"error":null},"payload":{"a": 1}}"#);
        assert_eq!(ok.result.as_ref().unwrap(), r#"{"a": 1}"#);
        assert_eq!(read(r#"{"context":{}}"#).result.unwrap(), "null");
        assert!(!ok.timed_out && read(r#"{"context":{"timeout":true}}"#).timed_out);
        let failed = read(
            r#"{"context":{"error":{"type":"InputError","message":"m","stacktrace":["l"]},"retire":true},"payload":null}"#,
        );
        assert!(failed.retire);
        let error = failed.result.unwrap_err();
        assert_eq!(
            (error.kind, error.message.as_str()),
            (FunctionErrorKind::Input, "m")
        );
        let garbage = read("hello");
        assert!(garbage.retire);
        assert_eq!(garbage.result.unwrap_err().kind, FunctionErrorKind::System);
    }
}
