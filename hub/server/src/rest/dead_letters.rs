//! Dead letters: what could not be delivered, and giving it to its subscription again.
//!
//! Redriving appends the event once more, for its subscription only, together with the internal event
//! `dispatch.deadletters.redriven` that names the letters: so that is known even if the read model is rebuilt.

use axum::Json;
use axum::extract::{Path, Query, State};
use dispatch_schemas::DeadLetter;
use dispatch_store::{DeadLetterKey, DeadLetterQuery};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::ApiError;
use super::organization::Organization;
use super::routes::{Routes, routes};
use crate::hub::App;
use crate::redrive::{self, Redriven};

const DEFAULT_LIMIT: u32 = 1000;
const MAX_LIMIT: u32 = 10_000;
const MAX_IDS: usize = 10_000;

/// The routes.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list, delete_all))
        .routes(routes!(get, delete))
        .routes(routes!(redrive))
}

/// Which dead letters.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Only those of the subscription with this name.
    subscription: Option<String>,
    /// Those that were redriven, too.
    #[serde(default)]
    redriven: bool,
    /// Those after this one: for pages.
    after: Option<String>,
    /// At most so many, the oldest. 1000 if not given, never more than 10000.
    limit: Option<u32>,
}

/// Dead letters, oldest first.
#[utoipa::path(get, path = "/v1/deadletters", tag = "delivery", operation_id = "getDeadLetters", params(Which),
    responses((status = 200, body = [DeadLetter]), (status = 400, body = dispatch_schemas::Error)))]
async fn list(
    State(app): State<App>,
    Organization(organization): Organization,
    Query(which): Query<Which>,
) -> Result<Json<Vec<DeadLetter>>, ApiError> {
    let query = DeadLetterQuery {
        subscription: which.subscription,
        redriven: which.redriven,
        after: which.after.as_deref().map(key).transpose()?,
        limit: Some(which.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT)),
    };
    let rows = app.store.dead_letters(&organization, query).await?;
    Ok(Json(rows.iter().map(DeadLetter::from).collect()))
}

/// One dead letter.
#[utoipa::path(get, path = "/v1/deadletters/{id}", tag = "delivery", operation_id = "getDeadLetter",
    params(("id" = String, Path, description = "`<sequence>-<subscription id>`")),
    responses((status = 200, body = DeadLetter), (status = 400, body = dispatch_schemas::Error), (status = 404, body = dispatch_schemas::Error)))]
async fn get(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(id): Path<String>,
) -> Result<Json<DeadLetter>, ApiError> {
    let row = app.store.dead_letter(&organization, key(&id)?).await?;
    Ok(Json(DeadLetter::from(&row)))
}

/// Forgets a dead letter.
#[utoipa::path(delete, path = "/v1/deadletters/{id}", tag = "delivery", operation_id = "deleteDeadLetter",
    params(("id" = String, Path, description = "`<sequence>-<subscription id>`")),
    responses((status = 200, body = DeadLetter), (status = 400, body = dispatch_schemas::Error), (status = 404, body = dispatch_schemas::Error)))]
async fn delete(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(id): Path<String>,
) -> Result<Json<DeadLetter>, ApiError> {
    let row = app.store.dead_letter(&organization, key(&id)?).await?;
    app.store
        .delete_dead_letters(&organization, vec![row.key])
        .await?;
    Ok(Json(DeadLetter::from(&row)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Of {
    /// Name of the subscription.
    subscription: String,
}

/// How many were forgotten.
#[derive(Debug, Serialize, ToSchema)]
struct Deleted {
    deleted: usize,
}

/// Forgets all dead letters of a subscription.
#[utoipa::path(delete, path = "/v1/deadletters", tag = "delivery", operation_id = "deleteDeadLetters", params(Of),
    responses((status = 200, body = Deleted), (status = 400, body = dispatch_schemas::Error)))]
async fn delete_all(
    State(app): State<App>,
    Organization(organization): Organization,
    Query(of): Query<Of>,
) -> Result<Json<Deleted>, ApiError> {
    let query = DeadLetterQuery {
        subscription: Some(of.subscription),
        redriven: true,
        after: None,
        limit: Some(MAX_LIMIT),
    };
    let mut deleted = 0;
    loop {
        let rows = app.store.dead_letters(&organization, query.clone()).await?;
        if rows.is_empty() {
            return Ok(Json(Deleted { deleted }));
        }
        let keys = rows.iter().map(|row| row.key).collect();
        deleted += app.store.delete_dead_letters(&organization, keys).await?;
    }
}

/// Which dead letters to redrive; `{}` is all of them.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Redrive {
    /// Only those of the subscription with this name.
    #[serde(default)]
    subscription: Option<String>,
    /// Only these.
    #[serde(default)]
    ids: Option<Vec<String>>,
}

/// Gives dead letters to their subscriptions again.
#[utoipa::path(post, path = "/v1/deadletters/redrive", tag = "delivery", operation_id = "redriveDeadLetters",
    request_body = Redrive,
    responses((status = 200, body = Redriven), (status = 400, body = dispatch_schemas::Error), (status = 404, body = dispatch_schemas::Error),
        (status = 503, body = dispatch_schemas::Error)))]
async fn redrive(
    State(app): State<App>,
    Organization(organization): Organization,
    Json(which): Json<Redrive>,
) -> Result<Json<Redriven>, ApiError> {
    let ids = which.ids.unwrap_or_default();
    if ids.len() > MAX_IDS {
        return Err(ApiError::bad_request(format!("ids: at most {MAX_IDS} at once")));
    }
    let keys = ids.iter().map(|id| key(id)).collect::<Result<Vec<_>, _>>()?;
    let redriven = match keys.is_empty() {
        true => redrive::all(&app, &organization, which.subscription).await?,
        false => redrive::these(&app, &organization, which.subscription.as_deref(), keys).await?,
    };
    Ok(Json(redriven))
}

fn key(id: &str) -> Result<DeadLetterKey, ApiError> {
    id.parse()
        .map_err(|error: dispatch_store::DeadLetterKeyError| ApiError::bad_request(error.to_string()))
}
