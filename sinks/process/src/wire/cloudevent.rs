//! An invocation as the headers of a CloudEvent in binary mode (CloudEvents HTTP binding 3.1), for functions written
//! for that. What is in the context beside the event goes into one header more, `dispatch-context`.
//!
//! A call through an API keeps the headers it came with (`request.rs`); it is an event as well, unless it brings one.

use dispatch_contract::{ExposeSecret as _, FunctionError, Invocation};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::request::{self, ApiRequest};
use crate::message;

/// Section 3.1.3.2: what is not printable ASCII, and `"` and `%`, are encoded; the space too.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');
/// Servers take no longer line: gunicorn 8190 bytes.
const MAX_HEADER: usize = 8000;

/// The headers of a call, but for those that `request` has itself.
pub(super) fn headers(
    invocation: &Invocation,
    function: &str,
    request: Option<&ApiRequest>,
) -> Result<Vec<(String, String)>, FunctionError> {
    let mut context: Map<String, Value> =
        serde_json::from_slice(&invocation.context).map_err(|e| message::invalid(format!("context: {e}")))?;
    request::without_request(&mut context);
    let event = match (context.remove("event"), request) {
        (Some(Value::Object(event)), _) => event,
        (_, Some(request)) if request.is_event() => Map::new(),
        (_, Some(request)) => made_up(
            "dispatch.api.called",
            format!("/dispatch/apis/{}", request.told.api),
        ),
        (_, None) => made_up("dispatch.exec", format!("/dispatch/functions/{function}")),
    };
    let mut headers: Vec<(String, String)> = event
        .into_iter()
        .filter(|(name, _)| is_attribute(name))
        .filter_map(|(name, value)| Some((format!("ce-{name}"), encoded(&value)?)))
        .collect();
    let secrets: Map<String, Value> = invocation
        .secrets
        .iter()
        .map(|(name, value)| (name.clone(), value.expose_secret().into()))
        .collect();
    if !secrets.is_empty() {
        context.insert("secrets".to_owned(), secrets.into());
    }
    if !context.is_empty() {
        headers.push((
            "dispatch-context".to_owned(),
            ascii(&Value::Object(context).to_string()),
        ));
    }
    match headers.iter().find(|(_, value)| value.len() > MAX_HEADER) {
        Some((name, value)) => Err(message::invalid(format!(
            "{name} has {} bytes; functions behind HTTP take {MAX_HEADER}",
            value.len()
        ))),
        None => Ok(headers),
    }
}

/// What a call without an event looks like to a function that must have one.
fn made_up(ty: &str, source: String) -> Map<String, Value> {
    let event = json!({
        "specversion": "1.0",
        "id": uuid::Uuid::new_v4(),
        "source": source,
        "type": ty,
        "time": chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
    });
    match event {
        Value::Object(event) => event,
        _ => Map::new(),
    }
}

/// Names of CloudEvents 1.0 are lower case; those of 0.1 beside them are not. The content type has its own header.
fn is_attribute(name: &str) -> bool {
    name != "datacontenttype" && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

fn encoded(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        _ => return None,
    };
    Some(utf8_percent_encode(&text, ENCODED).to_string())
}

/// JSON with everything beyond ASCII escaped.
pub(super) fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c.is_ascii() {
            true => text.push(c),
            false => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    text.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::request::tests::called;
    use bytes::Bytes;

    fn invocation(context: &'static str) -> Invocation {
        Invocation {
            revision: uuid::Uuid::nil(),
            payload: Bytes::from_static(b"{}"),
            context: Bytes::from_static(context.as_bytes()),
            secrets: [("password".to_owned(), "Sésame🔑".into())].into(),
            timeout: None,
        }
    }

    #[test]
    fn an_event_is_its_attributes_and_the_rest_is_one_header() {
        let context = r#"{"event":{"specversion":"1.0","id":"7","source":"/vc","type":"vm","subject":"a b ü%\"","n":7,
            "datacontenttype":"x/y","eventType":"vm","extensions":{"n":7}},"deadline":"D"}"#;
        let mut got = headers(&invocation(context), "f", None).unwrap();
        got.sort();
        let wanted = [
            ("ce-id", "7"),
            ("ce-n", "7"),
            ("ce-source", "/vc"),
            ("ce-specversion", "1.0"),
            ("ce-subject", "a%20b%20%C3%BC%25%22"),
            ("ce-type", "vm"),
            (
                "dispatch-context",
                r#"{"deadline":"D","secrets":{"password":"S\u00e9same\ud83d\udd11"}}"#,
            ),
        ];
        let got: Vec<(&str, &str)> = got.iter().map(|(n, v)| (&**n, &**v)).collect();
        assert_eq!(got, wanted);
    }

    #[test]
    fn a_call_without_an_event_is_one_all_the_same() {
        let got = headers(&invocation("{}"), "greet", None).unwrap();
        let find = |name: &str| got.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        assert_eq!(find("ce-type"), Some("dispatch.exec"));
        assert_eq!(find("ce-source"), Some("/dispatch/functions/greet"));
        assert!(find("ce-id").is_some());
    }

    #[test]
    fn a_call_through_an_api_is_an_event_unless_it_brings_one() {
        let http = json!({"headers": {"ce-specversion": "1.0", "ce-type": "theirs"}, "consumer": "shop"});
        for (http, wanted) in [
            (json!({"consumer": "shop"}), Some("dispatch.api.called")),
            (http, None),
        ] {
            let call = called(http, "{}");
            let request = ApiRequest::of(&call).unwrap();

            let got = headers(&call, "f", request.as_ref()).unwrap();

            let find = |name: &str| got.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
            assert_eq!(find("ce-type"), wanted);
            let context: Value = serde_json::from_str(find("dispatch-context").unwrap()).unwrap();
            let kept = json!({
                "api": "users", "route": "/users/{id}", "params": {"id": "7"}, "remoteAddr": "10.0.0.9", "consumer": "shop",
            });
            assert_eq!(context, json!({"httpContext": kept}));
        }
    }

    #[test]
    fn what_no_server_takes_is_refused_by_name() {
        let mut large = invocation("{}");
        large.secrets = [("key".to_owned(), "x".repeat(9000).into())].into();
        let error = headers(&large, "f", None).unwrap_err();
        assert!(error.message.contains("dispatch-context has"), "{error}");
    }
}
