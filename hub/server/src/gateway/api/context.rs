//! The request as a function sees it: `context.httpContext`. Pure.
//!
//! The original's fields, in nginx's words, and ours: `headers`, `query`, `params`, `host`, `remoteAddr`, `api`, `route`,
//! `path`, `body`, `form`, `consumer`, `claims`. Credentials are in none of them. With the payload it is all that an engine needs
//! to make the request again, for functions that are HTTP servers themselves.

use std::net::IpAddr;

use http::HeaderMap;
use http::request::Parts;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::auth::Consumer;
use super::payload::Payload;
use super::served::Served;
use crate::rest::organization::ORGANIZATION_HEADER;

/// What is known of a request beside its head.
pub(super) struct About<'a> {
    pub(super) served: &'a Served,
    /// Which of the API's paths.
    pub(super) route: &'a str,
    pub(super) params: &'a [(String, String)],
    pub(super) query: Value,
    pub(super) payload: &'a Payload,
    pub(super) consumer: Consumer,
    pub(super) scheme: &'static str,
    pub(super) host: Option<&'a str>,
    pub(super) peer: IpAddr,
}

/// The context of a request.
pub(super) fn context(parts: &Parts, about: About<'_>) -> Value {
    let path = parts.uri.path();
    let target = parts.uri.path_and_query().map_or(path, |both| both.as_str());
    let (method, version) = (parts.method.as_str(), format!("{:?}", parts.version));
    let params: Map<String, Value> = about
        .params
        .iter()
        .map(|(name, value)| (name.clone(), percent_decode_str(value).decode_utf8_lossy().into()))
        .collect();
    let mut context = json!({
        "method": method,
        "uri": path,
        "request_uri": target,
        "request": format!("{method} {target} {version}"),
        "args": parts.uri.query().unwrap_or_default(),
        "scheme": about.scheme,
        "server_protocol": version,
        "upstream_uri": format!("/v1/runs?functionName={}", about.served.function),
        "headers": headers(&parts.headers, about.served),
        "query": about.query,
        "params": params,
        "host": about.host,
        "remoteAddr": about.peer.to_string(),
        "api": &*about.served.name,
        "route": about.route,
        "path": below(path, about.served),
        "body": about.payload.kind.as_str(),
    });
    if let Some(form) = &about.payload.form {
        context["form"] = form.as_str().into();
    }
    if let Some(consumer) = about.consumer.name {
        context["consumer"] = consumer.into();
    }
    if let Some(claims) = about.consumer.claims {
        context["claims"] = claims;
    }
    context
}

/// The path as the API means it: without the organization where that is a part of it.
fn below<'a>(path: &'a str, served: &Served) -> &'a str {
    let rest = match served.api.hosts.is_empty() {
        true => path
            .strip_prefix('/')
            .and_then(|path| path.strip_prefix(&*served.organization)),
        false => Some(path),
    };
    match rest.unwrap_or(path) {
        "" => "/",
        rest => rest,
    }
}

/// Each name once; several values are joined, as RFC 9110 (5.3) allows.
fn headers(all: &HeaderMap, served: &Served) -> Value {
    let shown = all
        .keys()
        .filter(|name| *name != ORGANIZATION_HEADER && !served.guard.hides(name));
    let joined = shown.map(|name| {
        let values = all.get_all(name).iter();
        let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
        (
            name.as_str().to_owned(),
            values.collect::<Vec<_>>().join(", ").into(),
        )
    });
    Value::Object(joined.collect())
}
