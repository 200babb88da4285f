//! The probes: `/healthz`, `/livez`, `/readyz`, `/startupz`. 200 is yes, 503 is no, and why is in the body.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::ApiError;
use super::routes::{Routes, routes};
use super::version::version;
use crate::hub::App;
use crate::probes::Check;
use crate::stage::Stage;

/// How long the loops may take to answer until the process counts as stuck: longer than a slow disk does.
const ALIVE_WITHIN: Duration = Duration::from_secs(5);
/// How long they may take to answer when events are to be sent here.
const READY_WITHIN: Duration = Duration::from_secs(1);

/// A healthy hub.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    version: dispatch_schemas::Version,
}

/// What a probe found.
#[derive(Debug, Serialize, ToSchema)]
struct Probe {
    /// Whether all of it is as it should be.
    ok: bool,
    /// What was looked at.
    checks: Vec<Check>,
}

type Answer = (StatusCode, Json<Probe>);

/// The routes.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(healthz))
        .routes(routes!(livez))
        .routes(routes!(readyz))
        .routes(routes!(startupz))
}

/// Whether the hub takes events.
#[utoipa::path(get, path = "/healthz", tag = "hub", operation_id = "health",
    responses((status = 200, body = Health), (status = 503, body = dispatch_schemas::Error)))]
async fn healthz(State(app): State<App>) -> Result<Json<Health>, ApiError> {
    if app.life.stage() == Stage::Leaving {
        return Err(ApiError::unavailable(
            "the hub is stopping",
            Duration::from_secs(5),
        ));
    }
    Ok(Json(Health { version: version() }))
}

/// Whether the hub's loops turn. If not, only a restart helps.
#[utoipa::path(get, path = "/livez", tag = "hub", operation_id = "live",
    responses((status = 200, body = Probe), (status = 503, body = Probe)))]
async fn livez(State(app): State<App>) -> Answer {
    answer(app.live_checks(ALIVE_WITHIN).await)
}

/// Whether events should be sent here now. If not, it passes, or the hub stops.
#[utoipa::path(get, path = "/readyz", tag = "hub", operation_id = "ready",
    responses((status = 200, body = Probe), (status = 503, body = Probe)))]
async fn readyz(State(app): State<App>) -> Answer {
    answer(app.ready_checks(READY_WITHIN).await)
}

/// Whether the hub has started.
#[utoipa::path(get, path = "/startupz", tag = "hub", operation_id = "started",
    responses((status = 200, body = Probe), (status = 503, body = Probe)))]
async fn startupz(State(app): State<App>) -> Answer {
    answer(app.started_checks())
}

fn answer(checks: Vec<Check>) -> Answer {
    let ok = checks.iter().all(|check| check.ok);
    let status = match ok {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(Probe { ok, checks }))
}
