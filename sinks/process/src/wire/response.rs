//! What an HTTP server answered to a call through an API, as the object by which a function chooses the whole answer:
//! `statusCode`, `headers`, `multiValueHeaders`, `cookies`, `body`, `isBase64Encoded`. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::StatusCode;
use http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE, TRANSFER_ENCODING,
};
use serde_json::{Map, Value, json};

use super::Answer;
use crate::message;
use crate::settings::MAX_RESULT;

/// What is of the connection, and what the gateway says itself.
const LEFT_OUT: [HeaderName; 5] = [CONNECTION, CONTENT_LENGTH, DATE, SET_COOKIE, TRANSFER_ENCODING];

/// The answer, whatever its status.
pub(super) fn chosen(status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Answer {
    let (mut single, mut multiple) = (Map::new(), Map::new());
    for name in headers.keys().filter(|name| !LEFT_OUT.contains(name)) {
        let mut values = texts(headers, name);
        match values.len() {
            1 => single.insert(name.to_string(), values.remove(0)),
            _ => multiple.insert(name.to_string(), values.into()),
        };
    }
    let mut chosen = json!({"statusCode": status.as_u16(), "headers": single});
    match std::str::from_utf8(body) {
        Ok(text) => chosen["body"] = text.into(),
        Err(_) => {
            chosen["body"] = STANDARD.encode(body).into();
            chosen["isBase64Encoded"] = true.into();
        }
    }
    if !multiple.is_empty() {
        chosen["multiValueHeaders"] = multiple.into();
    }
    let cookies = texts(headers, &SET_COOKIE);
    if !cookies.is_empty() {
        chosen["cookies"] = cookies.into();
    }
    let chosen = chosen.to_string();
    match chosen.len() > MAX_RESULT {
        true => Answer::failed(message::too_long(chosen.len())),
        false => Answer::of(chosen.into()),
    }
}

fn texts(headers: &HeaderMap, name: &HeaderName) -> Vec<Value> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned().into();
    headers.get_all(name).iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: u16, headers: &[(&'static str, &'static str)], body: &'static [u8]) -> Value {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        let answer = chosen(
            StatusCode::from_u16(status).unwrap(),
            &map,
            &Bytes::from_static(body),
        );
        serde_json::from_slice(&answer.result.unwrap()).unwrap()
    }

    #[test]
    fn status_headers_and_body_are_what_the_server_said() {
        let headers = [
            ("content-type", "text/plain"),
            ("content-length", "2"),
            ("set-cookie", "a=1"),
            ("vary", "origin"),
            ("vary", "accept"),
        ];
        assert_eq!(
            told(404, &headers, b"no"),
            json!({
                "statusCode": 404, "headers": {"content-type": "text/plain"}, "body": "no", "cookies": ["a=1"],
                "multiValueHeaders": {"vary": ["origin", "accept"]},
            })
        );
        assert_eq!(
            told(200, &[], &[0, 255]),
            json!({"statusCode": 200, "headers": {}, "body": "AP8=", "isBase64Encoded": true})
        );
    }

    #[test]
    fn an_answer_that_no_run_holds_is_a_failure() {
        let large = Bytes::from(vec![b'x'; MAX_RESULT]);
        assert!(chosen(StatusCode::OK, &HeaderMap::new(), &large).result.is_err());
    }
}
