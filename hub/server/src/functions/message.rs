//! From a delivery to a call: what the function gets as `payload` and `context`, and what its run tells. Pure.
//!
//! A function that an event calls sees the event's data as its payload and the event without its data as
//! `context.event`, in the original's field names and in those of CloudEvents 1.0 side by side. A function called by
//! `exec` sees the input of the call and no event; one called through an API sees the HTTP request as
//! `context.httpContext`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use dispatch_contract::{DataKind, Event, Value};
use dispatch_schemas::{CloudEvent, Run, Tag};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, json};
use uuid::Uuid;

use crate::event01;

/// Type of the event that is a call by `exec`, for the function's own subscription only.
pub(super) const EXEC: &str = "dispatch.exec";

/// Type of the event that is a call through an API. It is for everybody who subscribes to it; only for the function of
/// the API it is the call itself.
pub(super) const CALLED: &str = "dispatch.api.called";

/// Data of the event that is a call through an API.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiData {
    /// Name of the API.
    pub(super) api: String,
    /// Whether somebody waits for the answer.
    pub(super) blocking: bool,
    /// The HTTP request, without its body and without credentials.
    pub(super) http_context: Box<RawValue>,
    /// The payload.
    pub(super) input: Box<RawValue>,
}

/// Data of the event that is a call by `exec`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ExecData {
    /// The payload; `null` when absent.
    #[serde(default)]
    pub(super) input: Option<Box<RawValue>>,
    /// Names of secrets beside the function's own.
    #[serde(default)]
    pub(super) secrets: Vec<String>,
    /// Whether somebody waits for the run.
    #[serde(default)]
    pub(super) blocking: bool,
    /// Labels of the run.
    #[serde(default)]
    pub(super) tags: Vec<Tag>,
    /// What a call once more takes over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) again: Option<Box<Again>>,
}

/// What a call that is made once more takes over from its run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Again {
    /// The run.
    pub(super) run: Uuid,
    /// Its event, without its data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) event: Option<CloudEvent>,
    /// Its HTTP request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) http_context: Option<Box<RawValue>>,
}

impl Again {
    /// The function sees what it saw then.
    fn tell<'a>(&'a self, context: &mut Context<'a>) {
        context.event = self.event.as_ref().map(|old| match event01::rebuilt(old) {
            Ok(event) => both_names(&event, old),
            Err(_) => serde_json::to_value(old).unwrap_or_default(),
        });
        context.http_context = self.http_context.as_deref();
    }
}

impl ExecData {
    /// What a client asks for.
    pub(super) fn of(asked: Run) -> Self {
        Self {
            input: asked.input,
            secrets: asked.secrets,
            blocking: asked.blocking,
            tags: asked.tags,
            again: None,
        }
    }
}

/// What a delivery asks a function to do.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// The payload as JSON.
    pub(super) payload: Box<RawValue>,
    /// Names of secrets beside the function's own.
    pub(super) secrets: Vec<String>,
    /// How the function was called.
    pub(super) by: CalledBy,
}

/// How a function was called.
#[derive(Debug, Clone)]
pub(super) enum CalledBy {
    /// By an event; as 0.1 tells it, without its data.
    Event(Box<CloudEvent>),
    /// By `exec`.
    Exec {
        /// Whether somebody waits.
        blocking: bool,
        /// Labels of the run.
        tags: Vec<Tag>,
        /// What it takes over, if it is made once more.
        again: Option<Box<Again>>,
    },
    /// Through an API.
    Api {
        /// Whether somebody waits.
        blocking: bool,
        /// The HTTP request.
        http: Box<RawValue>,
    },
}

impl CalledBy {
    /// Whether somebody asked for just this call and hears how it ended; else an event has to be delivered.
    pub(super) fn has_caller(&self) -> bool {
        matches!(self, Self::Exec { .. } | Self::Api { .. })
    }
}

/// The request in an event. `own` says that the event targets the function itself.
pub(super) fn request_from(event: &Event, own: bool) -> Result<Request, serde_json::Error> {
    if own && event.ty() == EXEC {
        let data: ExecData = serde_json::from_slice(event.data().map_or(b"{}", |data| data.bytes))?;
        return Ok(Request {
            payload: data.input.unwrap_or_else(|| RawValue::NULL.to_owned()),
            secrets: data.secrets,
            by: CalledBy::Exec {
                blocking: data.blocking,
                tags: data.tags,
                again: data.again,
            },
        });
    }
    if own && event.ty() == CALLED {
        let data: ApiData = serde_json::from_slice(event.data().map_or(b"{}", |data| data.bytes))?;
        return Ok(Request {
            payload: data.input,
            secrets: Vec::new(),
            by: CalledBy::Api {
                blocking: data.blocking,
                http: data.http_context,
            },
        });
    }
    Ok(Request {
        payload: payload(event)?,
        secrets: Vec::new(),
        by: CalledBy::Event(Box::new(event01::context_of(event))),
    })
}

/// An event's data as JSON: itself, or text and base64 as a string, or `null`.
fn payload(event: &Event) -> Result<Box<RawValue>, serde_json::Error> {
    let Some(data) = event.data() else {
        return Ok(RawValue::NULL.to_owned());
    };
    match data.kind {
        DataKind::Json => serde_json::from_slice(data.bytes),
        DataKind::Text => serde_json::value::to_raw_value(&String::from_utf8_lossy(data.bytes)),
        DataKind::Binary => serde_json::value::to_raw_value(&STANDARD.encode(data.bytes)),
    }
}

/// `context` of the function message, without its secrets.
pub(super) fn context(event: &Event, by: &CalledBy, deadline: Option<DateTime<Utc>>) -> Bytes {
    let mut context = Context::default();
    match by {
        CalledBy::Event(old) => context.event = Some(both_names(event, old)),
        CalledBy::Api { http, .. } => context.http_context = Some(http),
        CalledBy::Exec {
            again: Some(again), ..
        } => again.tell(&mut context),
        CalledBy::Exec { again: None, .. } => {}
    }
    context.deadline = deadline.map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true));
    // Every key is text, so there is nothing that JSON cannot say.
    serde_json::to_vec(&context).unwrap_or_default().into()
}

/// What a function is told beside its payload.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Context<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_context: Option<&'a RawValue>,
}

/// The event without its data under the names of CloudEvents 0.1 and 1.0. They share `source`; 0.1 wins where an
/// extension has the name of one of its fields.
fn both_names(event: &Event, old: &CloudEvent) -> serde_json::Value {
    let mut both = Map::new();
    both.insert("specversion".to_owned(), json!("1.0"));
    for attribute in event.attributes() {
        let value = match attribute.value() {
            Value::String(text) => text.into(),
            Value::Boolean(flag) => flag.into(),
            Value::Integer(number) => number.into(),
        };
        both.insert(attribute.name.to_owned(), value);
    }
    if let Ok(serde_json::Value::Object(old)) = serde_json::to_value(old) {
        both.extend(old);
    }
    both.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context_json(event: &Event, request: &Request, deadline: Option<DateTime<Utc>>) -> serde_json::Value {
        serde_json::from_slice(&context(event, &request.by, deadline)).unwrap()
    }

    #[test]
    fn the_payload_is_the_data_as_it_came() {
        let plain = || Event::builder("1", "/s", "t");
        let table = [
            (plain(), "null"),
            (plain().json("{ \"a\" : 1.50 }"), "{ \"a\" : 1.50 }"),
            (plain().data(DataKind::Text, "a \"b\""), r#""a \"b\"""#),
            (plain().data(DataKind::Binary, vec![0, 255]), r#""AP8=""#),
        ];
        for (builder, payload) in table {
            let request = request_from(&builder.build().unwrap(), false).unwrap();
            assert_eq!(request.payload.get(), payload);
        }
    }

    #[test]
    fn the_event_has_its_names_of_both_versions_and_no_data() {
        let event = Event::builder("7", "/vc", "vm.powered.on")
            .subject("vm-1")
            .attribute("time", "2026-01-31T23:59:59Z")
            .attribute("extensions", "mine")
            .attribute("n", 7)
            .json("{}")
            .build()
            .unwrap();
        let request = request_from(&event, true).unwrap();

        let context = context_json(&event, &request, None);

        assert_eq!(
            context,
            json!({"event": {
                "specversion": "1.0", "id": "7", "source": "/vc", "type": "vm.powered.on", "subject": "vm-1",
                "time": "2026-01-31T23:59:59Z", "datacontenttype": "application/json", "n": 7,
                "cloudEventsVersion": "0.1", "eventID": "7", "eventType": "vm.powered.on",
                "eventTime": "2026-01-31T23:59:59Z", "contentType": "application/json",
                "extensions": {"extensions": "mine", "n": 7, "subject": "vm-1"},
            }})
        );
    }

    #[test]
    fn a_call_by_exec_has_its_input_and_no_event() {
        let data = r#"{"input":{"a":1.0},"secrets":["s"],"blocking":true}"#;
        let event = Event::builder("1", "/s", EXEC).json(data).build().unwrap();

        let request = request_from(&event, true).unwrap();

        assert_eq!(request.payload.get(), r#"{"a":1.0}"#);
        assert_eq!(request.secrets, ["s"]);
        assert!(matches!(request.by, CalledBy::Exec { blocking: true, .. }));
        let deadline = DateTime::from_timestamp_millis(1_544_253_500_100);
        let context = context_json(&event, &request, deadline);
        assert_eq!(context, json!({"deadline": "2018-12-08T07:18:20.100Z"}));
    }

    #[test]
    fn a_call_through_an_api_has_the_request_and_no_event() {
        let data = r#"{"api":"a","blocking":true,"httpContext":{"method":"PUT"},"input":[1.0]}"#;
        let event = Event::builder("1", "/s", CALLED).json(data).build().unwrap();

        let request = request_from(&event, true).unwrap();

        assert_eq!(request.payload.get(), "[1.0]");
        assert_eq!(
            context_json(&event, &request, None),
            json!({"httpContext": {"method": "PUT"}})
        );
        let subscriber = request_from(&event, false).unwrap();
        assert_eq!(subscriber.payload.get(), data);
    }

    #[test]
    fn a_call_once_more_sees_the_event_of_the_first() {
        let first = Event::builder("7", "/vc", "vm.powered.on")
            .subject("vm-1")
            .attribute("time", "2026-01-31T23:59:59Z")
            .attribute("n", 7)
            .json("{}")
            .build()
            .unwrap();
        let seen = request_from(&first, false).unwrap();
        let CalledBy::Event(told) = &seen.by else {
            panic!("an event calls");
        };
        let data = json!({"input": {}, "again": {"run": Uuid::max(), "event": told}});
        let again = Event::builder("1", "/s", EXEC)
            .json(data.to_string())
            .build()
            .unwrap();

        let request = request_from(&again, true).unwrap();

        assert_eq!(
            context_json(&again, &request, None),
            context_json(&first, &seen, None)
        );
    }

    #[test]
    fn an_exec_event_for_somebody_else_is_an_event_as_any() {
        let event = Event::builder("1", "/s", EXEC)
            .json("{\"input\":1}")
            .build()
            .unwrap();
        let request = request_from(&event, false).unwrap();
        assert_eq!(request.payload.get(), "{\"input\":1}");
        assert!(matches!(request.by, CalledBy::Event(_)));
    }
}
