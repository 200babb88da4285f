//! What the engine is told: whether the function is loaded, and how each call ended. Pure.

use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use crate::call::CallError;
use crate::function::LoadError;
use crate::web::Response;

/// The function takes calls: function messages.
pub(crate) const LOADED: &[u8] = br#"{"ok":true}"#;
/// The function takes calls: HTTP requests.
pub(crate) const LOADED_HANDLER: &[u8] = br#"{"ok":true,"http":true}"#;
/// Bytes of an error's message.
const MAX_MESSAGE: usize = 8 * 1024;

/// The function takes none.
pub(crate) fn refused(error: &LoadError) -> Vec<u8> {
    json!({ "error": clipped(&error.to_string()) })
        .to_string()
        .into_bytes()
}

/// How a call ended.
#[derive(Debug)]
pub(crate) enum Answer {
    /// With a function message of the program's own.
    Said(Message),
    /// With a handler's response, whatever its status.
    Responded(Response),
    Failed(Failure),
    /// At its deadline.
    TimedOut,
}

/// The answer of a program.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Message {
    #[serde(default)]
    context: Context,
    #[serde(default)]
    payload: Option<Box<RawValue>>,
}

/// What is taken of an answer's context.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Context {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    logs: Option<Lines>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Lines {
    #[serde(default)]
    stdout: Option<Vec<String>>,
    #[serde(default)]
    stderr: Option<Vec<String>>,
}

/// An error as a function's caller sees it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) stacktrace: Option<Vec<String>>,
}

impl Answer {
    /// The program's own fault.
    pub(crate) fn failed(message: impl Into<String>, stacktrace: Vec<String>) -> Self {
        Self::error("FunctionError", message.into(), stacktrace)
    }

    /// It was ended by what it is bounded by.
    pub(crate) fn ended(message: impl Into<String>) -> Self {
        Self::error("SystemError", message.into(), Vec::new())
    }

    /// The call cannot be understood.
    pub(crate) fn bad_input(error: &CallError) -> Self {
        Self::error("InputError", format!("Invalid Input: {error}"), Vec::new())
    }

    fn error(kind: &str, message: String, stacktrace: Vec<String>) -> Self {
        Self::Failed(Failure {
            kind: kind.to_owned(),
            message: clipped(&message).to_owned(),
            stacktrace: Some(stacktrace),
        })
    }

    /// Reads what a program wrote to its standard output.
    pub(crate) fn said(text: &[u8], max_result: usize) -> Self {
        let Ok(message) = serde_json::from_slice::<Message>(text) else {
            let text =
                "the program's standard output is no function message: {\"context\": {…}, \"payload\": …}";
            return Self::failed(text, Vec::new());
        };
        match message.payload.as_ref().map_or(0, |payload| payload.get().len()) {
            length if length > max_result => Self::too_long(&length.to_string(), max_result),
            _ => Self::Said(message),
        }
    }

    /// It wrote more than a result may have.
    pub(crate) fn too_long(length: &str, max_result: usize) -> Self {
        let text = format!("the result has {length} bytes; a result has at most {max_result}");
        Self::failed(text, Vec::new())
    }

    /// The frame's body.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let written = match self {
            Self::Said(message) => serde_json::to_vec(message),
            Self::Responded(response) => serde_json::to_vec(&json!({ "response": response.told() })),
            Self::Failed(failure) => {
                serde_json::to_vec(&json!({"context": {"error": failure}, "payload": null}))
            }
            Self::TimedOut => serde_json::to_vec(&json!({"context": {"timeout": true}, "payload": null})),
        };
        // Strings and JSON that was read: there is nothing in it that cannot be written.
        written.unwrap_or_default()
    }
}

fn clipped(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_MESSAGE)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        String::from_utf8(Answer::said(text.as_bytes(), 10).to_json()).unwrap()
    }

    #[test]
    fn an_answer_is_passed_on_without_what_only_the_engine_may_hear() {
        let passed = told(r#"{"context": {"retire": true, "timeout": true}, "payload": [1.50]}"#);
        assert_eq!(passed, r#"{"context":{},"payload":[1.50]}"#);
        let lines = told(r#"{"context": {"logs": {"stderr": ["a"]}}}"#);
        assert_eq!(
            lines,
            r#"{"context":{"logs":{"stdout":null,"stderr":["a"]}},"payload":null}"#
        );
        let failed = told(r#"{"context": {"error": {"type": "InputError", "message": "who?"}}}"#);
        assert!(
            failed.contains(r#""type":"InputError","message":"who?""#),
            "{failed}"
        );
    }

    #[test]
    fn what_is_no_answer_is_the_programs_fault() {
        for text in [
            "",
            "hello",
            "[1]",
            r#"{"context": 1}"#,
            r#"{"payload": 1} and more"#,
        ] {
            assert!(told(text).contains("is no function message"), "{text}");
        }
        let long = told(r#"{"payload": "0123456789"}"#);
        assert!(
            long.contains("the result has 12 bytes; a result has at most 10"),
            "{long}"
        );
    }
}
