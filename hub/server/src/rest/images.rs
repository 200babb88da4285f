//! Images: a runtime and the dependencies functions need.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use dispatch_schemas::{Image, ImageLog};
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
        .routes(routes!(log))
}

/// Which images.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Those of this language.
    language: Option<String>,
}

/// The images of the organization.
#[utoipa::path(get, path = "/v1/image", tag = "image", operation_id = "getImages", params(Which, Tagged),
    responses((status = 200, body = [Image]), (status = 400, body = dispatch_schemas::Error)))]
async fn list(
    State(app): State<App>,
    Organization(organization): Organization,
    Query(which): Query<Which>,
    Query(tagged): Query<Tagged>,
) -> Result<Json<Vec<Image>>, ApiError> {
    let mut images = app.store.list::<Image>(&organization).await?;
    images.retain(|image| which.language.is_none() || image.language == which.language);
    Ok(Json(tagged.of(images)?))
}

/// Keeps a new image and installs its dependencies.
#[utoipa::path(post, path = "/v1/image", tag = "image", operation_id = "addImage", request_body = Image,
    responses((status = 201, body = Image), (status = 400, body = dispatch_schemas::Error), (status = 409, body = dispatch_schemas::Error)))]
async fn add(
    State(app): State<App>,
    Organization(organization): Organization,
    Json(image): Json<Image>,
) -> Result<(StatusCode, Json<Image>), ApiError> {
    let created = app.images.create(&organization, image).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// One image.
#[utoipa::path(get, path = "/v1/image/{imageName}", tag = "image", operation_id = "getImageByName",
    params(("imageName" = String, Path, description = "Name of the image")),
    responses((status = 200, body = Image), (status = 404, body = dispatch_schemas::Error)))]
async fn get(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
) -> Result<Json<Image>, ApiError> {
    Ok(Json(app.store.get(&organization, &name).await?))
}

/// Changes an image and installs its dependencies again.
#[utoipa::path(put, path = "/v1/image/{imageName}", tag = "image", operation_id = "updateImageByName",
    params(("imageName" = String, Path, description = "Name of the image")), request_body = Image,
    responses((status = 200, body = Image), (status = 400, body = dispatch_schemas::Error), (status = 404, body = dispatch_schemas::Error)))]
async fn update(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
    Json(image): Json<Image>,
) -> Result<Json<Image>, ApiError> {
    Ok(Json(app.images.update(&organization, &name, image).await?))
}

/// Forgets an image.
#[utoipa::path(delete, path = "/v1/image/{imageName}", tag = "image", operation_id = "deleteImageByName",
    params(("imageName" = String, Path, description = "Name of the image")),
    responses((status = 200, body = Image), (status = 404, body = dispatch_schemas::Error)))]
async fn delete(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
) -> Result<Json<Image>, ApiError> {
    Ok(Json(app.images.delete(&organization, &name).await?))
}

/// What the tools said when an image was last built, also while it is.
#[utoipa::path(get, path = "/v1/image/{imageName}/log", tag = "image", operation_id = "getImageLog",
    params(("imageName" = String, Path, description = "Name of the image")),
    responses((status = 200, body = ImageLog), (status = 404, body = dispatch_schemas::Error)))]
async fn log(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
) -> Result<Json<ImageLog>, ApiError> {
    let lines = app.images.log(&organization, &name).await?;
    Ok(Json(ImageLog { lines }))
}
