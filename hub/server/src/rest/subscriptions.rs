//! Subscriptions.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use dispatch_contract::SubscriptionId;
use dispatch_schemas::Subscription;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::ApiError;
use super::organization::Organization;
use super::routes::{Routes, routes};
use super::tags::Tagged;
use crate::hub::App;
use crate::replay::{self, Replay, Replayed};
use crate::subscriptions::{shown, with_state};

/// The routes of this resource.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list, add))
        .routes(routes!(get, update, delete))
        .routes(routes!(unpark))
        .routes(routes!(replay))
}

/// All subscriptions of the organization, without how their deliveries stand.
#[utoipa::path(get, path = "/v1/event/subscriptions", tag = "subscription", operation_id = "getSubscriptions",
    params(Tagged), responses((status = 200, body = [Subscription]), (status = 400, body = dispatch_schemas::Error)))]
async fn list(
    State(app): State<App>,
    Organization(organization): Organization,
    Query(tagged): Query<Tagged>,
) -> Result<Json<Vec<Subscription>>, ApiError> {
    let all: Vec<Subscription> = tagged.of(app.store.list(&organization).await?)?;
    Ok(Json(all.into_iter().map(shown).collect()))
}

/// Makes a subscription. It gets every event that is taken from now on; the function need not exist yet.
#[utoipa::path(post, path = "/v1/event/subscriptions", tag = "subscription", operation_id = "addSubscription",
    request_body = Subscription, responses((status = 201, body = Subscription),
    (status = 400, body = dispatch_schemas::Error), (status = 409, body = dispatch_schemas::Error)))]
async fn add(
    State(app): State<App>,
    Organization(organization): Organization,
    Json(subscription): Json<Subscription>,
) -> Result<(StatusCode, Json<Subscription>), ApiError> {
    let created = app
        .subscriptions
        .create(&app, &organization, subscription)
        .await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// One subscription, with how its deliveries stand.
#[utoipa::path(get, path = "/v1/event/subscriptions/{subscriptionName}", tag = "subscription",
    operation_id = "getSubscription",
    params(("subscriptionName" = String, Path, description = "Name of the subscription")),
    responses((status = 200, body = Subscription), (status = 404, body = dispatch_schemas::Error)))]
async fn get(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
) -> Result<Json<Subscription>, ApiError> {
    let subscription: Subscription = app.store.get(&organization, &name).await?;
    let lane = app.router.status(SubscriptionId(subscription.id)).await;
    Ok(Json(with_state(subscription, lane.as_ref())))
}

/// Replaces a subscription. Events that came before are judged by the filters of their time.
#[utoipa::path(put, path = "/v1/event/subscriptions/{subscriptionName}", tag = "subscription",
    operation_id = "updateSubscription",
    params(("subscriptionName" = String, Path, description = "Name of the subscription")),
    request_body = Subscription, responses((status = 200, body = Subscription),
    (status = 400, body = dispatch_schemas::Error), (status = 404, body = dispatch_schemas::Error), (status = 409, body = dispatch_schemas::Error)))]
async fn update(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
    Json(subscription): Json<Subscription>,
) -> Result<Json<Subscription>, ApiError> {
    let updated = app
        .subscriptions
        .update(&app, &organization, &name, subscription)
        .await?;
    Ok(Json(updated))
}

/// Removes a subscription; what it still owes is dropped.
#[utoipa::path(delete, path = "/v1/event/subscriptions/{subscriptionName}", tag = "subscription",
    operation_id = "deleteSubscription",
    params(("subscriptionName" = String, Path, description = "Name of the subscription")),
    responses((status = 200, body = Subscription), (status = 404, body = dispatch_schemas::Error)))]
async fn delete(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
) -> Result<Json<Subscription>, ApiError> {
    Ok(Json(app.subscriptions.delete(&app, &organization, &name).await?))
}

/// Which parked keys; `{}` is all of them.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Unpark {
    /// Only this one.
    #[serde(default)]
    key: Option<String>,
    /// Leave the parked event out: it becomes a dead letter, and its key goes on behind it.
    #[serde(default)]
    skip: bool,
}

/// How many keys were parked and are not any more.
#[derive(Debug, Serialize, ToSchema)]
struct Unparked {
    unparked: usize,
}

/// Tries parked keys again, from the parked event on, in order.
#[utoipa::path(post, path = "/v1/subscription/{subscriptionName}/unpark", tag = "subscription",
    operation_id = "unparkSubscription",
    params(("subscriptionName" = String, Path, description = "Name of the subscription")),
    request_body = Unpark,
    responses((status = 200, body = Unparked), (status = 400, body = dispatch_schemas::Error), (status = 404, body = dispatch_schemas::Error)))]
async fn unpark(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
    Json(which): Json<Unpark>,
) -> Result<Json<Unparked>, ApiError> {
    let subscription: Subscription = app.store.get(&organization, &name).await?;
    let id = SubscriptionId(subscription.id);
    let unparked = app.router.unpark(id, which.key, which.skip).await.unwrap_or(0);
    Ok(Json(Unparked { unparked }))
}

/// Delivers events to the subscription once more that came before, by its filters as they are now.
#[utoipa::path(post, path = "/v1/subscription/{subscriptionName}/replay", tag = "subscription",
    operation_id = "replaySubscription",
    params(("subscriptionName" = String, Path, description = "Name of the subscription")),
    request_body = Replay,
    responses((status = 200, body = Replayed), (status = 400, body = dispatch_schemas::Error), (status = 404, body = dispatch_schemas::Error),
        (status = 503, body = dispatch_schemas::Error)))]
async fn replay(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
    Json(which): Json<Replay>,
) -> Result<Json<Replayed>, ApiError> {
    Ok(Json(
        replay::to_subscription(&app, &organization, &name, which).await?,
    ))
}
