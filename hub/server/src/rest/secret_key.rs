//! `POST /v1/secretkey/rotate`: a new master key for the secrets of all organizations.

use axum::Json;
use axum::extract::State;
use dispatch_store::KeyError;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::ApiError;
use super::routes::{Routes, routes};
use crate::hub::App;

/// The routes.
pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(rotate))
}

/// What the secrets are encrypted with now.
#[derive(Debug, Serialize, ToSchema)]
struct RotatedKey {
    /// What the new key is called; it says nothing of the key.
    key: String,
    /// Keys of organizations that are wrapped with it.
    wrapped: usize,
}

/// Makes a new master key, wraps the organizations' keys with it, and forgets the old one.
#[utoipa::path(post, path = "/v1/secretkey/rotate", tag = "hub", operation_id = "rotateSecretKey",
    responses((status = 200, body = RotatedKey),
        (status = 409, description = "The key is not in a file the hub can write", body = dispatch_schemas::Error)))]
async fn rotate(State(app): State<App>) -> Result<Json<RotatedKey>, ApiError> {
    let rotated = app.store.rotate_key().await.map_err(|error| match error {
        KeyError::Given | KeyError::Unusable { .. } => ApiError::conflict(error.to_string()),
        other => {
            tracing::error!(error = %other, "the secret key cannot be rotated");
            ApiError::internal(other.to_string())
        }
    })?;
    tracing::info!(
        key = rotated.key,
        wrapped = rotated.wrapped,
        "secrets have a new key"
    );
    Ok(Json(RotatedKey {
        key: rotated.key,
        wrapped: rotated.wrapped,
    }))
}
