//! Which build of the hub this is.

use axum::Json;
use dispatch_schemas::Version;

use super::routes::{Routes, routes};

/// The version of this build.
pub(crate) fn version() -> Version {
    Version {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: option_env!("DISPATCH_BUILD_COMMIT")
            .unwrap_or_default()
            .to_owned(),
        build_date: option_env!("DISPATCH_BUILD_DATE").unwrap_or_default().to_owned(),
        go_version: String::new(),
        compiler: "rustc".to_owned(),
        platform: format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    }
}

/// The routes.
pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(get_version))
}

/// Version of the running hub.
#[utoipa::path(get, path = "/v1/version", tag = "hub", operation_id = "getVersion", responses((status = 200, body = Version)))]
async fn get_version() -> Json<Version> {
    Json(version())
}
