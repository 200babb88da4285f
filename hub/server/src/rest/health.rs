//! `GET /healthz`: 200 once events are taken, 503 before that and while the hub stops.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::ApiError;
use super::version::version;
use crate::hub::App;

/// A healthy hub.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    version: dispatch_schemas::Version,
}

/// The routes.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(healthz))
}

/// Whether the hub takes events.
#[utoipa::path(get, path = "/healthz", tag = "hub", operation_id = "health",
    responses((status = 200, body = Health), (status = 503, body = dispatch_schemas::Error)))]
async fn healthz(State(app): State<App>) -> Result<Json<Health>, ApiError> {
    if app.shutdown.is_cancelled() {
        return Err(ApiError::unavailable(
            "the hub is stopping",
            Duration::from_secs(5),
        ));
    }
    Ok(Json(Health { version: version() }))
}
