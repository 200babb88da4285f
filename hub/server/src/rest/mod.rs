//! The REST API: one file per resource, and what they share.
//!
//! Every route is declared with its documentation (`#[utoipa::path]`), so `/openapi.json` cannot say anything
//! else than what is served (`routes.rs`). Errors have one shape, [`error::ApiError`]; what axum's own extractors
//! refuse is brought into it by [`plain`].

pub(crate) mod error;
pub(crate) mod organization;

mod apis;
mod applications;
mod base_images;
mod dead_letters;
mod deliveries;
mod driver_types;
mod drivers;
mod emission;
pub(crate) mod events;
mod functions;
mod health;
mod images;
mod metrics;
mod plain;
mod reload;
mod routes;
mod runs;
mod secret_key;
mod secrets;
mod sidecar;
mod sink;
mod subscriptions;
mod tags;
mod version;

use std::sync::LazyLock;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi as _;

use crate::hub::App;
use routes::Routes;

pub(crate) use plain::panicked;

/// Bytes of a resource's document; a function's source is the largest of them.
const RESOURCE_BYTES: usize = 16 << 20;

#[derive(utoipa::OpenApi)]
#[openapi(info(
    title = "Dispatch",
    description = "Events in, functions and sinks out. Organization: header X-Dispatch-Org, else `dispatch`."
))]
struct Api;

fn routes() -> Routes {
    Routes::new()
        .merge(health::routes())
        .merge(version::routes())
        .merge(metrics::routes())
        .merge(reload::routes())
        .merge(events::routes())
        .merge(emission::routes())
        .merge(dead_letters::routes())
        .merge(deliveries::routes())
        .merge(applications::routes())
        .merge(base_images::routes())
        .merge(images::routes())
        .merge(functions::routes())
        .merge(runs::routes())
        .merge(driver_types::routes())
        .merge(drivers::routes())
        .merge(sidecar::routes())
        .merge(sink::routes())
        .merge(apis::routes())
        .merge(subscriptions::routes())
        .merge(secrets::routes())
        .merge(secret_key::routes())
}

/// The API as OpenAPI 3.1, generated from the routes.
pub fn openapi() -> utoipa::openapi::OpenApi {
    described(routes().describe(Api::openapi()))
}

/// Says of every operation about resources that it has an organization.
fn described(mut document: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            let of_the_hub = operation.tags.iter().flatten().any(|tag| tag == "hub");
            if !of_the_hub {
                operation
                    .parameters
                    .get_or_insert_default()
                    .push(organization::parameter().into());
            }
        }
    }
    document
}

/// The document as it is sent: made when somebody asks for it first.
static DOCUMENT: LazyLock<Bytes> =
    LazyLock::new(|| Bytes::from(serde_json::to_vec(&openapi()).expect("the document is JSON")));

async fn document() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.clone())
}

/// The whole API.
pub(crate) fn router(app: App) -> Router {
    let routes = routes()
        .served()
        .route("/openapi.json", get(document))
        .layer(DefaultBodyLimit::max(RESOURCE_BYTES))
        .with_state(app);
    let routes = routes.fallback(plain::unknown_route);
    plain::with_either_slash(routes)
        .layer(axum::middleware::map_response(plain::as_document))
        .layer(CatchPanicLayer::custom(plain::panicked))
}
