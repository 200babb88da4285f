//! Event drivers: what is in the store, and how its process is now.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use dispatch_schemas::Driver;

use super::error::ApiError;
use super::organization::Organization;
use super::routes::{Routes, routes};
use super::tags::Tagged;
use crate::drivers::Detail;
use crate::hub::App;

/// The routes of this resource.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list, add))
        .routes(routes!(get, update, delete))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(restart))
}

/// All event drivers of the organization.
#[utoipa::path(get, path = "/v1/event/drivers", tag = "driver", operation_id = "getDrivers",
    params(Tagged), responses((status = 200, body = [Driver]), (status = 400, body = dispatch_schemas::Error)))]
async fn list(
    State(app): State<App>,
    Organization(organization): Organization,
    Query(tagged): Query<Tagged>,
) -> Result<Json<Vec<Driver>>, ApiError> {
    let all: Vec<Driver> = tagged.of(app.store.list(&organization).await?)?;
    let shown = all
        .into_iter()
        .map(|driver| app.drivers.shown(driver, Detail::Summary));
    Ok(Json(shown.collect()))
}

/// Creates an event driver and starts it. A schedule is answered with its next three ticks.
#[utoipa::path(post, path = "/v1/event/drivers", tag = "driver", operation_id = "addDriver", request_body = Driver,
    responses((status = 201, body = Driver), (status = 400, body = dispatch_schemas::Error), (status = 409, body = dispatch_schemas::Error)))]
async fn add(
    State(app): State<App>,
    Organization(organization): Organization,
    Json(driver): Json<Driver>,
) -> Result<(StatusCode, Json<Driver>), ApiError> {
    let created = app.drivers.create(&organization, driver).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// One event driver; when it does not work, with its last log lines.
#[utoipa::path(get, path = "/v1/event/drivers/{driverName}", tag = "driver", operation_id = "getDriver",
    params(("driverName" = String, Path, description = "Name of the driver")),
    responses((status = 200, body = Driver), (status = 404, body = dispatch_schemas::Error)))]
async fn get(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
) -> Result<Json<Driver>, ApiError> {
    let driver: Driver = app.store.get(&organization, &name).await?;
    Ok(Json(app.drivers.shown(driver, Detail::Lines)))
}

/// Replaces an event driver: its process is stopped and started with the new settings. Its checkpoint stays.
#[utoipa::path(put, path = "/v1/event/drivers/{driverName}", tag = "driver", operation_id = "updateDriver",
    params(("driverName" = String, Path, description = "Name of the driver")), request_body = Driver,
    responses((status = 200, body = Driver), (status = 400, body = dispatch_schemas::Error), (status = 404, body = dispatch_schemas::Error)))]
async fn update(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
    Json(driver): Json<Driver>,
) -> Result<Json<Driver>, ApiError> {
    Ok(Json(app.drivers.update(&organization, &name, driver).await?))
}

/// Removes an event driver. Answers when its process has ended.
#[utoipa::path(delete, path = "/v1/event/drivers/{driverName}", tag = "driver", operation_id = "deleteDriver",
    params(("driverName" = String, Path, description = "Name of the driver")),
    responses((status = 200, body = Driver), (status = 404, body = dispatch_schemas::Error)))]
async fn delete(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
) -> Result<Json<Driver>, ApiError> {
    Ok(Json(app.drivers.delete(&organization, &name).await?))
}

/// Stops a driver until it is resumed, over restarts of the hub too. Answers when its process has ended.
#[utoipa::path(post, path = "/v1/event/drivers/{driverName}/pause", tag = "driver", operation_id = "pauseDriver",
    params(("driverName" = String, Path, description = "Name of the driver")),
    responses((status = 200, body = Driver), (status = 404, body = dispatch_schemas::Error)))]
async fn pause(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
) -> Result<Json<Driver>, ApiError> {
    Ok(Json(app.drivers.pause(&organization, &name).await?))
}

/// Lets a paused driver go on from its last checkpoint.
#[utoipa::path(post, path = "/v1/event/drivers/{driverName}/resume", tag = "driver", operation_id = "resumeDriver",
    params(("driverName" = String, Path, description = "Name of the driver")),
    responses((status = 200, body = Driver), (status = 404, body = dispatch_schemas::Error)))]
async fn resume(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
) -> Result<Json<Driver>, ApiError> {
    Ok(Json(app.drivers.resume(&organization, &name).await?))
}

/// Stops a driver and starts it again, with a new token.
#[utoipa::path(post, path = "/v1/event/drivers/{driverName}/restart", tag = "driver", operation_id = "restartDriver",
    params(("driverName" = String, Path, description = "Name of the driver")),
    responses((status = 200, body = Driver), (status = 404, body = dispatch_schemas::Error), (status = 409, description = "It is paused", body = dispatch_schemas::Error)))]
async fn restart(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
) -> Result<Json<Driver>, ApiError> {
    Ok(Json(app.drivers.restart(&organization, &name).await?))
}
