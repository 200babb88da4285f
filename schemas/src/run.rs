//! Runs: the story of one delivery to a function.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::absent::{is_false, null_is_default};
use crate::{CloudEvent, Status, Tag};

/// One call of a function, by an event, by `exec` or through an API. Times are Unix **nanoseconds**.
///
/// It is not created by name and has no id of its own: the name is the identity. A client that starts a run
/// writes `input`, `functionName`, `blocking`, `secrets` and `tags`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Run {
    /// The same for every attempt and after a repeated delivery.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Uuid::is_nil"
    )]
    pub name: Uuid,
    /// Name of the function.
    #[serde(default, deserialize_with = "null_is_default")]
    pub function_name: String,
    /// Id of the function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function_id: Option<Uuid>,
    /// Revision of the function that ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faas_id: Option<Uuid>,
    /// The caller waits for the end. Absent when false.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "is_false"
    )]
    pub blocking: bool,
    /// The payload the function gets: any JSON, as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub input: Option<Box<RawValue>>,
    /// The payload the function returned: any JSON, as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub output: Option<Box<RawValue>>,
    /// Names of secrets: the function's, then the caller's.
    #[serde(default, deserialize_with = "null_is_default")]
    pub secrets: Vec<String>,
    /// Never echoed: always `null`.
    #[serde(default)]
    pub services: Option<Vec<String>>,
    /// The HTTP request, for calls through an API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub http_context: Option<Box<RawValue>>,
    /// The event without its data, for runs by event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<CloudEvent>,
    /// What the function printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<LogLines>,
    /// How it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RunError>,
    /// When it was taken.
    #[serde(default, deserialize_with = "null_is_default")]
    pub executed_time: i64,
    /// When the last attempt began. Absent until the first does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_time: Option<i64>,
    /// When the last attempt ended. Absent until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_time: Option<i64>,
    /// READY when it ended well, ERROR when not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Why `status` is ERROR.
    #[serde(default)]
    pub reason: Option<Vec<String>>,
    /// Labels.
    #[serde(default, deserialize_with = "null_is_default")]
    pub tags: Vec<Tag>,
    /// Attempts made so far, by event deliveries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// Name of the subscription, for runs by event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<String>,
    /// When a failed delivery is tried again. Absent when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<i64>,
    /// The run whose call this is once more. Set by the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerun_of: Option<Uuid>,
}

impl Run {
    /// Whether the story is over: it ended and will not be tried again.
    pub fn is_finished(&self) -> bool {
        self.finished_time.is_some() && self.next_attempt.is_none()
    }
}

/// What a function printed during one call; `null` where it printed nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogLines {
    /// Lines of standard output.
    #[serde(default)]
    pub stdout: Option<Vec<String>>,
    /// Lines of standard error.
    #[serde(default)]
    pub stderr: Option<Vec<String>>,
}

impl LogLines {
    /// Empty lists become `null`, as in the original.
    pub fn new(stdout: Vec<String>, stderr: Vec<String>) -> Self {
        let some = |lines: Vec<String>| (!lines.is_empty()).then_some(lines);
        Self {
            stdout: some(stdout),
            stderr: some(stderr),
        }
    }
}

/// How a function failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunError {
    /// `InputError`, `FunctionError` or `SystemError`.
    #[serde(rename = "type")]
    pub ty: String,
    /// What went wrong.
    pub message: String,
    /// Where, innermost last.
    #[serde(default, deserialize_with = "null_is_default")]
    pub stacktrace: Vec<String>,
}
