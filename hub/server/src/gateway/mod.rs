//! What is served on the gateway's port: drivers that listen, under `/driver/<org>/<name>`.
//!
//! Everything here comes from outside and is for somebody else: requests are bounded and passed on
//! (`driver.rs`, `pass_on.rs`), never answered by the hub's own API. Routes of other kinds join in [`router`].

mod driver;
mod headers;
mod pass_on;

use axum::Router;
use axum::http::Uri;
use axum::routing::any;
use tower_http::catch_panic::CatchPanicLayer;

use crate::hub::App;
use crate::rest::error::ApiError;
use crate::rest::panicked;

/// Below it every driver that listens has its place.
pub(crate) const DRIVERS: &str = "/driver";

/// All that the gateway serves.
pub(crate) fn router(app: App) -> Router {
    Router::new()
        .merge(drivers())
        .fallback(unknown)
        .with_state(app)
        .layer(CatchPanicLayer::custom(panicked))
}

fn drivers() -> Router<App> {
    Router::new()
        .route("/driver/{organization}/{name}", any(driver::serve))
        .route("/driver/{organization}/{name}/", any(driver::serve))
        .route("/driver/{organization}/{name}/{*path}", any(driver::serve))
}

async fn unknown(uri: Uri) -> ApiError {
    ApiError::not_found(format!("nothing is served at {}", uri.path()))
}
