//! Secrets: values for functions and drivers, shown only when they are asked for (`reveal=true`).
//!
//! Else each key has the value `null`, which cannot be written back. The values are in no log line and in no error.
//! Functions read them with each call; a driver whose secret is
//! changed is started again with the new values.

use axum::Json;
use axum::extract::{FromRef, Path, Query, State};
use axum::http::StatusCode;
use dispatch_schemas::{Resource as _, Secret, SecretText};
use dispatch_store::Store;
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use super::error::ApiError;
use super::organization::Organization;
use super::routes::{Routes, routes};
use super::tags::Tagged;
use crate::drivers::Drivers;
use crate::hub::App;

/// What these routes need of the hub.
#[derive(Clone)]
struct Secrets {
    store: Store,
    /// Who is told of changes.
    drivers: Option<Drivers>,
}

impl FromRef<App> for Secrets {
    fn from_ref(app: &App) -> Self {
        Self {
            store: app.store.clone(),
            drivers: Some(app.drivers.clone()),
        }
    }
}

/// The routes of this resource.
pub(crate) fn routes() -> Routes {
    routes_on()
}

fn routes_on<S>() -> Routes<S>
where
    S: Clone + Send + Sync + 'static,
    Secrets: FromRef<S>,
{
    Routes::new()
        .routes(routes!(list, add))
        .routes(routes!(get, update, delete))
}

/// Whether values are shown.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Shown {
    /// The values too; else each is `null`.
    #[serde(default)]
    reveal: bool,
}

impl Shown {
    fn of(self, secret: &Secret) -> Json<Value> {
        let mut shown = serde_json::to_value(secret).unwrap_or_default();
        if !self.reveal
            && let Some(values) = shown["secrets"].as_object_mut()
        {
            values.values_mut().for_each(|value| *value = Value::Null);
        }
        Json(shown)
    }
}

/// All secrets of the organization.
#[utoipa::path(get, path = "/v1/secret/", tag = "secret", operation_id = "getSecrets", params(Shown, Tagged),
    responses((status = 200, body = [Secret]), (status = 400, body = dispatch_schemas::Error)))]
async fn list(
    State(Secrets { store, .. }): State<Secrets>,
    Organization(organization): Organization,
    Query(shown): Query<Shown>,
    Query(tagged): Query<Tagged>,
) -> Result<Json<Vec<Value>>, ApiError> {
    let secrets: Vec<Secret> = tagged.of(store.list(&organization).await?)?;
    Ok(Json(secrets.iter().map(|secret| shown.of(secret).0).collect()))
}

/// Keeps a new secret.
#[utoipa::path(post, path = "/v1/secret/", tag = "secret", operation_id = "addSecret", params(Shown), request_body = Secret,
    responses((status = 201, body = Secret), (status = 400, body = dispatch_schemas::Error), (status = 409, body = dispatch_schemas::Error)))]
async fn add(
    State(Secrets { store, .. }): State<Secrets>,
    Organization(organization): Organization,
    Query(shown): Query<Shown>,
    Json(secret): Json<Secret>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    secret.check()?;
    let created = store.create(&organization, &secret).await?;
    Ok((StatusCode::CREATED, shown.of(&created)))
}

/// One secret.
#[utoipa::path(get, path = "/v1/secret/{secretName}", tag = "secret", operation_id = "getSecret",
    params(Shown, ("secretName" = String, Path, description = "Name of the secret")),
    responses((status = 200, body = Secret), (status = 404, body = dispatch_schemas::Error)))]
async fn get(
    State(Secrets { store, .. }): State<Secrets>,
    Organization(organization): Organization,
    Path(name): Path<String>,
    Query(shown): Query<Shown>,
) -> Result<Json<Value>, ApiError> {
    Ok(shown.of(&store.get(&organization, &name).await?))
}

/// Replaces the values of a secret. Answers 201, as the original does.
#[utoipa::path(put, path = "/v1/secret/{secretName}", tag = "secret", operation_id = "updateSecret",
    params(Shown, ("secretName" = String, Path, description = "Name of the secret")), request_body = Secret,
    responses((status = 201, body = Secret), (status = 400, body = dispatch_schemas::Error), (status = 404, body = dispatch_schemas::Error)))]
async fn update(
    State(Secrets { store, drivers }): State<Secrets>,
    Organization(organization): Organization,
    Path(name): Path<String>,
    Query(shown): Query<Shown>,
    Json(secret): Json<Secret>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    secret.check()?;
    let before: Secret = store.get(&organization, &name).await?;
    let updated = store.update(&organization, &name, secret).await?;
    let values = |secret: &Secret| -> Vec<(String, String)> {
        let pair = |(key, value): (&String, &SecretText)| (key.clone(), value.expose().to_owned());
        secret.secrets.iter().map(pair).collect()
    };
    if let Some(drivers) = drivers
        && values(&before) != values(&updated)
    {
        drivers.secret_changed(&organization, &name).await?;
    }
    Ok((StatusCode::CREATED, shown.of(&updated)))
}

/// Forgets a secret.
#[utoipa::path(delete, path = "/v1/secret/{secretName}", tag = "secret", operation_id = "deleteSecret",
    params(("secretName" = String, Path, description = "Name of the secret")),
    responses((status = 204, description = "It is gone"), (status = 404, body = dispatch_schemas::Error)))]
async fn delete(
    State(Secrets { store, .. }): State<Secrets>,
    Organization(organization): Organization,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    store.delete::<Secret>(&organization, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt as _;
    use serde_json::json;
    use tower::ServiceExt as _;

    use super::*;

    fn served() -> (tempfile::TempDir, Router) {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets {
            store: Store::open(folder.path()).unwrap(),
            drivers: None,
        };
        let router = routes_on::<Secrets>().served().with_state(secrets);
        (folder, router)
    }

    async fn ask(router: &Router, line: &str, organization: &str, body: Value) -> (u16, Value) {
        let (method, path) = line.split_once(' ').unwrap();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .header("x-dispatch-org", organization)
            .body(Body::from(body.to_string()))
            .unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    #[tokio::test]
    async fn a_secret_is_kept_returned_replaced_and_forgotten() {
        let (_folder, router) = served();
        let secret = |password: &str| json!({"name": "open-sesame", "secrets": {"password": password}});
        let one = "/v1/secret/open-sesame";

        let (status, created) = ask(&router, "POST /v1/secret/", "acme", secret("a&<>")).await;
        assert_eq!((status, &created["kind"]), (201, &json!("Secret")));
        assert_eq!(
            ask(&router, &format!("GET {one}"), "acme", Value::Null).await,
            (200, created.clone())
        );

        let (status, updated) = ask(&router, &format!("PUT {one}"), "acme", secret("b")).await;
        assert_eq!((status, &updated["id"]), (201, &created["id"]));
        assert_eq!(
            updated["secrets"],
            json!({"password": null}),
            "nobody asked for it"
        );
        let (status, list) = ask(&router, "GET /v1/secret/", "acme", Value::Null).await;
        assert_eq!((status, &list[0]["secrets"]), (200, &json!({"password": null})));
        for line in [
            "GET /v1/secret/?reveal=true".to_owned(),
            format!("GET {one}?reveal=true"),
        ] {
            let (status, found) = ask(&router, &line, "acme", Value::Null).await;
            let found = found.get(0).unwrap_or(&found);
            assert_eq!((status, &found["secrets"]["password"]), (200, &json!("b")));
        }
        let (status, hidden) = ask(&router, &format!("GET {one}"), "acme", Value::Null).await;
        assert_eq!(status, 200);
        let refused = ask(&router, &format!("PUT {one}"), "acme", hidden).await;
        assert!(
            (400..500).contains(&refused.0),
            "what is hidden is not written back: {refused:?}"
        );

        let gone = ask(&router, &format!("DELETE {one}"), "acme", Value::Null).await;
        assert_eq!(gone, (204, Value::Null));
        let (status, body) = ask(&router, &format!("GET {one}"), "acme", Value::Null).await;
        assert_eq!(
            (status, body),
            (
                404,
                json!({"code": 404, "message": "secret open-sesame not found"})
            )
        );
    }

    #[tokio::test]
    async fn organizations_do_not_see_one_anothers_secrets() {
        let (_folder, router) = served();
        let secret = json!({"name": "s", "secrets": {}});
        assert_eq!(
            ask(&router, "POST /v1/secret/", "acme", secret.clone()).await.0,
            201
        );

        assert_eq!(
            ask(&router, "GET /v1/secret/", "other", Value::Null).await,
            (200, json!([]))
        );
        assert_eq!(
            ask(&router, "GET /v1/secret/s", "other", Value::Null).await.0,
            404
        );
        assert_eq!(
            ask(&router, "DELETE /v1/secret/s", "other", Value::Null).await.0,
            404
        );
        let (status, body) = ask(&router, "POST /v1/secret/", "acme", secret).await;
        assert_eq!(
            (status, body["message"].as_str()),
            (409, Some("secret s already exists"))
        );
    }

    #[tokio::test]
    async fn a_wrong_secret_is_refused_with_its_field_and_without_its_values() {
        let (_folder, router) = served();
        let bad = json!({"name": "a b", "secrets": {"password": "OpenSesame"}});

        let (status, body) = ask(&router, "POST /v1/secret/", "acme", bad).await;

        let message = body["message"].as_str().unwrap();
        assert_eq!(status, 400);
        assert!(
            message.starts_with("name should start with letter or number"),
            "{message}"
        );
        assert!(!message.contains("Sesame"), "{message}");
    }
}
