//! What the engine asks for: a function to load, then calls of it. Pure.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use http::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Which function to load.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Order {
    /// The function's files.
    pub(crate) folder: PathBuf,
    /// The file to run, relative to the folder.
    pub(crate) handler: String,
    /// Bytes a result may have.
    pub(crate) max_result: usize,
}

impl Order {
    pub(crate) fn from_json(text: &[u8]) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct First {
            load: Order,
        }
        serde_json::from_slice::<First>(text).map(|first| first.load)
    }
}

/// One call.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) asked: Asked,
    /// Time it has.
    pub(crate) left: Duration,
}

/// What a function is asked with.
#[derive(Debug)]
pub(crate) enum Asked {
    /// The function message: context and payload as they came.
    Message(Vec<u8>),
    /// For an HTTP handler.
    Request(Box<Request<Bytes>>),
}

/// Why a call cannot be understood.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error(transparent)]
    NotJson(#[from] serde_json::Error),
    #[error("the request: {0}")]
    Request(#[from] http::Error),
    #[error("the request's body is not base64")]
    Body,
    #[error("it has neither a request nor a context")]
    Empty,
    #[error("it is a request, and the function is a command")]
    NoHandler,
    #[error("it is a function message, and the function is an HTTP handler")]
    NoCommand,
}

impl Call {
    pub(crate) fn from_json(text: &[u8]) -> Result<Self, CallError> {
        #[derive(Deserialize)]
        struct Frame<'a> {
            left: u64,
            #[serde(borrow)]
            context: Option<&'a RawValue>,
            #[serde(borrow)]
            payload: Option<&'a RawValue>,
            request: Option<Told>,
        }
        let frame: Frame<'_> = serde_json::from_slice(text)?;
        let asked = match (frame.request, frame.context, frame.payload) {
            (Some(told), _, _) => Asked::Request(Box::new(told.request()?)),
            (None, Some(context), payload) => {
                // `null` reads as nothing.
                let (context, payload) = (context.get(), payload.map_or("null", RawValue::get));
                Asked::Message(format!(r#"{{"context":{context},"payload":{payload}}}"#).into_bytes())
            }
            (None, None, _) => return Err(CallError::Empty),
        };
        Ok(Self {
            asked,
            left: Duration::from_millis(frame.left),
        })
    }
}

/// A request, as the engine tells it.
#[derive(Deserialize)]
struct Told {
    method: String,
    uri: String,
    headers: Vec<(String, String)>,
    /// In base64.
    body: String,
}

impl Told {
    fn request(self) -> Result<Request<Bytes>, CallError> {
        let body = STANDARD.decode(&self.body).map_err(|_| CallError::Body)?;
        let mut request = Request::builder().method(self.method.as_str()).uri(self.uri);
        for (name, value) in &self.headers {
            let name = HeaderName::try_from(name).map_err(http::Error::from)?;
            // Not only what is ASCII.
            let value = HeaderValue::from_bytes(value.as_bytes()).map_err(http::Error::from)?;
            request = request.header(name, value);
        }
        Ok(request.body(body.into())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_gets_context_and_payload_as_they_came_and_not_what_is_meant_for_us() {
        let call = Call::from_json(br#"{"left":1500,"context":{"a":1.50},"payload":[1.000]}"#).unwrap();

        assert_eq!(call.left, Duration::from_millis(1500));
        let Asked::Message(message) = call.asked else {
            panic!("{call:?}")
        };
        assert_eq!(message, br#"{"context":{"a":1.50},"payload":[1.000]}"#);
        assert!(Call::from_json(br#"{"context":{},"payload":1}"#).is_err());
        assert!(Call::from_json(br#"{"left":1,"payload":1}"#).is_err());
    }

    #[test]
    fn a_handler_gets_the_request_as_it_is_told() {
        let text = r#"{"left":1,"request":{"method":"PUT","uri":"/a?b","headers":[["x","ü"],["x","2"]],"body":"AP8="}}"#;
        let Asked::Request(request) = Call::from_json(text.as_bytes()).unwrap().asked else {
            panic!("no request")
        };

        assert_eq!(
            (request.method().as_str(), request.uri().to_string()),
            ("PUT", "/a?b".to_owned())
        );
        let values: Vec<&[u8]> = request
            .headers()
            .get_all("x")
            .iter()
            .map(HeaderValue::as_bytes)
            .collect();
        assert_eq!(values, ["ü".as_bytes(), b"2"]);
        assert_eq!(request.body(), &[0, 255][..]);
    }

    #[test]
    fn a_request_that_is_none_says_what_is_wrong_with_it() {
        let told = |request: &str| {
            let text = format!(r#"{{"left":1,"request":{request}}}"#);
            Call::from_json(text.as_bytes()).unwrap_err().to_string()
        };
        let table = [
            (r#"{"method":"","uri":"/","headers":[],"body":""}"#, "method"),
            (r#"{"method":"GET","uri":"a b","headers":[],"body":""}"#, "uri"),
            (
                r#"{"method":"GET","uri":"/","headers":[["a b",""]],"body":""}"#,
                "header name",
            ),
            (
                r#"{"method":"GET","uri":"/","headers":[["a","\n"]],"body":""}"#,
                "header value",
            ),
            (r#"{"method":"GET","uri":"/","headers":[],"body":"?"}"#, "base64"),
            ("7", "expected"),
        ];
        for (request, wanted) in table {
            let problem = told(request);
            assert!(problem.to_lowercase().contains(wanted), "{request}: {problem}");
        }
    }
}
