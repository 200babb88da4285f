//! Routes with their documentation beside them, which is made when somebody asks for it and not before.
//!
//! The whole document is megabytes of small maps, and most hubs are never asked for it. So a route is kept with the
//! function that documents it. Both come from the same names ([`routes!`]), so neither can say anything else.

use axum::Router;
use axum::routing::MethodRouter;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::hub::App;

/// Adds the documentation of some operations.
pub(crate) type Describe<S> = fn(OpenApiRouter<S>) -> OpenApiRouter<S>;

/// The operations of one path.
pub(crate) struct Operations<S> {
    pub(crate) path: String,
    pub(crate) served: MethodRouter<S>,
    pub(crate) describe: Describe<S>,
}

/// Routes, and how they are documented.
pub(crate) struct Routes<S = App> {
    served: Router<S>,
    described: Vec<Describe<S>>,
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    pub(crate) fn new() -> Self {
        Self {
            served: Router::new(),
            described: Vec::new(),
        }
    }

    /// With these operations, too.
    pub(crate) fn routes(mut self, operations: Operations<S>) -> Self {
        self.served = self.served.route(&operations.path, operations.served);
        self.described.push(operations.describe);
        self
    }

    /// With those routes, too.
    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.served = self.served.merge(other.served);
        self.described.extend(other.described);
        self
    }

    /// What serves them.
    pub(crate) fn served(self) -> Router<S> {
        self.served
    }

    /// `document` with the documentation of all of them.
    pub(crate) fn describe(&self, document: OpenApi) -> OpenApi {
        let start = OpenApiRouter::with_openapi(document);
        // Merged one by one: of two schemas of one name the first stands.
        let described = self
            .described
            .iter()
            .fold(start, |done, describe| done.merge(describe(OpenApiRouter::new())));
        described.into_openapi()
    }
}

/// The operations of one path, by the names of their functions, each with a `#[utoipa::path]`.
macro_rules! routes {
    ($first:ident $(, $more:ident)* $(,)?) => {{
        use utoipa::Path as _;
        use utoipa_axum::PathItemExt as _;

        let served = axum::routing::MethodRouter::new();
        pastey::paste! {
            let path = [<__path_ $first>]::path();
            let served = [<__path_ $first>]::methods()
                .iter()
                .fold(served, |served, method| served.on(method.to_method_filter(), $first));
            $(let served = [<__path_ $more>]::methods()
                .iter()
                .fold(served, |served, method| served.on(method.to_method_filter(), $more));)*
        }
        $crate::rest::routes::Operations {
            path,
            served,
            describe: |documented| documented.routes(utoipa_axum::routes!($first $(, $more)*)),
        }
    }};
}

pub(crate) use routes;

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{Method, Request};
    use tower::ServiceExt as _;

    use super::*;

    #[utoipa::path(get, path = "/things/{name}", responses((status = 200)))]
    async fn show() -> &'static str {
        "shown"
    }

    #[utoipa::path(delete, path = "/things/{name}", responses((status = 200)))]
    async fn remove() -> &'static str {
        "removed"
    }

    #[tokio::test]
    async fn what_is_documented_is_what_is_served() {
        let routes: Routes<()> = Routes::new().merge(Routes::new().routes(routes!(show, remove)));

        let document = routes.describe(OpenApi::default());
        let served = routes.served();

        let item = &document.paths.paths["/things/{name}"];
        let operations = [&item.get, &item.delete, &item.post].map(Option::is_some);
        assert_eq!(operations, [true, true, false]);
        for (method, status) in [(Method::GET, 200), (Method::DELETE, 200), (Method::POST, 405)] {
            let request = Request::builder().method(method.clone()).uri("/things/a");
            let response = served.clone().oneshot(request.body(Body::empty()).unwrap()).await;
            assert_eq!(response.unwrap().status(), status, "{method}");
        }
    }
}
