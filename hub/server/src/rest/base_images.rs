//! Base images: which languages run here.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use dispatch_schemas::BaseImage;

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

/// All base images of the organization.
#[utoipa::path(get, path = "/v1/baseimage", tag = "image", operation_id = "getBaseImages", params(Tagged),
    responses((status = 200, body = [BaseImage]), (status = 400, body = dispatch_schemas::Error)))]
async fn list(
    State(app): State<App>,
    Organization(organization): Organization,
    Query(tagged): Query<Tagged>,
) -> Result<Json<Vec<BaseImage>>, ApiError> {
    let all = app.store.list::<BaseImage>(&organization).await?;
    Ok(Json(tagged.of(all)?))
}

/// Keeps a new base image. It is READY when its language's runtime is found on this machine.
#[utoipa::path(post, path = "/v1/baseimage", tag = "image", operation_id = "addBaseImage", request_body = BaseImage,
    responses((status = 201, body = BaseImage), (status = 400, body = dispatch_schemas::Error), (status = 409, body = dispatch_schemas::Error)))]
async fn add(
    State(app): State<App>,
    Organization(organization): Organization,
    Json(base): Json<BaseImage>,
) -> Result<(StatusCode, Json<BaseImage>), ApiError> {
    let created = app.images.create_base(&organization, base).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// One base image.
#[utoipa::path(get, path = "/v1/baseimage/{baseImageName}", tag = "image", operation_id = "getBaseImageByName",
    params(("baseImageName" = String, Path, description = "Name of the base image")),
    responses((status = 200, body = BaseImage), (status = 404, body = dispatch_schemas::Error)))]
async fn get(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
) -> Result<Json<BaseImage>, ApiError> {
    Ok(Json(app.store.get(&organization, &name).await?))
}

/// Changes a base image and looks for its runtime again.
#[utoipa::path(put, path = "/v1/baseimage/{baseImageName}", tag = "image", operation_id = "updateBaseImageByName",
    params(("baseImageName" = String, Path, description = "Name of the base image")), request_body = BaseImage,
    responses((status = 200, body = BaseImage), (status = 400, body = dispatch_schemas::Error), (status = 404, body = dispatch_schemas::Error)))]
async fn update(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
    Json(base): Json<BaseImage>,
) -> Result<Json<BaseImage>, ApiError> {
    Ok(Json(app.images.update_base(&organization, &name, base).await?))
}

/// Forgets a base image.
#[utoipa::path(delete, path = "/v1/baseimage/{baseImageName}", tag = "image", operation_id = "deleteBaseImageByName",
    params(("baseImageName" = String, Path, description = "Name of the base image")),
    responses((status = 200, body = BaseImage), (status = 404, body = dispatch_schemas::Error)))]
async fn delete(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
) -> Result<Json<BaseImage>, ApiError> {
    Ok(Json(app.images.delete_base(&organization, &name).await?))
}
