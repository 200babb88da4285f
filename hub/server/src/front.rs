//! What a request meets first: the door for events, then everything else.
//!
//! Routing, layers and extractors cost as much as taking an event does, so `POST /v1/events` is seen to before
//! them. It is the same door: every other way to write that path goes through the routes to the same
//! function.

use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;

use axum::body::{Body, Bytes, HttpBody};
use axum::response::{IntoResponse as _, Response};
use axum::{BoxError, Router};
use futures_util::FutureExt as _;
use http::header::{CONNECTION, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderValue, Method, Request};
use tower::ServiceExt as _;

use crate::hub::App;
use crate::rest::{events, panicked};

/// After a body in chunks the gateway's connections end. A length beside the chunks does not count and is not told of;
/// a proxy that counted by it would take what follows for somebody else's request (RFC 9112, 6.1).
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// Who sends a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// `http` or `https`: how it was sent, as far as its sender knows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scheme(pub(crate) &'static str);

/// The whole of what is served on a connection. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Front {
    /// Whose door for events comes first; none on the gateway.
    door: Option<App>,
    scheme: Scheme,
    routes: Router,
}

impl Front {
    /// The door of `app`, then these routes.
    pub(crate) fn api(app: App, routes: Router) -> Self {
        Self {
            door: Some(app),
            scheme: Scheme("http"),
            routes,
        }
    }

    /// These routes, which learn who sends and how: a [`Peer`] and a [`Scheme`] are with each request.
    pub(crate) fn gateway(routes: Router, scheme: &'static str) -> Self {
        Self {
            door: None,
            scheme: Scheme(scheme),
            routes,
        }
    }

    /// Answers one request.
    pub(crate) async fn answer<B>(
        &self,
        mut request: Request<B>,
        peer: IpAddr,
    ) -> Result<Response, Infallible>
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        let Some(app) = &self.door else {
            request.extensions_mut().insert(Peer(peer));
            request.extensions_mut().insert(self.scheme);
            let in_chunks = request.headers().contains_key(TRANSFER_ENCODING);
            let mut response = self.routes.clone().oneshot(request.map(Body::new)).await?;
            if in_chunks {
                response.headers_mut().insert(CONNECTION, CLOSE);
            }
            return Ok(response);
        };
        if request.method() != Method::POST || request.uri().path() != events::PATH {
            return self.routes.clone().oneshot(request.map(Body::new)).await;
        }
        let (Parts { headers, .. }, body) = request.into_parts();
        let taken = AssertUnwindSafe(events::take(app, headers, body)).catch_unwind();
        Ok(match taken.await {
            Ok(answer) => answer.into_response(),
            Err(panic) => panicked(panic),
        })
    }
}
