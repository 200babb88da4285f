//! The old doors: `POST /v1/event/` for people and clients, `POST /v1/event/ingest` for drivers of Dispatch
//! Solo. CloudEvents 0.1 inline; the answer echoes the event with `id` and `emitted-time`, and only when it is
//! durable.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::HeaderMap;
use chrono::Utc;
use dispatch_contract::{Event, EventError};
use dispatch_schemas::Emission;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::error::ApiError;
use super::organization::Organization;
use super::routes::{Routes, routes};
use crate::door;
use crate::event01;
use crate::hub::App;

/// The routes.
pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(emit)).routes(routes!(ingest))
}

/// Emits one event, CloudEvents 0.1 inline.
#[utoipa::path(post, path = "/v1/event/", tag = "event", operation_id = "emitEvent", request_body = Emission,
    responses((status = 200, body = Emission), (status = 400, body = dispatch_schemas::Error),
        (status = 429, description = "More than the organization's quota; Retry-After says when", body = dispatch_schemas::Error), (status = 503, body = dispatch_schemas::Error)))]
async fn emit(
    State(app): State<App>,
    Organization(organization): Organization,
    request: Request,
) -> Result<Json<Emission>, ApiError> {
    let (parts, body) = request.into_parts();
    let mut emissions = read(&app, &parts.headers, body, false).await?;
    append(&app, &organization, &mut emissions).await?;
    let only = emissions.pop();
    only.map(Json)
        .ok_or_else(|| ApiError::internal("the event is gone"))
}

#[derive(Deserialize, IntoParams)]
struct Token {
    /// What the driver got as `AUTH_TOKEN`.
    #[serde(default, rename = "authToken")]
    auth_token: String,
}

/// What the door for drivers answers: as much as it was given.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Echo {
    One(Box<Emission>),
    Several(Vec<Emission>),
}

/// Takes events of a driver, CloudEvents 0.1 inline; an array is taken whole or not at all.
#[utoipa::path(post, path = "/v1/event/ingest", tag = "event", operation_id = "ingestEvent", params(Token),
    request_body = Emission,
    responses((status = 200, body = Echo), (status = 400, body = dispatch_schemas::Error), (status = 401, body = dispatch_schemas::Error),
        (status = 429, description = "More than the organization's quota; Retry-After says when", body = dispatch_schemas::Error), (status = 503, body = dispatch_schemas::Error)))]
async fn ingest(
    State(app): State<App>,
    Query(token): Query<Token>,
    request: Request,
) -> Result<Json<Echo>, ApiError> {
    let driver = app
        .drivers
        .by_token(&token.auth_token)
        .ok_or_else(|| ApiError::unauthorized("token not recognized"))?;
    let (parts, body) = request.into_parts();
    let mut emissions = read(&app, &parts.headers, body, true).await?;
    append(&app, &driver.organization, &mut emissions).await?;
    app.drivers.emitted(driver.id, Some(None), false);
    Ok(Json(match <[Emission; 1]>::try_from(emissions) {
        Ok([one]) => Echo::One(Box::new(one)),
        Err(several) => Echo::Several(several),
    }))
}

async fn read(app: &App, headers: &HeaderMap, body: Body, several: bool) -> Result<Vec<Emission>, ApiError> {
    let limits = app.limits.load();
    let most = if several {
        limits.batch_bytes
    } else {
        limits.event_bytes
    };
    let body = door::bounded(headers, body, most).await?;
    let is_array = body.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'[');
    let emissions = match several && is_array {
        true => serde_json::from_slice(&body),
        false => serde_json::from_slice(&body).map(|one| vec![one]),
    };
    let emissions: Vec<Emission> =
        emissions.map_err(|error| invalid(format!("is not a CloudEvent 0.1: {error}")))?;
    if emissions.len() > limits.batch_events {
        return Err(invalid(format!(
            "there are {} events; at most {} are taken at once",
            emissions.len(),
            limits.batch_events
        )));
    }
    Ok(emissions)
}

/// Makes them durable, all or none, and gives each its id.
pub(super) async fn append(
    app: &App,
    organization: &Arc<str>,
    emissions: &mut [Emission],
) -> Result<(), ApiError> {
    let (batch, limits) = (emissions.len() > 1, app.limits.load());
    let one = |(index, emission): (usize, &Emission)| -> Result<Event, EventError> {
        let event =
            event01::event_of(emission).and_then(|event| door::check(&event, &limits).map(|()| event));
        event.map_err(|error| if batch { error.at(index) } else { error })
    };
    let events: Result<Vec<Event>, EventError> = emissions.iter().enumerate().map(one).collect();
    let events = events.map_err(|error| invalid(error.to_string()))?;
    door::accept(app.log.as_ref(), &app.quotas, organization, events, None).await?;
    let now = Utc::now().timestamp();
    for emission in emissions {
        emission.id = Uuid::new_v4();
        emission.emitted_time = Some(now);
    }
    Ok(())
}

pub(super) fn invalid(problem: String) -> ApiError {
    ApiError::bad_request(format!("Error validating event: {problem}"))
}
