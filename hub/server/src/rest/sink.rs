//! The doors of drivers: where `K_SINK` points to.
//!
//! A driver posts CloudEvents here as anywhere; its events belong to its organization. With its token it can store
//! a checkpoint in the same group as a batch, read the last one, and say how it is. A plain Knative source knows
//! nothing of tokens: its events are taken without one, as long as nobody has to say who they are anywhere else
//! either. A wrong token is refused.

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dispatch_contract::Checkpoint;
use dispatch_schemas::Status;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::error::ApiError;
use super::routes::{Routes, routes};
use crate::door::{self, Accepted};
use crate::drivers::DriverIdentity;
use crate::hub::{App, Hub};

/// Header of a POST that carries a checkpoint, as base64.
const CHECKPOINT_HEADER: &str = "dispatch-checkpoint";
/// The most bytes of a checkpoint.
const MAX_CHECKPOINT: usize = 64 * 1024;

/// How a driver says it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Health {
    /// READY or ERROR.
    status: Status,
    /// Why it cannot work for now; one line.
    reason: Option<String>,
    /// Where it listens, `127.0.0.1:PORT`: the gateway passes on to it what comes for this driver.
    listen: Option<String>,
}

/// The routes.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(post))
        .routes(routes!(checkpoint))
        .routes(routes!(health))
}

/// Takes a driver's events, with its checkpoint if there is one: all of it, or nothing.
#[utoipa::path(post, path = "/v1/sink/{driverId}", tag = "driver", operation_id = "postToSink",
    params(("driverId" = Uuid, Path, description = "Id of the driver"),
        ("Dispatch-Checkpoint" = Option<String>, Header, description = "How far the driver has read: base64")),
    responses((status = 202, body = Accepted), (status = 400, body = dispatch_schemas::Error), (status = 401, body = dispatch_schemas::Error),
        (status = 404, body = dispatch_schemas::Error), (status = 413, body = dispatch_schemas::Error),
        (status = 429, description = "More than the organization's quota; Retry-After says when", body = dispatch_schemas::Error), (status = 503, body = dispatch_schemas::Error)))]
async fn post(
    State(app): State<App>,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let (driver, proved) = caller(&app, id, &headers)?;
    let checkpoint = match headers.get(CHECKPOINT_HEADER) {
        Some(_) if !proved => return Err(unknown_token()),
        Some(value) => Some(Checkpoint {
            organization: driver.organization.clone(),
            driver: id.to_string().into(),
            value: decoded(value.as_bytes())?,
        }),
        None => None,
    };
    let events = door::read(&headers, body, &app.limits.load()).await?;
    let lag = events.last().map(|last| {
        let age = chrono::Utc::now() - last.time()?;
        age.to_std().ok()
    });
    let stored = checkpoint.is_some();
    let accepted = door::accept(&*app.log, &app.quotas, &driver.organization, events, checkpoint).await?;
    app.drivers.emitted(id, lag, stored);
    Ok(accepted.into_response())
}

/// The driver's last checkpoint.
#[utoipa::path(get, path = "/v1/sink/{driverId}/checkpoint", tag = "driver", operation_id = "getCheckpoint",
    params(("driverId" = Uuid, Path, description = "Id of the driver")),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 204, description = "There is none yet"), (status = 401, body = dispatch_schemas::Error),
        (status = 404, body = dispatch_schemas::Error)))]
async fn checkpoint(
    State(app): State<App>,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let driver = proved(&app, id, &headers)?;
    app.drivers.contacted(id);
    match app.journal.checkpoint(&driver.organization, &id.to_string()) {
        Some(value) => Ok(([(CONTENT_TYPE, "application/octet-stream")], value).into_response()),
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

/// How the driver is, in its own words.
#[utoipa::path(put, path = "/v1/sink/{driverId}/health", tag = "driver", operation_id = "putHealth",
    params(("driverId" = Uuid, Path, description = "Id of the driver")), request_body = Health,
    responses((status = 204, description = "Heard"), (status = 400, body = dispatch_schemas::Error),
        (status = 401, body = dispatch_schemas::Error), (status = 404, body = dispatch_schemas::Error)))]
async fn health(
    State(app): State<App>,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, ApiError> {
    proved(&app, id, &headers)?;
    let health: Health =
        serde_json::from_slice(&body).map_err(|e| ApiError::bad_request(format!("body: {e}")))?;
    if let Some(said) = &health.listen {
        let heard = app.drivers.listens_at(id, said);
        heard.map_err(|wrong| ApiError::bad_request(wrong.to_string()))?;
    }
    match health.status {
        Status::Ready => app.drivers.reported(id, None),
        Status::Error => app
            .drivers
            .reported(id, Some(health.reason.as_deref().unwrap_or("no reason given"))),
        other => {
            return Err(ApiError::bad_request(format!(
                "status: must be READY or ERROR, not {other}"
            )));
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Whose door it is, and whether the caller proved to be that driver.
fn caller(app: &Hub, id: Uuid, headers: &HeaderMap) -> Result<(DriverIdentity, bool), ApiError> {
    let driver = app.drivers.by_id(id);
    let driver = driver.ok_or_else(|| ApiError::not_found(format!("event driver {id} not found")))?;
    match headers.get(AUTHORIZATION) {
        None => Ok((driver, false)),
        Some(value) => {
            let token = value.to_str().ok().and_then(|text| text.strip_prefix("Bearer "));
            match token.is_some_and(|token| app.drivers.admits(id, token.trim())) {
                true => Ok((driver, true)),
                false => Err(unknown_token()),
            }
        }
    }
}

fn proved(app: &Hub, id: Uuid, headers: &HeaderMap) -> Result<DriverIdentity, ApiError> {
    match caller(app, id, headers)? {
        (driver, true) => Ok(driver),
        (_, false) => Err(unknown_token()),
    }
}

fn unknown_token() -> ApiError {
    ApiError::unauthorized("token not recognized")
}

fn decoded(value: &[u8]) -> Result<bytes::Bytes, ApiError> {
    let wrong = |problem: String| ApiError::bad_request(format!("{CHECKPOINT_HEADER}: {problem}"));
    let decoded = STANDARD
        .decode(value)
        .map_err(|e| wrong(format!("is not base64: {e}")))?;
    match decoded.len() > MAX_CHECKPOINT {
        true => Err(wrong(format!(
            "has {} bytes; at most {MAX_CHECKPOINT} are kept",
            decoded.len()
        ))),
        false => Ok(decoded.into()),
    }
}
