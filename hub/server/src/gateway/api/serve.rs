//! A request from its first byte to its answer.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, StatusCode, Version};
use serde_json::value::to_raw_value;

use super::answer::RUN;
use super::auth::{Consumer, Refused};
use super::call::{RETRY_AFTER, waited};
use super::context::{About, context};
use super::cors;
use super::payload::{arguments, payload};
use super::routes::Found;
use super::served::Served;
use crate::door;
use crate::front::{Peer, Scheme};
use crate::functions::ApiCall;
use crate::hub::{App, Hub};
use crate::rest::error::ApiError;

/// `false`: the caller does not wait.
const BLOCKING: HeaderName = HeaderName::from_static("x-dispatch-blocking");
/// What is no host.
const NO_HOST: &str = "host: must be a host such as api.example.org, and perhaps a port";

/// What came, beside the request itself.
struct Asked {
    served: Arc<Served>,
    uri: Arc<str>,
    params: Vec<(String, String)>,
    host: Option<String>,
    scheme: &'static str,
    peer: IpAddr,
}

/// Answers a request that is for an API, or says that it is for none.
pub(in crate::gateway) async fn serve(
    State(app): State<App>,
    Extension(Peer(peer)): Extension<Peer>,
    Extension(Scheme(scheme)): Extension<Scheme>,
    request: Request,
) -> Response {
    let host = match host_of(&request) {
        Ok(host) => host,
        Err(problem) => {
            door::discard(request.into_body()).await;
            return ApiError::bad_request(problem).into_response();
        }
    };
    let routes = app.apis.routes.load_full();
    match routes.find(host.as_deref(), request.method(), request.uri().path()) {
        Found::Nothing => ApiError::not_found("no API found with those values").into_response(),
        Found::OtherMethods { allowed, served } => {
            let response = others(&allowed, &served, &request);
            door::discard(request.into_body()).await;
            response
        }
        Found::Api { served, uri, params } => {
            let asked = Asked {
                served: served.clone(),
                uri,
                params,
                host,
                scheme,
                peer,
            };
            let headers = served.api.allows_cors().then(|| request.headers().clone());
            let mut response = answered(&app, asked, request).await;
            if let Some(headers) = headers {
                cors::allow(&served.api, &headers, response.headers_mut());
            }
            crate::metrics::api_request(&served.organization, &served.name, response.status());
            response
        }
    }
}

/// What is there for other methods: an answer to OPTIONS, a refusal to the rest.
fn others(allowed: &[Method], served: &[Arc<Served>], request: &Request) -> Response {
    let names: Vec<&str> = allowed.iter().map(Method::as_str).collect();
    let allow = HeaderValue::from_str(&names.join(", "));
    let mut response = match *request.method() {
        Method::OPTIONS => StatusCode::OK.into_response(),
        _ => {
            let message = format!("method is not allowed here; it is one of {}", names.join(", "));
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, message).into_response()
        }
    };
    if let Ok(allow) = allow {
        response.headers_mut().insert(ALLOW, allow);
    }
    let wanted = request.headers().get(http::header::ACCESS_CONTROL_REQUEST_METHOD);
    let wanted = wanted.and_then(|method| Method::from_bytes(method.as_bytes()).ok());
    let at = allowed.iter().position(|method| Some(method) == wanted.as_ref());
    // Without a wanted method, or with one nobody takes, the first may speak for all.
    if let Some(served) = served.get(at.unwrap_or_default()) {
        cors::allow(&served.api, request.headers(), response.headers_mut());
    }
    response
}

async fn answered(app: &App, asked: Asked, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if parts.method == Method::OPTIONS && asked.served.api.allows_cors() && cors::is_preflight(&parts.headers)
    {
        return StatusCode::OK.into_response();
    }
    let consumer = match before_body(app, &asked, &parts).await {
        Ok(consumer) => consumer,
        Err(refusal) => {
            door::discard(body).await;
            return refusal;
        }
    };
    match with_body(app, asked, parts, body, consumer).await {
        Ok(response) => response,
        Err(refusal) => refusal,
    }
}

/// What can be refused without the body: the protocol, the caller, the rate.
async fn before_body(app: &Hub, asked: &Asked, parts: &Parts) -> Result<Option<Consumer>, Response> {
    let served = &asked.served;
    if !served.speaks(asked.scheme) {
        let protocol = match asked.scheme {
            "http" => "HTTPS",
            _ => "HTTP",
        };
        return Err(ApiError::bad_request(format!("Please use {protocol} protocol")).into_response());
    }
    if served.guard.needs_body() {
        return Ok(None);
    }
    let consumer = admitted(app, asked, parts, &Bytes::new()).await?;
    Ok(Some(consumer))
}

/// Who calls, if they may, and one request of their rate.
async fn admitted(app: &Hub, asked: &Asked, parts: &Parts, body: &Bytes) -> Result<Consumer, Response> {
    let served = &asked.served;
    let admitted = served
        .guard
        .admit(&app.foundation, &served.organization, &parts.headers, body)
        .await;
    let consumer = admitted.map_err(unadmitted)?;
    let peer = asked.peer.to_string();
    served
        .rates
        .take(consumer.name.as_deref().unwrap_or(&peer))
        .map_err(ApiError::into_response)?;
    Ok(consumer)
}

fn unadmitted(refused: Refused) -> Response {
    match refused {
        Refused::Who { message, challenge } => {
            let mut response = ApiError::unauthorized(message).into_response();
            let challenge = HeaderValue::from_static(challenge);
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            response
        }
        Refused::Unchecked => {
            ApiError::unavailable("callers cannot be checked now", RETRY_AFTER).into_response()
        }
    }
}

async fn with_body(
    app: &App,
    asked: Asked,
    parts: Parts,
    body: Body,
    consumer: Option<Consumer>,
) -> Result<Response, Response> {
    let served = asked.served.clone();
    let limits = app.limits.load();
    let most = served.body_bytes(limits.api_body_bytes);
    let body = door::bounded(&parts.headers, body, most)
        .await
        .map_err(ApiError::into_response)?;
    let consumer = match consumer {
        Some(consumer) => consumer,
        None => admitted(app, &asked, &parts, &body).await?,
    };
    let timeout = served.timeout(limits.api_timeout);
    let (call, waits) = understood(asked, &parts, body, consumer, timeout)
        .await
        .map_err(ApiError::into_response)?;
    match waits {
        true => waited(app, &served, call, |call| count(app, &served, call)).await,
        false => taken(app, &served, call).await,
    }
    .map_err(ApiError::into_response)
}

/// The call that a request is, and whether its caller waits.
async fn understood(
    asked: Asked,
    parts: &Parts,
    body: Bytes,
    consumer: Consumer,
    timeout: std::time::Duration,
) -> Result<(ApiCall, bool), ApiError> {
    let waits = match parts.headers.get(BLOCKING).map(HeaderValue::as_bytes) {
        None => true,
        Some(said) if said.eq_ignore_ascii_case(b"true") => true,
        Some(said) if said.eq_ignore_ascii_case(b"false") => false,
        Some(_) => {
            return Err(ApiError::bad_request(format!(
                "{BLOCKING}: must be true or false"
            )));
        }
    };
    check_encoding(&parts.headers)?;
    let content_type = parts
        .headers
        .get(CONTENT_TYPE)
        .map(|ty| String::from_utf8_lossy(ty.as_bytes()));
    let query = parts.uri.query();
    let payload = payload(&parts.method, content_type.as_deref(), query, body).await?;
    let about = About {
        served: &asked.served,
        route: &asked.uri,
        params: &asked.params,
        query: arguments(query)?,
        payload: &payload,
        consumer,
        scheme: asked.scheme,
        host: asked.host.as_deref(),
        peer: asked.peer,
    };
    // Written once: the event, the run and the function get this text.
    let http = to_raw_value(&context(parts, about)).map_err(|e| ApiError::bad_request(e.to_string()))?;
    let call = ApiCall {
        api: asked.served.name.clone(),
        function: asked.served.function.clone(),
        input: payload.json,
        http,
        timeout,
    };
    Ok((call, waits))
}

/// A body is read as it comes: one that was packed would be taken for something else.
fn check_encoding(headers: &HeaderMap) -> Result<(), ApiError> {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    match encodings.find(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        Some(packed) => Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("content-encoding: is {packed:?}; send the body as it is"),
        )),
        None => Ok(()),
    }
}

/// Counts the call, which is an event; one that is refused for another reason costs nothing.
fn count(app: &Hub, served: &Served, call: &ApiCall) -> Result<(), ApiError> {
    let size = (call.input.get().len() + call.http.get().len()) as u64;
    let organization = &served.organization;
    app.quotas.take(organization, 1)?;
    app.quotas.fit_bytes(organization, 1, || size, &*app.log)
}

/// Takes the call: 202 when it is durable, with where its run is told.
async fn taken(app: &Hub, served: &Served, call: ApiCall) -> Result<Response, ApiError> {
    count(app, served, &call)?;
    let run = app.functions.call_later(&served.organization, call).await?;
    let mut response = StatusCode::ACCEPTED.into_response();
    let location = format!("{}/v1/runs/{}", app.url(), run.name);
    for (name, value) in [(LOCATION, location), (RUN, run.name.to_string())] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

/// The host a request names, lower case and without its port. HTTP/1.1 wants it said exactly once (RFC 9112, 3.2):
/// of two, the hub and a proxy before it may take another one each.
fn host_of(request: &Request) -> Result<Option<String>, &'static str> {
    let mut headers = request.headers().get_all(HOST).iter();
    let (said, again) = (headers.next(), headers.next());
    if again.is_some() {
        return Err("host: is there twice; say it once");
    }
    let said = match (request.uri().host(), said) {
        (Some(host), _) => host,
        (None, Some(said)) => said.to_str().map_err(|_| NO_HOST)?,
        (None, None) if request.version() == Version::HTTP_10 => return Ok(None),
        (None, None) => return Err("host: is required; say which host is asked"),
    };
    let said = said.trim().trim_end_matches('.');
    let bare = match said.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => said,
    };
    let bare = bare.trim_end_matches('.');
    let strange = |b: u8| !b.is_ascii_graphic() || b"/?#@\\\"<>,".contains(&b);
    match bare.bytes().any(strange) {
        true => Err(NO_HOST),
        false => Ok(Some(bare.to_ascii_lowercase())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_the_same_with_port_dot_and_capitals() {
        for (said, expected) in [
            ("api.example.org", "api.example.org"),
            ("API.example.org:8081", "api.example.org"),
            ("api.example.org.:80", "api.example.org"),
            ("[::1]:8081", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            let request = Request::builder()
                .uri("/x")
                .header(HOST, said)
                .body(Body::empty())
                .unwrap();
            assert_eq!(host_of(&request), Ok(Some(expected.to_owned())), "{said}");
        }
    }

    #[test]
    fn a_host_is_said_once_and_is_one() {
        let asked = |hosts: &[&str], version| {
            let mut request = Request::builder().uri("/x").version(version);
            for host in hosts {
                request = request.header(HOST, *host);
            }
            host_of(&request.body(Body::empty()).unwrap())
        };
        let now = Version::HTTP_11;

        assert_eq!(asked(&[], Version::HTTP_10), Ok(None));
        assert!(asked(&[], now).unwrap_err().contains("is required"));
        assert!(asked(&["a.org", "b.org"], now).unwrap_err().contains("twice"));
        for bad in ["a.org/x", "u@a.org", "a b", "a.org,b.org", "ä"] {
            assert_eq!(asked(&[bad], now), Err(NO_HOST), "{bad}");
        }
        assert_eq!(
            asked(&[""], now),
            Ok(Some(String::new())),
            "nobody's host is everybody's"
        );
    }
}
