//! Answers that no route made: unknown paths, refused methods, what axum's extractors could not read, panics.
//!
//! They all leave as `{"code","message"}`. And a path is the same with and without a slash at its end:
//! clients of this API never agreed on it.

use std::any::Any;

use axum::Router;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use http_body_util::{BodyExt as _, Limited};
use tower::ServiceExt as _;

use super::error::ApiError;

/// Longest message taken over from an extractor.
const MESSAGE_BYTES: usize = 4096;

/// Resources of the original that are not here.
const NOT_HERE: [&str; 4] = ["iam", "application", "serviceclass", "serviceinstance"];

/// 404 for a path nobody serves; 501 for what the original had there.
pub(crate) async fn unknown_route(uri: Uri) -> ApiError {
    let resource = uri
        .path()
        .strip_prefix("/v1/")
        .and_then(|rest| rest.split('/').next());
    match resource {
        Some(name) if NOT_HERE.contains(&name) => ApiError::new(
            StatusCode::NOT_IMPLEMENTED,
            "Endpoint is not implemented in this version of Dispatch",
        ),
        _ => ApiError::not_found("resource does not exist"),
    }
}

/// The same router, which also finds `/path` for `/path/` and the other way round.
pub(crate) fn with_either_slash(routes: Router) -> Router {
    let again = routes.clone();
    routes.fallback(move |mut request: Request| {
        let again = again.clone();
        async move {
            if let Some(other) = other_slash(request.uri()) {
                *request.uri_mut() = other;
            }
            again.oneshot(request).await
        }
    })
}

fn other_slash(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    let path = match path.strip_suffix('/') {
        Some("") => return None,
        Some(without) => without.to_owned(),
        None => format!("{path}/"),
    };
    let full = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(full).ok()?);
    Uri::from_parts(parts).ok()
}

/// Brings plain-text refusals into the shape of all errors.
pub(crate) async fn as_document(response: Response) -> Response {
    let status = response.status();
    let is_document = |value: &HeaderValue| !value.as_bytes().starts_with(b"text/plain");
    let refused = status.is_client_error() || status.is_server_error();
    if !refused || response.headers().get(CONTENT_TYPE).is_some_and(is_document) {
        return response;
    }
    let (parts, body) = response.into_parts();
    let said = match Limited::new(body, MESSAGE_BYTES).collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        Err(_) => String::new(),
    };
    let message = match (status, said) {
        (StatusCode::METHOD_NOT_ALLOWED, _) => "method is not allowed for this resource".to_owned(),
        (_, said) if said.is_empty() => status.canonical_reason().unwrap_or("refused").to_lowercase(),
        (_, said) => said,
    };
    let mut document = ApiError::new(status, message).into_response();
    for (name, value) in &parts.headers {
        if !matches!(name.as_str(), "content-type" | "content-length") {
            document.headers_mut().insert(name.clone(), value.clone());
        }
    }
    document
}

/// 500 for a bug of ours; the log has what happened.
pub(crate) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let said = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!(panic = said, "a request panicked");
    ApiError::internal("internal error").into_response()
}
