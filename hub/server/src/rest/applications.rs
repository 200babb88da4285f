//! Applications: labels that other resources join by their tag `Application`.

use axum::Json;
use axum::extract::{Path, Query, State};
use dispatch_schemas::{Application, Resource as _};

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

/// All applications of the organization.
#[utoipa::path(get, path = "/v1/application/", tag = "application", operation_id = "getApplications",
    params(Tagged), responses((status = 200, body = [Application]), (status = 400, body = dispatch_schemas::Error)))]
async fn list(
    State(app): State<App>,
    Organization(organization): Organization,
    Query(tagged): Query<Tagged>,
) -> Result<Json<Vec<Application>>, ApiError> {
    Ok(Json(tagged.of(app.store.list(&organization).await?)?))
}

/// Keeps a new application. Answers 200, as the original does.
#[utoipa::path(post, path = "/v1/application/", tag = "application", operation_id = "addApplication",
    request_body = Application, responses((status = 200, body = Application), (status = 400, body = dispatch_schemas::Error),
    (status = 409, body = dispatch_schemas::Error)))]
async fn add(
    State(app): State<App>,
    Organization(organization): Organization,
    Json(application): Json<Application>,
) -> Result<Json<Application>, ApiError> {
    application.check()?;
    Ok(Json(app.store.create(&organization, &application).await?))
}

/// One application.
#[utoipa::path(get, path = "/v1/application/{application}", tag = "application", operation_id = "getApplication",
    params(("application" = String, Path, description = "Name of the application")),
    responses((status = 200, body = Application), (status = 404, body = dispatch_schemas::Error)))]
async fn get(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
) -> Result<Json<Application>, ApiError> {
    Ok(Json(app.store.get(&organization, &name).await?))
}

/// Replaces an application.
#[utoipa::path(put, path = "/v1/application/{application}", tag = "application",
    operation_id = "updateApplication",
    params(("application" = String, Path, description = "Name of the application")), request_body = Application,
    responses((status = 200, body = Application), (status = 400, body = dispatch_schemas::Error), (status = 404, body = dispatch_schemas::Error)))]
async fn update(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
    Json(application): Json<Application>,
) -> Result<Json<Application>, ApiError> {
    application.check()?;
    Ok(Json(app.store.update(&organization, &name, application).await?))
}

/// Forgets an application. What belongs to it stays, and so do its tags.
#[utoipa::path(delete, path = "/v1/application/{application}", tag = "application",
    operation_id = "deleteApplication",
    params(("application" = String, Path, description = "Name of the application")),
    responses((status = 200, body = Application), (status = 404, body = dispatch_schemas::Error)))]
async fn delete(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
) -> Result<Json<Application>, ApiError> {
    Ok(Json(app.store.delete(&organization, &name).await?))
}
