//! Event driver types.
//!
//! Whether there is a program for the image shows when a driver of the type starts. A change of a type reaches its
//! drivers with their next start.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use dispatch_schemas::{DriverType, Resource as _};
use serde_json::Value;

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
        .routes(routes!(schemas))
        .routes(routes!(schema))
}

/// All event driver types of the organization.
#[utoipa::path(get, path = "/v1/event/drivertypes", tag = "driver", operation_id = "getDriverTypes",
    params(Tagged), responses((status = 200, body = [DriverType]), (status = 400, body = dispatch_schemas::Error)))]
async fn list(
    State(app): State<App>,
    Organization(organization): Organization,
    Query(tagged): Query<Tagged>,
) -> Result<Json<Vec<DriverType>>, ApiError> {
    Ok(Json(tagged.of(app.store.list(&organization).await?)?))
}

/// Registers an event driver type: a path to a program, or an image whose driver is here.
#[utoipa::path(post, path = "/v1/event/drivertypes", tag = "driver", operation_id = "addDriverType",
    request_body = DriverType, responses((status = 201, body = DriverType), (status = 400, body = dispatch_schemas::Error),
    (status = 409, body = dispatch_schemas::Error)))]
async fn add(
    State(app): State<App>,
    Organization(organization): Organization,
    Json(driver_type): Json<DriverType>,
) -> Result<(StatusCode, Json<DriverType>), ApiError> {
    driver_type.check()?;
    let created = app.store.create(&organization, &driver_type).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// One event driver type.
#[utoipa::path(get, path = "/v1/event/drivertypes/{driverTypeName}", tag = "driver", operation_id = "getDriverType",
    params(("driverTypeName" = String, Path, description = "Name of the type")),
    responses((status = 200, body = DriverType), (status = 404, body = dispatch_schemas::Error)))]
async fn get(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
) -> Result<Json<DriverType>, ApiError> {
    Ok(Json(app.store.get(&organization, &name).await?))
}

/// Replaces an event driver type.
#[utoipa::path(put, path = "/v1/event/drivertypes/{driverTypeName}", tag = "driver",
    operation_id = "updateDriverType",
    params(("driverTypeName" = String, Path, description = "Name of the type")), request_body = DriverType,
    responses((status = 200, body = DriverType), (status = 400, body = dispatch_schemas::Error), (status = 404, body = dispatch_schemas::Error)))]
async fn update(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
    Json(driver_type): Json<DriverType>,
) -> Result<Json<DriverType>, ApiError> {
    driver_type.check()?;
    Ok(Json(app.store.update(&organization, &name, driver_type).await?))
}

/// Removes an event driver type. Drivers that run go on.
#[utoipa::path(delete, path = "/v1/event/drivertypes/{driverTypeName}", tag = "driver",
    operation_id = "deleteDriverType",
    params(("driverTypeName" = String, Path, description = "Name of the type")),
    responses((status = 200, body = DriverType), (status = 404, body = dispatch_schemas::Error)))]
async fn delete(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
) -> Result<Json<DriverType>, ApiError> {
    Ok(Json(app.store.delete(&organization, &name).await?))
}

/// Types of the events of which a driver type has a JSON Schema.
#[utoipa::path(get, path = "/v1/event/drivertypes/{driverTypeName}/schemas", tag = "driver", operation_id = "getDriverTypeSchemas",
    params(("driverTypeName" = String, Path, description = "Name of the type, or of an executable that need not be registered")),
    responses((status = 200, body = [String]), (status = 404, body = dispatch_schemas::Error)))]
async fn schemas(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
) -> Result<Json<Vec<String>>, ApiError> {
    Ok(Json(app.drivers.types_with_schema(&organization, &name).await?))
}

/// The JSON Schema of the data of a driver type's events.
#[utoipa::path(get, path = "/v1/event/drivertypes/{driverTypeName}/schemas/{eventType}", tag = "driver", operation_id = "getDriverTypeSchema",
    params(("driverTypeName" = String, Path, description = "Name of the type, or of an executable that need not be registered"),
        ("eventType" = String, Path, description = "Type of the events")),
    responses((status = 200, description = "The JSON Schema"), (status = 404, body = dispatch_schemas::Error)))]
async fn schema(
    State(app): State<App>,
    Organization(organization): Organization,
    Path((name, event_type)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let schema = app.drivers.schema(&organization, &name, &event_type).await?;
    Ok(Json(schema))
}
