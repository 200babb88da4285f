//! `GET /metrics`: the hub's figures in Prometheus' text format.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::routes::{Routes, routes};
use crate::hub::App;

/// The routes.
pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(metrics))
}

/// The hub's figures for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "hub", operation_id = "metrics",
    responses((status = 200, body = String, content_type = "text/plain")))]
async fn metrics(State(app): State<App>) -> impl IntoResponse {
    let text = crate::metrics::render(&app.router.statuses().await);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}
