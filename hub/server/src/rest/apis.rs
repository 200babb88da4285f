//! APIs. A POST answers 200, as the original does.

use axum::Json;
use axum::extract::{Path, Query, State};
use dispatch_schemas::Api;
use serde::Deserialize;
use utoipa::IntoParams;

use super::error::ApiError;
use super::organization::Organization;
use super::routes::{Routes, routes};
use super::tags::Tagged;
use crate::hub::App;
use crate::replay::{self, Replay, Replayed};

/// The routes of this resource.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list, add))
        .routes(routes!(get, update, delete))
        .routes(routes!(replay))
}

/// Which APIs.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Those of this function.
    function: Option<String>,
}

/// All APIs of the organization.
#[utoipa::path(get, path = "/v1/api", tag = "api", operation_id = "getAPIs", params(Which, Tagged),
    responses((status = 200, body = [Api]), (status = 400, body = dispatch_schemas::Error)))]
async fn list(
    State(app): State<App>,
    Organization(organization): Organization,
    Query(which): Query<Which>,
    Query(tagged): Query<Tagged>,
) -> Result<Json<Vec<Api>>, ApiError> {
    let all: Vec<Api> = tagged.of(app.store.list(&organization).await?)?;
    let wanted = |api: &Api| {
        which
            .function
            .as_deref()
            .is_none_or(|function| api.function == function)
    };
    let shown = all
        .into_iter()
        .filter(wanted)
        .map(|api| app.apis.shown(&organization, api));
    Ok(Json(shown.collect()))
}

/// Makes an API. It is served at once; the function need not exist yet.
#[utoipa::path(post, path = "/v1/api", tag = "api", operation_id = "addAPI", request_body = Api,
    responses((status = 200, body = Api), (status = 400, body = dispatch_schemas::Error),
        (status = 409, description = "The name is taken, or another API serves the same requests", body = dispatch_schemas::Error)))]
async fn add(
    State(app): State<App>,
    Organization(organization): Organization,
    Json(api): Json<Api>,
) -> Result<Json<Api>, ApiError> {
    Ok(Json(app.apis.create(&organization, api).await?))
}

/// One API.
#[utoipa::path(get, path = "/v1/api/{api}", tag = "api", operation_id = "getAPI",
    params(("api" = String, Path, description = "Name of the API")),
    responses((status = 200, body = Api), (status = 404, body = dispatch_schemas::Error)))]
async fn get(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
) -> Result<Json<Api>, ApiError> {
    let api: Api = app.store.get(&organization, &name).await?;
    Ok(Json(app.apis.shown(&organization, api)))
}

/// Replaces an API. Requests that were taken before end as they began.
#[utoipa::path(put, path = "/v1/api/{api}", tag = "api", operation_id = "updateAPI",
    params(("api" = String, Path, description = "Name of the API")), request_body = Api,
    responses((status = 200, body = Api), (status = 400, body = dispatch_schemas::Error), (status = 404, body = dispatch_schemas::Error),
        (status = 409, description = "Another API serves the same requests", body = dispatch_schemas::Error)))]
async fn update(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
    Json(api): Json<Api>,
) -> Result<Json<Api>, ApiError> {
    Ok(Json(app.apis.update(&organization, &name, api).await?))
}

/// Removes an API.
#[utoipa::path(delete, path = "/v1/api/{api}", tag = "api", operation_id = "deleteAPI",
    params(("api" = String, Path, description = "Name of the API")),
    responses((status = 200, body = Api), (status = 404, body = dispatch_schemas::Error)))]
async fn delete(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
) -> Result<Json<Api>, ApiError> {
    Ok(Json(app.apis.delete(&organization, &name).await?))
}

/// Calls the function once more as it was called through the API before. Nobody waits: each call is a run.
#[utoipa::path(post, path = "/v1/api/{api}/replay", tag = "api", operation_id = "replayAPI",
    params(("api" = String, Path, description = "Name of the API")), request_body = Replay,
    responses((status = 200, body = Replayed), (status = 400, body = dispatch_schemas::Error), (status = 404, body = dispatch_schemas::Error),
        (status = 503, body = dispatch_schemas::Error)))]
async fn replay(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
    Json(which): Json<Replay>,
) -> Result<Json<Replayed>, ApiError> {
    Ok(Json(replay::to_api(&app, &organization, &name, which).await?))
}
