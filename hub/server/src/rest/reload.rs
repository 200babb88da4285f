//! `POST /v1/reload`: reads the configuration file again.

use axum::Json;
use axum::extract::State;

use super::error::ApiError;
use super::routes::{Routes, routes};
use crate::hub::App;
use crate::reload::{ReloadError, Reloaded, describe};

/// The routes.
pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(reload))
}

/// Reads the configuration file again: what can change changes, what cannot is named.
#[utoipa::path(post, path = "/v1/reload", tag = "hub", operation_id = "reload",
    responses((status = 200, body = Reloaded),
        (status = 400, description = "The file cannot be used; nothing has changed", body = dispatch_schemas::Error),
        (status = 409, description = "There is no file", body = dispatch_schemas::Error)))]
async fn reload(State(app): State<App>) -> Result<Json<Reloaded>, ApiError> {
    let reloaded = app.reload.run().await.map_err(|error| {
        let message = describe(&error);
        match error {
            ReloadError::NoFile => ApiError::conflict(message),
            ReloadError::Config(_) | ReloadError::Certificate(_) => ApiError::bad_request(message),
        }
    })?;
    let (changed, needs_restart) = (reloaded.changed.join(", "), reloaded.needs_restart.join(", "));
    tracing::info!(changed, needs_restart, "read the configuration again");
    Ok(Json(reloaded))
}
