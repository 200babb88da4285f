//! A call through an API as the HTTP request it was, for functions that answer such requests themselves. Pure.
//!
//! The gateway made a payload and `context.httpContext` of a request; here both become a request again: `body` of the
//! context says what the payload is of the body. A payload that is something else by now (a run that is run again with another
//! input) is sent as the JSON it is.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use dispatch_contract::{FunctionError, Invocation};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::message;

/// `application/x-www-form-urlencoded` leaves these as they are; a space becomes `+` (URL standard, section 5.2).
const FORM: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'*')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b' ');
/// What belongs to the connection the request came on, and what the body says itself.
const OF_THE_CONNECTION: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// What only the hub says.
const OURS: &str = "dispatch-";
/// What the hub says too.
const ALSO_OURS: [&str; 2] = ["ce-", "x-forwarded-"];
/// What of `httpContext` no request says by itself.
const BESIDE: [&str; 6] = ["api", "route", "params", "remoteAddr", "consumer", "claims"];

/// The request.
#[derive(Debug)]
pub(super) struct ApiRequest {
    pub(super) told: HttpContext,
    /// Lower case, each once; what belongs to the connection is gone, and how the request came is added.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Body,
}

/// Its body.
#[derive(Debug, Default)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    /// Whether it can be told as a string: JSON, XML and other text.
    pub(super) is_text: bool,
}

/// `context.httpContext`, as far as it is needed. What a run of an earlier release does not say is empty.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct HttpContext {
    pub(super) method: String,
    /// As it was called.
    pub(super) uri: String,
    /// The same without the organization.
    pub(super) path: String,
    /// The API's path, as the API says it.
    pub(super) route: String,
    /// The query.
    pub(super) args: String,
    pub(super) query: Map<String, Value>,
    pub(super) params: Map<String, Value>,
    pub(super) headers: BTreeMap<String, String>,
    body: String,
    /// A form as it was written.
    form: Option<String>,
    scheme: String,
    #[serde(rename = "server_protocol")]
    pub(super) protocol: String,
    pub(super) host: Option<String>,
    pub(super) remote_addr: String,
    pub(super) api: String,
    pub(super) consumer: Option<String>,
    pub(super) claims: Option<Value>,
}

impl ApiRequest {
    /// The request of a call; `None` when it did not come through an API.
    pub(super) fn of(invocation: &Invocation) -> Result<Option<Self>, FunctionError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Context {
            #[serde(default)]
            http_context: Option<HttpContext>,
        }
        let context: Context = serde_json::from_slice(&invocation.context)
            .map_err(|e| message::invalid(format!("context: {e}")))?;
        let Some(mut told) = context.http_context else {
            return Ok(None);
        };
        if !told.path.starts_with('/') {
            told.path = match told.uri.starts_with('/') {
                true => told.uri.clone(),
                false => "/".to_owned(),
            };
        }
        let mut headers = std::mem::take(&mut told.headers);
        let of_the_connection = headers.get("connection").cloned().unwrap_or_default();
        headers.retain(|name, _| !is_of_the_connection(name, &of_the_connection) && !is_forged(name));
        say_how_it_came(&mut headers, &told);
        let body = body(&told, &mut headers, &invocation.payload)?;
        Ok(Some(Self { told, headers, body }))
    }

    /// Path and query.
    pub(super) fn target(&self) -> String {
        match self.told.args.as_str() {
            "" => self.told.path.clone(),
            query => format!("{}?{query}", self.told.path),
        }
    }

    /// Whether the caller sent a CloudEvent.
    pub(super) fn is_event(&self) -> bool {
        let kind = self.headers.get("content-type");
        self.headers.contains_key("ce-specversion")
            || kind.is_some_and(|kind| kind.starts_with("application/cloudevents"))
    }
}

/// Takes out of a context what the request says itself.
pub(super) fn without_request(context: &mut Map<String, Value>) {
    if let Some(Value::Object(http)) = context.get_mut("httpContext") {
        http.retain(|name, _| BESIDE.contains(&name.as_str()));
    }
}

/// Whether a header ends with the connection, also because the caller's `Connection` names it (RFC 9110, section 7.6.1).
fn is_of_the_connection(name: &str, named: &str) -> bool {
    let mut named = named.split(',').map(str::trim);
    OF_THE_CONNECTION.contains(&name) || named.any(|other| other.eq_ignore_ascii_case(name))
}

/// Whether a server could take a caller's header for what the hub says. Those that hand headers on as variables (CGI, WSGI)
/// do not tell `a_b` from `a-b`.
fn is_forged(name: &str) -> bool {
    let read = name.replace('_', "-");
    read.starts_with(OURS) || read != name && ALSO_OURS.iter().any(|ours| read.starts_with(ours))
}

fn say_how_it_came(headers: &mut BTreeMap<String, String>, told: &HttpContext) {
    let way = match headers.get("x-forwarded-for") {
        Some(way) => format!("{way}, {}", told.remote_addr),
        None => told.remote_addr.clone(),
    };
    let prefix = match told.path.as_str() {
        "/" => told.uri.trim_end_matches('/'),
        path => told.uri.strip_suffix(path).unwrap_or_default(),
    };
    let said = [
        ("x-forwarded-for", way),
        ("x-forwarded-proto", told.scheme.clone()),
        (
            "x-forwarded-host",
            headers.get("host").cloned().unwrap_or_default(),
        ),
        ("x-forwarded-prefix", prefix.to_owned()),
    ];
    for (name, value) in said {
        match value.is_empty() {
            true => headers.remove(name),
            false => headers.insert(name.to_owned(), value),
        };
    }
}

fn body(
    told: &HttpContext,
    headers: &mut BTreeMap<String, String>,
    payload: &Bytes,
) -> Result<Body, FunctionError> {
    if told.body == "none" {
        return Ok(Body::default());
    }
    let json = Body {
        bytes: payload.clone(),
        is_text: true,
    };
    if told.body == "json" {
        return Ok(json);
    }
    let value: Value =
        serde_json::from_slice(payload).map_err(|e| message::invalid(format!("payload: {e}")))?;
    let kind = headers
        .get("content-type")
        .map(String::as_str)
        .unwrap_or_default();
    let bytes = match (told.body.as_str(), &value) {
        ("form", Value::Object(fields)) => {
            Some(told.form.clone().unwrap_or_else(|| form(fields)).into_bytes())
        }
        ("multipart", Value::Object(parts)) => boundary(kind).and_then(|boundary| multipart(parts, boundary)),
        ("text", Value::String(text)) => Some(text.clone().into_bytes()),
        ("base64", Value::String(text)) => STANDARD.decode(text).ok(),
        _ => None,
    };
    match bytes {
        Some(bytes) => Ok(Body {
            bytes: bytes.into(),
            is_text: told.body == "text",
        }),
        None => {
            headers.insert("content-type".to_owned(), "application/json".to_owned());
            Ok(json)
        }
    }
}

/// Each field, a list once for each of its values.
fn each(fields: &Map<String, Value>) -> impl Iterator<Item = (&str, &Value)> {
    fields.iter().flat_map(|(name, value)| {
        let values = match value {
            Value::Array(values) => values.as_slice(),
            one => std::slice::from_ref(one),
        };
        values.iter().map(move |value| (name.as_str(), value))
    })
}

/// A value as the text of a field.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn form(fields: &Map<String, Value>) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, FORM).to_string().replace(' ', "+");
    let pairs = each(fields).map(|(name, value)| format!("{}={}", encoded(name), encoded(&plain(value))));
    pairs.collect::<Vec<_>>().join("&")
}

fn boundary(content_type: &str) -> Option<&str> {
    let parameters = content_type.split(';').skip(1);
    let mut named = parameters.filter_map(|parameter| parameter.trim().split_once('='));
    let (_, boundary) = named.find(|(name, _)| name.eq_ignore_ascii_case("boundary"))?;
    Some(boundary.trim_matches('"'))
}

/// The parts under the boundary they had, so that the content type stays what it was.
fn multipart(parts: &Map<String, Value>, boundary: &str) -> Option<Vec<u8>> {
    let quoted = |text: &str| {
        let text = text.replace('"', "%22").replace('\r', "%0D");
        text.replace('\n', "%0A")
    };
    let mut body = Vec::new();
    for (name, value) in each(parts) {
        let mut head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"",
            quoted(name)
        );
        let content = match value {
            Value::Object(file) => {
                let text = |key: &str| file.get(key).and_then(Value::as_str);
                head += &format!("; filename=\"{}\"", quoted(text("filename")?));
                if let Some(kind) = text("contentType") {
                    head += &format!("\r\nContent-Type: {}", quoted(kind));
                }
                STANDARD.decode(text("content")?).ok()?
            }
            field => plain(field).into_bytes(),
        };
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(b"\r\n\r\n");
        body.extend(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Some(body)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    /// A call through an API whose context says this beside what all say.
    pub(crate) fn called(http: Value, payload: &str) -> Invocation {
        let mut context = json!({
            "method": "POST", "uri": "/dispatch/users/7", "path": "/users/7", "route": "/users/{id}",
            "args": "", "query": {}, "params": {"id": "7"}, "headers": {"host": "hub:8081"}, "body": "json",
            "scheme": "http", "server_protocol": "HTTP/1.1", "host": "hub", "remoteAddr": "10.0.0.9", "api": "users",
        });
        if let (Value::Object(context), Value::Object(more)) = (&mut context, http) {
            context.extend(more);
        }
        Invocation {
            revision: uuid::Uuid::nil(),
            payload: Bytes::from(payload.to_owned()),
            context: json!({"httpContext": context}).to_string().into(),
            secrets: BTreeMap::new(),
            timeout: None,
        }
    }

    const PARTS: &[u8] = b"--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n\
        --X\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x.bin\"\r\nContent-Type: image/png\r\n\r\n\x00\xff\r\n--X--\r\n";

    fn request(http: Value, payload: &str) -> ApiRequest {
        ApiRequest::of(&called(http, payload)).unwrap().unwrap()
    }

    #[test]
    fn a_request_has_its_path_below_the_organization_and_says_how_it_came() {
        let headers = json!({
            "host": "hub:8081", "x-mine": "1", "x_mine": "2", "connection": "close, X-Hop", "x-hop": "1", "content-length": "2",
            "dispatch-context": "forged", "dispatch_context": "forged", "ce_id": "forged", "x_forwarded_for": "forged",
            "x-forwarded-for": "1.2.3.4", "x-forwarded-proto": "gopher",
        });
        let request = request(json!({"args": "a=1&b=%20", "headers": headers}), "{}");

        assert_eq!(request.target(), "/users/7?a=1&b=%20");
        let headers: Vec<(&str, &str)> = request.headers.iter().map(|(n, v)| (&**n, &**v)).collect();
        assert_eq!(
            headers,
            [
                ("host", "hub:8081"),
                ("x-forwarded-for", "1.2.3.4, 10.0.0.9"),
                ("x-forwarded-host", "hub:8081"),
                ("x-forwarded-prefix", "/dispatch"),
                ("x-forwarded-proto", "http"),
                ("x-mine", "1"),
                ("x_mine", "2"),
            ]
        );
    }

    #[test]
    fn a_body_is_what_it_was_before_the_gateway_read_it() {
        let multipart = "multipart/form-data; boundary=\"X\"";
        let file =
            json!({"a": "1", "f": {"filename": "x.bin", "contentType": "image/png", "content": "AP8="}});
        let form = "application/x-www-form-urlencoded";
        let json = "application/json";
        let (fields, other) = (
            json!({"a b": ["1", "2&3"], "ü": ""}).to_string(),
            file.to_string(),
        );
        // What the payload is, the type of the body; the payload; and what is sent, as what.
        let table: [(&str, &str, &str, &[u8], &str); 8] = [
            ("none", form, "{}", b"", form),
            ("json", json, "{ \"a\": 1.0 }", b"{ \"a\": 1.0 }", json),
            ("form", form, &fields, b"a+b=1&a+b=2%263&%C3%BC=", form),
            ("text", "text/plain", r#""a \"b\"""#, b"a \"b\"", "text/plain"),
            ("base64", "image/png", "\"AP8=\"", &[0, 255], "image/png"),
            ("multipart", multipart, &file.to_string(), PARTS, multipart),
            // Run again with another input than the body was.
            ("text", "text/plain", "{\"a\":1}", b"{\"a\":1}", json),
            ("multipart", "multipart/form-data", &other, other.as_bytes(), json),
        ];
        for (kind, content_type, payload, body, sent_as) in table {
            let told = json!({"body": kind, "headers": {"content-type": content_type}});
            let request = request(told, payload);
            assert_eq!(request.body.bytes, body, "{kind} {payload}");
            assert_eq!(request.headers["content-type"], sent_as, "{kind} {payload}");
        }
    }

    #[test]
    fn a_form_is_sent_as_it_was_written() {
        let told = json!({"body": "form", "form": "b=%7e&a=1", "headers": {"content-type": "x-www-form-urlencoded"}});
        let request = request(told, "{\"a\":\"1\",\"b\":\"~\"}");
        assert_eq!(request.body.bytes, &b"b=%7e&a=1"[..]);
    }

    #[test]
    fn what_did_not_come_through_an_api_is_no_request() {
        let mut call = called(json!({}), "1");
        call.context = Bytes::from_static(b"{\"event\":{\"id\":\"7\"}}");
        assert!(ApiRequest::of(&call).unwrap().is_none());
    }
}
