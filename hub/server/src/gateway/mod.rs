//! What is served on the gateway's ports, with TLS and without: drivers that listen, under `/driver/<org>/<name>`,
//! and APIs, everywhere else.
//!
//! Everything here comes from outside and is for somebody else: requests are bounded and passed on
//! (`driver.rs`, `pass_on.rs`) or become calls of functions ([`api`]), never answered by the hub's own API.

pub(crate) mod api;
mod driver;
mod headers;
mod pass_on;
pub(crate) mod tls;

use axum::Router;
use axum::routing::any;
use tower_http::catch_panic::CatchPanicLayer;

use crate::hub::App;
use crate::rest::panicked;

/// Below it every driver that listens has its place.
pub(crate) const DRIVERS: &str = "/driver";

/// All that the gateway serves.
pub(crate) fn router(app: App) -> Router {
    Router::new()
        .merge(drivers())
        .fallback(api::serve)
        .with_state(app)
        .layer(CatchPanicLayer::custom(panicked))
}

fn drivers() -> Router<App> {
    Router::new()
        .route("/driver/{organization}/{name}", any(driver::serve))
        .route("/driver/{organization}/{name}/", any(driver::serve))
        .route("/driver/{organization}/{name}/{*path}", any(driver::serve))
}
