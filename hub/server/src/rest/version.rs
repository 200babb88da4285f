//! Which build of the hub this is.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::hub::App;

/// Version of the running hub.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Version {
    /// Version of the release.
    version: &'static str,
    /// Commit it was built from, if the build said so.
    commit: &'static str,
    /// When it was built, if the build said so.
    build_date: &'static str,
    /// What compiled it.
    compiler: &'static str,
    /// What it runs on.
    platform: String,
}

/// The version of this build.
pub(crate) fn version() -> Version {
    Version {
        version: env!("CARGO_PKG_VERSION"),
        commit: option_env!("DISPATCH_BUILD_COMMIT").unwrap_or_default(),
        build_date: option_env!("DISPATCH_BUILD_DATE").unwrap_or_default(),
        compiler: "rustc",
        platform: format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    }
}

/// The routes.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_version))
}

/// Version of the running hub.
#[utoipa::path(get, path = "/v1/version", tag = "hub", operation_id = "getVersion", responses((status = 200, body = Version)))]
async fn get_version() -> Json<Version> {
    Json(version())
}
