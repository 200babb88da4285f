//! The oldest door for drivers: what the sidecar beside each of them took on `127.0.0.1:8080`.
//!
//! CloudEvents 0.1 as one object, an array, or one object behind the other; 201 when all of them are durable, and
//! none is taken when one is wrong. Such programs know no token: their events belong to the organization the
//! header names, `dispatch` if none.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use dispatch_schemas::Emission;

use super::emission::append;
use super::error::ApiError;
use super::organization::Organization;
use super::routes::{Routes, routes};
use crate::door;
use crate::hub::App;

/// The routes.
pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(well, post))
}

/// Whether somebody listens.
#[utoipa::path(get, path = "/", tag = "event", operation_id = "sidecarHealth",
    responses((status = 200, description = "Somebody listens")))]
async fn well() -> StatusCode {
    StatusCode::OK
}

/// Takes events as a driver's sidecar did: CloudEvents 0.1, one, an array, or one behind the other.
#[utoipa::path(post, path = "/", tag = "event", operation_id = "postToSidecar", request_body = Emission,
    responses((status = 201, description = "All of them are durable"), (status = 400, body = dispatch_schemas::Error),
        (status = 413, body = dispatch_schemas::Error), (status = 429, body = dispatch_schemas::Error),
        (status = 503, body = dispatch_schemas::Error)))]
async fn post(
    State(app): State<App>,
    Organization(organization): Organization,
    request: Request<Body>,
) -> Result<StatusCode, ApiError> {
    let (head, body) = request.into_parts();
    let limits = app.limits.load();
    let body = door::bounded(&head.headers, body, limits.batch_bytes).await?;
    let mut emissions = parsed(&body, limits.batch_events)?;
    append(&app, &organization, &mut emissions).await?;
    Ok(StatusCode::CREATED)
}

fn parsed(body: &[u8], most: usize) -> Result<Vec<Emission>, ApiError> {
    let wrong = |error: serde_json::Error| ApiError::bad_request(format!("Error parsing input: {error}"));
    let is_array = body.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'[');
    let emissions: Vec<Emission> = match is_array {
        true => serde_json::from_slice(body).map_err(wrong)?,
        false => serde_json::Deserializer::from_slice(body)
            .into_iter()
            .take(most + 1)
            .collect::<Result<_, _>>()
            .map_err(wrong)?,
    };
    match emissions.len() {
        0 => Err(ApiError::bad_request("No events parsed")),
        count if count > most => Err(ApiError::bad_request(format!(
            "Error parsing input: at most {most} events are taken at once"
        ))),
        _ => Ok(emissions),
    }
}
