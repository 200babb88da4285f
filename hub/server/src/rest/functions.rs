//! Functions: code, its image, its handler. The source is written and never read back.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use dispatch_schemas::Function;
use serde::Deserialize;
use utoipa::IntoParams;

use super::error::ApiError;
use super::organization::Organization;
use super::routes::{Routes, routes};
use super::tags::Tagged;
use crate::hub::App;

/// The routes of this resource.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list, add))
        .routes(routes!(get, update, delete))
}

/// Which functions.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Those with this status: READY, ERROR, ….
    state: Option<String>,
}

/// The functions of the organization.
#[utoipa::path(get, path = "/v1/function", tag = "function", operation_id = "getFunctions", params(Which, Tagged),
    responses((status = 200, body = [Function]), (status = 400, body = dispatch_schemas::Error)))]
async fn list(
    State(app): State<App>,
    Organization(organization): Organization,
    Query(which): Query<Which>,
    Query(tagged): Query<Tagged>,
) -> Result<Json<Vec<Function>>, ApiError> {
    let mut functions = app.store.list::<Function>(&organization).await?;
    if let Some(state) = which.state {
        functions.retain(|f| f.status.is_some_and(|status| status.as_str() == state));
    }
    Ok(Json(tagged.of(functions)?))
}

/// Keeps a new function and deploys it.
#[utoipa::path(post, path = "/v1/function", tag = "function", operation_id = "addFunction", request_body = Function,
    responses((status = 201, body = Function), (status = 400, body = dispatch_schemas::Error), (status = 409, body = dispatch_schemas::Error),
        (status = 413, body = dispatch_schemas::Error)))]
async fn add(
    State(app): State<App>,
    Organization(organization): Organization,
    Json(function): Json<Function>,
) -> Result<(StatusCode, Json<Function>), ApiError> {
    let created = app.functions.create(&organization, function).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// One function.
#[utoipa::path(get, path = "/v1/function/{functionName}", tag = "function", operation_id = "getFunction",
    params(("functionName" = String, Path, description = "Name of the function")),
    responses((status = 200, body = Function), (status = 404, body = dispatch_schemas::Error)))]
async fn get(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
) -> Result<Json<Function>, ApiError> {
    Ok(Json(app.store.get(&organization, &name).await?))
}

/// Changes a function and deploys it again. Without a source, the one there is stays.
#[utoipa::path(put, path = "/v1/function/{functionName}", tag = "function", operation_id = "updateFunction",
    params(("functionName" = String, Path, description = "Name of the function")), request_body = Function,
    responses((status = 200, body = Function), (status = 400, body = dispatch_schemas::Error), (status = 404, body = dispatch_schemas::Error),
        (status = 409, body = dispatch_schemas::Error), (status = 413, body = dispatch_schemas::Error)))]
async fn update(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
    Json(function): Json<Function>,
) -> Result<Json<Function>, ApiError> {
    Ok(Json(app.functions.update(&organization, &name, function).await?))
}

/// Forgets a function and its runs.
#[utoipa::path(delete, path = "/v1/function/{functionName}", tag = "function", operation_id = "deleteFunction",
    params(("functionName" = String, Path, description = "Name of the function")),
    responses((status = 200, body = Function), (status = 404, body = dispatch_schemas::Error)))]
async fn delete(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
) -> Result<Json<Function>, ApiError> {
    Ok(Json(app.functions.delete(&organization, &name).await?))
}
