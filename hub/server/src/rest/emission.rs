//! The old doors for CloudEvents 0.1.

use utoipa_axum::router::OpenApiRouter;

use crate::hub::App;

/// The routes of this resource.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
}
