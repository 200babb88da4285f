//! A call through an API as AWS API Gateway tells it to a Lambda function: the event of an HTTP API, payload format
//! version 2.0, so that handlers and web frameworks made for it run unchanged. Pure.
//!
//! What the hub does not have is left out or plainly made up: the account is `000000000000`, the stage `$default`. A form's
//! body is base64, as there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::request::{ApiRequest, plain};

/// The event; `id` is the request's.
pub(super) fn proxy_event(request: &ApiRequest, id: Uuid, at: DateTime<Utc>) -> Bytes {
    let told = &request.told;
    let host = told.host.as_deref().unwrap_or_default();
    let header = |name: &str| request.headers.get(name).map(String::as_str).unwrap_or_default();
    let route = route_key(&told.method, &told.route);
    let mut event = json!({
        "version": "2.0",
        "routeKey": route,
        "rawPath": told.path,
        "rawQueryString": told.args,
        "headers": request.headers,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": told.api,
            "domainName": host,
            "domainPrefix": host.split('.').next(),
            "http": {
                "method": told.method,
                "path": told.path,
                "protocol": told.protocol,
                "sourceIp": told.remote_addr,
                "userAgent": header("user-agent"),
            },
            "requestId": id,
            "routeKey": route,
            "stage": "$default",
            "time": at.format("%d/%b/%Y:%H:%M:%S %z").to_string(),
            "timeEpoch": at.timestamp_millis(),
        },
        "isBase64Encoded": false,
    });
    let lists = [
        ("queryStringParameters", joined(&told.query)),
        ("pathParameters", parameters(&told.params)),
    ];
    for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        event[name] = list.into();
    }
    if let Some(claims) = &told.claims {
        event["requestContext"]["authorizer"] = json!({"jwt": {"claims": texts(claims), "scopes": null}});
    } else if let Some(consumer) = &told.consumer {
        event["requestContext"]["authorizer"] = json!({"lambda": {"consumer": consumer}});
    }
    let body = &request.body;
    if !body.bytes.is_empty() {
        let text = std::str::from_utf8(&body.bytes).ok().filter(|_| body.is_text);
        event["isBase64Encoded"] = text.is_none().into();
        event["body"] = text
            .map_or_else(|| STANDARD.encode(&body.bytes), str::to_owned)
            .into();
    }
    event.to_string().into()
}

/// `GET /files/{proxy+}`: what follows has a name there.
fn route_key(method: &str, route: &str) -> String {
    match (route, route.strip_suffix('*')) {
        ("", _) => "$default".to_owned(),
        (_, Some(above)) => format!("{method} {above}{{proxy+}}"),
        (route, None) => format!("{method} {route}"),
    }
}

fn parameters(params: &Map<String, Value>) -> Map<String, Value> {
    let named = |name: &str| match name {
        "*" => "proxy".to_owned(),
        name => name.to_owned(),
    };
    params
        .iter()
        .map(|(name, value)| (named(name), value.clone()))
        .collect()
}

/// Several values of a name are joined by commas.
fn joined(query: &Map<String, Value>) -> Map<String, Value> {
    let one = |value: &Value| match value {
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(","),
        value => plain(value),
    };
    query
        .iter()
        .map(|(name, value)| (name.clone(), one(value).into()))
        .collect()
}

/// Claims are strings there.
fn texts(claims: &Value) -> Map<String, Value> {
    let all = claims.as_object().into_iter().flatten();
    all.map(|(name, value)| (name.clone(), plain(value).into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::request::tests::called;
    use super::*;

    fn event(http: Value, payload: &str) -> Value {
        let request = ApiRequest::of(&called(http, payload)).unwrap().unwrap();
        let at = DateTime::from_timestamp_millis(1_583_348_638_390).unwrap();
        serde_json::from_slice(&proxy_event(&request, Uuid::nil(), at)).unwrap()
    }

    #[test]
    fn a_request_is_an_event_of_payload_format_2() {
        let event = event(
            json!({
                "method": "PUT", "args": "a=1&a=2&b=x", "query": {"a": ["1", "2"], "b": "x"}, "host": "api.example.org",
                "headers": {"host": "api.example.org", "user-agent": "curl"}, "claims": {"sub": "jon", "n": 7},
            }),
            "{ \"a\": 1 }",
        );

        assert_eq!(
            event,
            json!({
                "version": "2.0", "routeKey": "PUT /users/{id}", "rawPath": "/users/7", "rawQueryString": "a=1&a=2&b=x",
                "headers": {
                    "host": "api.example.org", "user-agent": "curl", "x-forwarded-for": "10.0.0.9",
                    "x-forwarded-host": "api.example.org", "x-forwarded-prefix": "/dispatch", "x-forwarded-proto": "http",
                },
                "queryStringParameters": {"a": "1,2", "b": "x"}, "pathParameters": {"id": "7"},
                "requestContext": {
                    "accountId": "000000000000", "apiId": "users", "domainName": "api.example.org", "domainPrefix": "api",
                    "http": {"method": "PUT", "path": "/users/7", "protocol": "HTTP/1.1", "sourceIp": "10.0.0.9", "userAgent": "curl"},
                    "authorizer": {"jwt": {"claims": {"sub": "jon", "n": "7"}, "scopes": null}},
                    "requestId": "00000000-0000-0000-0000-000000000000", "routeKey": "PUT /users/{id}", "stage": "$default",
                    "time": "04/Mar/2020:19:03:58 +0000", "timeEpoch": 1_583_348_638_390_i64,
                },
                "body": "{ \"a\": 1 }", "isBase64Encoded": false,
            })
        );
    }

    #[test]
    fn what_is_no_text_is_base64_and_what_is_not_there_is_left_out() {
        let form = event(
            json!({"body": "form", "headers": {"content-type": "application/x-www-form-urlencoded"}}),
            "{\"a\":\"1\"}",
        );
        assert_eq!(
            (&form["body"], &form["isBase64Encoded"]),
            (&json!("YT0x"), &json!(true))
        );
        let none = event(
            json!({"body": "none", "params": {"*": "a/b"}, "route": "/files/*"}),
            "{}",
        );
        assert_eq!(none.get("body"), None);
        assert_eq!(none.get("queryStringParameters"), None);
        assert_eq!(
            (&none["pathParameters"], &none["routeKey"]),
            (&json!({"proxy": "a/b"}), &json!("POST /files/{proxy+}"))
        );
    }
}
