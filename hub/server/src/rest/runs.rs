//! Runs: calling a function, and what became of every call.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use dispatch_schemas::Run;
use dispatch_store::RunQuery;
use futures_util::stream::{self, Stream, StreamExt as _};
use serde::Deserialize;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::error::ApiError;
use super::organization::Organization;
use super::tags::{Tagged, is_tagged};
use crate::functions::Exec;
use crate::hub::App;
use crate::stream::LiveRun;

/// The routes of this resource.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, exec))
        .routes(routes!(get))
}

/// Which function.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
struct Called {
    /// Name of the function; the body may say it instead.
    function_name: Option<String>,
}

/// Which runs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
struct Which {
    /// Those of this function.
    function_name: Option<String>,
    /// Those that began or ended at or after this, Unix seconds.
    since: Option<i64>,
    /// The newest so many.
    limit: Option<u32>,
    /// From now on, each after every attempt, as server-sent events whose data is the run.
    #[serde(default)]
    follow: bool,
}

/// Calls a function. With `blocking` it answers when the run has ended, well or not; else at once.
#[utoipa::path(post, path = "/v1/runs", tag = "run", operation_id = "runFunction", params(Called), request_body = Run,
    responses((status = 200, body = Run, description = "The run has ended, as its status says"),
        (status = 202, body = Run, description = "The call is durable and will run"), (status = 400, body = dispatch_schemas::Error),
        (status = 404, body = dispatch_schemas::Error), (status = 409, body = dispatch_schemas::Error), (status = 413, body = dispatch_schemas::Error)))]
async fn exec(
    State(app): State<App>,
    Organization(organization): Organization,
    Query(called): Query<Called>,
    body: Bytes,
) -> Result<(StatusCode, Json<Arc<Run>>), ApiError> {
    let asked: Run = match body.trim_ascii().is_empty() {
        true => Run::default(),
        false => serde_json::from_slice(&body)
            .map_err(|e| ApiError::bad_request(format!("Bad Request: Invalid Payload: {e}")))?,
    };
    let given = |name: &String| !name.is_empty();
    let name = called
        .function_name
        .filter(given)
        .or(Some(asked.function_name.clone()).filter(given));
    let Some(name) = name else {
        return Err(ApiError::bad_request("Bad Request: No function specified"));
    };
    Ok(match app.functions.exec(&organization, &name, asked).await? {
        Exec::Ended(run) => (StatusCode::OK, Json(run)),
        Exec::Taken(run) => (StatusCode::ACCEPTED, Json(run)),
    })
}

/// The runs of the organization, newest first; or, with `follow`, as they happen.
#[utoipa::path(get, path = "/v1/runs", tag = "run", operation_id = "getRuns", params(Which, Tagged),
    responses((status = 200, body = [Run]), (status = 400, body = dispatch_schemas::Error)))]
async fn list(
    State(app): State<App>,
    Organization(organization): Organization,
    Query(which): Query<Which>,
    Query(tagged): Query<Tagged>,
) -> Result<Response, ApiError> {
    let application = tagged.application()?.map(str::to_owned);
    let wanted = move |run: &Run| application.as_deref().is_none_or(|a| is_tagged(&run.tags, a));
    if which.follow {
        let function = which.function_name;
        let wanted = move |live: &LiveRun| {
            live.organization == organization
                && function.as_deref().is_none_or(|f| f == live.run.function_name)
                && wanted(&live.run)
        };
        let runs = follow(app.live.follow_runs(), wanted).take_until(app.shutdown.clone().cancelled_owned());
        return Ok(Sse::new(runs).keep_alive(KeepAlive::default()).into_response());
    }
    let query = RunQuery {
        function: which.function_name,
        since: which.since,
        limit: which.limit,
    };
    let mut runs = app.functions.runs(&organization, query).await?;
    runs.retain(|run| wanted(run));
    Ok(Json(runs).into_response())
}

/// One run.
#[utoipa::path(get, path = "/v1/runs/{runName}", tag = "run", operation_id = "getRun",
    params(("runName" = String, Path, description = "Name of the run, a UUID")),
    responses((status = 200, body = Run), (status = 404, body = dispatch_schemas::Error)))]
async fn get(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
) -> Result<Json<Arc<Run>>, ApiError> {
    let Ok(id) = Uuid::parse_str(&name) else {
        return Err(ApiError::not_found(format!("run {name} not found")));
    };
    Ok(Json(app.functions.run(&organization, id).await?))
}

/// Runs as server-sent events. A follower that is too slow hears how many it missed, as a comment.
fn follow(
    runs: Receiver<LiveRun>,
    wanted: impl Fn(&LiveRun) -> bool + Send + 'static,
) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    stream::unfold((runs, wanted), |(mut runs, wanted)| async move {
        loop {
            let event = match runs.recv().await {
                Ok(live) if !wanted(&live) => continue,
                Ok(live) => match Event::default().json_data(&*live.run) {
                    Ok(event) => event,
                    Err(error) => Event::default().comment(format!("a run cannot be shown: {error}")),
                },
                Err(RecvError::Lagged(missed)) => Event::default().comment(format!("missed {missed} runs")),
                Err(RecvError::Closed) => return None,
            };
            return Some((Ok(event), (runs, wanted)));
        }
    })
}
