//! From a request's body to a function's payload. Pure.
//!
//! | request | payload |
//! |---|---|
//! | `GET`, `HEAD` | the query: an object; a name that is there twice has a list |
//! | no body | `{}` |
//! | `application/json`, `…+json` | the document, as it came |
//! | a form | an object, as of a query; a file is an object with its content as base64 |
//! | text, XML | a string |
//! | bytes: no type, `application/octet-stream`, images, archives, … | a string of base64 |

use std::convert::Infallible;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use crate::rest::error::ApiError;

/// Fields of a form.
const MOST_FIELDS: usize = 10_000;
/// Types that are text beside `text/…` and `…+xml`.
const TEXT: [&str; 6] = [
    "application/xml",
    "application/javascript",
    "application/yaml",
    "application/x-yaml",
    "application/x-ndjson",
    "application/graphql",
];
/// Types that are bytes beside images, audio, video and fonts.
const BINARY: [&str; 11] = [
    "application/octet-stream",
    "application/pdf",
    "application/zip",
    "application/gzip",
    "application/x-gzip",
    "application/x-tar",
    "application/zstd",
    "application/protobuf",
    "application/x-protobuf",
    "application/avro",
    "application/cbor",
];

/// What a payload is of a body: `httpContext.body`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyKind {
    /// Nothing: the query, or no body.
    None,
    /// Itself.
    Json,
    /// Its fields.
    Form,
    /// Its parts.
    Multipart,
    /// Its text.
    Text,
    /// Its bytes, as base64.
    Base64,
}

impl BodyKind {
    /// As functions and engines read it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Json => "json",
            Self::Form => "form",
            Self::Multipart => "multipart",
            Self::Text => "text",
            Self::Base64 => "base64",
        }
    }
}

/// What a request is to a function.
#[derive(Debug)]
pub(super) struct Payload {
    pub(super) json: Box<RawValue>,
    /// What it is of the body.
    pub(super) kind: BodyKind,
    /// A form as it was written: its fields alone do not say it, and some sign it.
    pub(super) form: Option<String>,
}

impl Payload {
    fn of(json: Box<RawValue>, kind: BodyKind) -> Self {
        Self {
            json,
            kind,
            form: None,
        }
    }
}

/// The payload of a request.
pub(super) async fn payload(
    method: &Method,
    content_type: Option<&str>,
    query: Option<&str>,
    body: Bytes,
) -> Result<Payload, ApiError> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(Payload::of(raw(&arguments(query)?)?, BodyKind::None));
    }
    if body.is_empty() {
        return Ok(Payload::of(raw(&json!({}))?, BodyKind::None));
    }
    let kind = kind_of(content_type)?;
    let form = (kind == BodyKind::Form).then(|| text(&body));
    let json = match kind {
        BodyKind::None | BodyKind::Base64 => raw(&base64(&body))?,
        BodyKind::Json => document(&body)?,
        BodyKind::Form => raw(&fields(form_urlencoded::parse(&body))?)?,
        BodyKind::Multipart => raw(&multipart(content_type.unwrap_or_default(), body).await?)?,
        BodyKind::Text => raw(&Value::String(text(&body)))?,
    };
    Ok(Payload { json, kind, form })
}

fn kind_of(content_type: Option<&str>) -> Result<BodyKind, ApiError> {
    let Some(content_type) = content_type.filter(|ty| !ty.trim().is_empty()) else {
        return Ok(BodyKind::Base64);
    };
    let essence = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let (ty, subtype) = essence.split_once('/').unwrap_or((&essence, ""));
    Ok(match (ty, subtype) {
        ("application", "json") => BodyKind::Json,
        ("application", subtype) if subtype.ends_with("+json") => BodyKind::Json,
        ("application", "x-www-form-urlencoded") => BodyKind::Form,
        ("multipart", "form-data") => BodyKind::Multipart,
        ("text", _) => BodyKind::Text,
        ("image" | "audio" | "video" | "font", _) if subtype != "svg+xml" => BodyKind::Base64,
        (_, subtype) if subtype.ends_with("+xml") || TEXT.contains(&essence.as_str()) => BodyKind::Text,
        _ if BINARY.contains(&essence.as_str()) => BodyKind::Base64,
        _ => {
            return Err(ApiError::bad_request(format!(
                "request body type is not supported: {content_type}"
            )));
        }
    })
}

/// A query as an object.
pub(super) fn arguments(query: Option<&str>) -> Result<Value, ApiError> {
    fields(form_urlencoded::parse(query.unwrap_or_default().as_bytes()))
}

fn raw(value: &Value) -> Result<Box<RawValue>, ApiError> {
    to_raw_value(value).map_err(|error| ApiError::bad_request(error.to_string()))
}

fn base64(body: &[u8]) -> Value {
    Value::String(STANDARD.encode(body))
}

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}

fn document(body: &[u8]) -> Result<Box<RawValue>, ApiError> {
    // The first pass sees that it is JSON to its depths; what the function gets is what came.
    serde_json::from_slice(body).map_err(|_| ApiError::bad_request("request body is not json"))
}

fn fields(pairs: form_urlencoded::Parse<'_>) -> Result<Value, ApiError> {
    let mut fields = Fields::default();
    for (name, value) in pairs {
        fields.add(name.into_owned(), Value::String(value.into_owned()))?;
    }
    Ok(Value::Object(fields.map))
}

async fn multipart(content_type: &str, body: Bytes) -> Result<Value, ApiError> {
    let wrong = |error: multer::Error| ApiError::bad_request(format!("request body is not a form: {error}"));
    let boundary = multer::parse_boundary(content_type).map_err(wrong)?;
    let whole = futures_util::stream::iter([Ok::<_, Infallible>(body)]);
    let mut parts = multer::Multipart::new(whole, boundary);
    let mut fields = Fields::default();
    while let Some(part) = parts.next_field().await.map_err(wrong)? {
        let name = part.name().unwrap_or_default().to_owned();
        let filename = part.file_name().map(str::to_owned);
        let ty = part.content_type().map(ToString::to_string);
        let content = part.bytes().await.map_err(wrong)?;
        let value = match filename {
            Some(filename) => json!({"filename": filename, "contentType": ty, "content": base64(&content)}),
            None => Value::String(text(&content)),
        };
        fields.add(name, value)?;
    }
    Ok(Value::Object(fields.map))
}

#[derive(Default)]
struct Fields {
    map: Map<String, Value>,
    count: usize,
}

impl Fields {
    fn add(&mut self, name: String, value: Value) -> Result<(), ApiError> {
        self.count += 1;
        if self.count > MOST_FIELDS {
            return Err(ApiError::bad_request(format!("more than {MOST_FIELDS} fields")));
        }
        match self.map.get_mut(&name) {
            None => {
                self.map.insert(name, value);
            }
            Some(Value::Array(values)) => values.push(value),
            Some(one) => *one = Value::Array(vec![one.take(), value]),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Method, content type, query, body; and the payload or the refusal.
    type Case = (
        &'static str,
        Option<&'static str>,
        Option<&'static str>,
        &'static [u8],
        &'static str,
    );

    async fn told(method: &str, ty: Option<&str>, query: Option<&str>, body: &'static [u8]) -> String {
        let made = payload(&method.parse().unwrap(), ty, query, Bytes::from_static(body)).await;
        match made {
            Ok(payload) => payload.json.get().to_owned(),
            Err(error) => format!("{error:?}"),
        }
    }

    #[tokio::test]
    async fn the_table_of_payloads() {
        let form = Some("application/x-www-form-urlencoded");
        let json = Some("application/json; charset=utf-8");
        let multipart = Some("multipart/form-data; boundary=X");
        let table: [Case; 17] = [
            ("GET", None, None, b"", "{}"),
            ("GET", json, Some("a=1&b=x%20y&a=2&c"), b"{\"no\":1}", r#"{"a":["1","2"],"b":"x y","c":""}"#),
            ("PUT", None, Some("a=1"), b"", "{}"),
            ("POST", json, None, b"{ \"a\": 1.0 }", "{ \"a\": 1.0 }"),
            ("POST", Some("application/vnd.x+json"), None, b"[1]", "[1]"),
            ("POST", Some("APPLICATION/JSON"), None, b"null", "null"),
            ("POST", form, None, b"name=Jon&place=Winterfell&place=Wall", r#"{"name":"Jon","place":["Winterfell","Wall"]}"#),
            ("POST", Some("text/plain"), None, b"a \"b\"", r#""a \"b\"""#),
            ("POST", Some("application/soap+xml"), None, b"<a/>", r#""<a/>""#),
            ("POST", Some("image/svg+xml"), None, b"<svg/>", r#""<svg/>""#),
            ("POST", Some("application/octet-stream"), None, &[0, 255], r#""AP8=""#),
            ("POST", Some("image/png"), None, &[0, 255], r#""AP8=""#),
            ("POST", None, None, b"raw", r#""cmF3""#),
            (
                "POST", multipart, None,
                b"--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--X\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x.bin\"\r\nContent-Type: image/png\r\n\r\n\x00\xff\r\n--X--\r\n",
                r#"{"a":"1","f":{"content":"AP8=","contentType":"image/png","filename":"x.bin"}}"#,
            ),
            ("POST", json, None, b"gar{bage", "request body is not json"),
            ("POST", json, None, b"{} {}", "request body is not json"),
            (
                "POST", Some("unsupported-content-type"), None, b"x",
                "request body type is not supported: unsupported-content-type",
            ),
        ];
        for (method, ty, query, body, expected) in table {
            let told = told(method, ty, query, body).await;
            let fine = told == expected || told.contains(expected) && told.contains("400");
            assert!(fine, "{method} {ty:?}: {told}, not {expected}");
        }
        let broken = told("POST", multipart, None, b"nothing").await;
        assert!(broken.contains("request body is not a form"), "{broken}");
        let deep: &'static [u8] = Box::leak(vec![b'['; 100_000].into_boxed_slice());
        assert!(told("POST", json, None, deep).await.contains("is not json"));
    }
}
