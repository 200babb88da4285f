//! A request and its response inside frames, for a worker that runs an HTTP handler itself. Pure.
//!
//! `{"left": 1500, "request": {"method", "uri", "headers": [[name, value], …], "body"}}` goes there, bodies in base64;
//! `{"response": {"status", "headers", "body"}}` comes back, or a function message that says how the handler failed.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use dispatch_contract::FunctionError;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, StatusCode};
use serde::{Deserialize, Serialize};

use super::web::{self, Asked};
use super::{Answer, Frame};
use crate::message::{self, MAX_ANSWER};
use crate::settings::{MAX_CALL, MAX_RESULT};

/// A body of the longest result in base64, and what may stand beside it.
pub(super) const MAX_RESPONSE: usize = MAX_ANSWER + MAX_RESULT / 2;

/// The frame of a call; `left` is the time it has.
pub(super) fn call(request: &Request<Bytes>, left: Duration) -> Result<Vec<u8>, FunctionError> {
    #[derive(Serialize)]
    struct Call<'a> {
        left: u64,
        request: Told<'a>,
    }
    #[derive(Serialize)]
    struct Told<'a> {
        method: &'a str,
        uri: String,
        headers: Vec<(&'a str, String)>,
        body: String,
    }
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let told = Call {
        left: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
        request: Told {
            method: request.method().as_str(),
            uri: request.uri().to_string(),
            headers: request
                .headers()
                .iter()
                .map(|(name, value)| (name.as_str(), text(value)))
                .collect(),
            body: STANDARD.encode(request.body()),
        },
    };
    let mut frame = Frame::with_capacity(told.request.body.len() + 4096);
    serde_json::to_writer(frame.body(), &told).map_err(|e| message::invalid(e.to_string()))?;
    frame.finish(MAX_CALL).ok_or_else(message::too_large)
}

/// Reads what came back.
pub(super) fn answer(asked: Asked, text: &Bytes) -> Answer {
    #[derive(Deserialize)]
    struct Body {
        response: Told,
    }
    #[derive(Deserialize)]
    struct Told {
        status: u16,
        headers: Vec<(String, String)>,
        body: String,
    }
    let Ok(Body { response }) = serde_json::from_slice(text) else {
        return message::answer(text);
    };
    let (Ok(status), Ok(body)) = (
        StatusCode::from_u16(response.status),
        STANDARD.decode(&response.body),
    ) else {
        return Answer::failed(message::system("the worker's answer is no response".to_owned()));
    };
    let headers: HeaderMap = response.headers.into_iter().filter_map(header).collect();
    web::answer(asked, status, &headers, body.into())
}

fn header((name, value): (String, String)) -> Option<(HeaderName, HeaderValue)> {
    Some((
        name.parse().ok()?,
        HeaderValue::from_bytes(value.as_bytes()).ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dispatch_contract::FunctionErrorKind;
    use serde_json::{Value, json};

    #[test]
    fn a_request_is_told_with_all_of_it() {
        let request = Request::put("/a?b=c")
            .header("host", "hub")
            .header("x-name", "Jön")
            .body(Bytes::from_static(&[0, 255]))
            .unwrap();

        let frame = call(&request, Duration::from_millis(1500)).unwrap();

        let told: Value = serde_json::from_slice(&frame[4..]).unwrap();
        let headers = json!([["host", "hub"], ["x-name", "Jön"]]);
        let request = json!({"method": "PUT", "uri": "/a?b=c", "headers": headers, "body": "AP8="});
        assert_eq!(told, json!({"left": 1500, "request": request}));
    }

    #[test]
    fn a_response_is_the_answer_of_an_api_and_the_result_of_an_event() {
        let text = |body: &str| {
            let headers = json!([["x-mood", "teapot"]]);
            let response = json!({"status": 418, "headers": headers, "body": STANDARD.encode(body)});
            Bytes::from(json!({ "response": response }).to_string())
        };

        let chosen = answer(Asked::Request, &text("short")).result.unwrap();
        let failed = answer(Asked::Event, &text("short")).result.unwrap_err();

        let chosen: Value = serde_json::from_slice(&chosen).unwrap();
        let wanted = json!({"statusCode": 418, "headers": {"x-mood": "teapot"}, "body": "short"});
        assert_eq!(chosen, wanted);
        assert_eq!(
            (failed.kind, &*failed.message),
            (FunctionErrorKind::Input, "the function answered 418: short")
        );
    }

    #[test]
    fn a_handler_that_failed_is_told_as_any_function_is() {
        let trapped =
            json!({"context": {"error": {"type": "FunctionError", "message": "trapped"}}, "payload": null});
        let late = json!({"context": {"timeout": true}, "payload": null});

        let failed = answer(Asked::Request, &Bytes::from(trapped.to_string()));
        assert_eq!(failed.result.unwrap_err().message, "trapped");
        assert!(answer(Asked::Request, &Bytes::from(late.to_string())).timed_out);
    }
}
