//! What a request meets first: the door for events, then everything else.
//!
//! Routing, layers and extractors cost as much as taking an event does, so `POST /v1/events` is seen to before
//! them. It is the same door: every other way to write that path goes through the routes to the same
//! function.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;

use axum::body::{Body, Bytes, HttpBody};
use axum::response::{IntoResponse as _, Response};
use axum::{BoxError, Router};
use futures_util::FutureExt as _;
use http::{Method, Request};
use tower::ServiceExt as _;

use crate::hub::App;
use crate::rest::{events, panicked};

/// The whole of what is served on a connection. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Front {
    app: App,
    routes: Router,
}

impl Front {
    /// The door of `app`, then these routes.
    pub(crate) fn new(app: App, routes: Router) -> Self {
        Self { app, routes }
    }

    /// Answers one request.
    pub(crate) async fn answer<B>(&self, request: Request<B>) -> Result<Response, Infallible>
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        if request.method() != Method::POST || request.uri().path() != events::PATH {
            return self.routes.clone().oneshot(request.map(Body::new)).await;
        }
        let (head, body) = request.into_parts();
        let taken = AssertUnwindSafe(events::take(&self.app, &head.headers, body)).catch_unwind();
        Ok(match taken.await {
            Ok(answer) => answer.into_response(),
            Err(panic) => panicked(panic),
        })
    }
}
