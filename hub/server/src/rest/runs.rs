//! Runs: calling a function, and what became of every call.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::header::LINK;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use dispatch_schemas::{Run, Status};
use dispatch_store::{RunCursor, RunCursorError, RunQuery};
use futures_util::stream::{self, Stream, StreamExt as _};
use serde::Deserialize;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use utoipa::IntoParams;
use uuid::Uuid;

use super::error::ApiError;
use super::organization::Organization;
use super::routes::{Routes, routes};
use super::tags::Tagged;
use crate::functions::{Exec, Listed};
use crate::hub::App;
use crate::stream::LiveRun;

/// The routes of this resource.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list, exec))
        .routes(routes!(get, cancel))
        .routes(routes!(rerun))
}

/// Runs of one page.
const MAX_LIMIT: u32 = 1000;

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
    /// Those with this status: INITIALIZED, CREATING, READY or ERROR.
    status: Option<String>,
    /// At most so many, the newest. 1000 if not given, never more; fewer when they are large.
    limit: Option<u32>,
    /// Those that follow the last one of the page before, named `<executedTime>-<name>`. A page has the next one's
    /// address in `Link` if there may be one.
    after: Option<String>,
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
    let asked = asked(&body)?;
    let given = |name: &String| !name.is_empty();
    let name = called
        .function_name
        .filter(given)
        .or(Some(asked.function_name.clone()).filter(given));
    let Some(name) = name else {
        return Err(ApiError::bad_request("Bad Request: No function specified"));
    };
    Ok(told(app.functions.exec(&organization, &name, asked).await?))
}

/// The runs of the organization, newest first; or, with `follow`, as they happen.
#[utoipa::path(get, path = "/v1/runs", tag = "run", operation_id = "getRuns", params(Which, Tagged),
    responses((status = 200, body = [Run]), (status = 400, body = dispatch_schemas::Error)))]
async fn list(
    State(app): State<App>,
    Organization(organization): Organization,
    uri: Uri,
    Query(which): Query<Which>,
    Query(tagged): Query<Tagged>,
) -> Result<Response, ApiError> {
    let query = RunQuery {
        function: which.function_name,
        status: which.status.as_deref().map(status).transpose()?,
        application: tagged.application()?.map(str::to_owned),
        since: which.since,
        after: which.after.as_deref().map(cursor).transpose()?,
        limit: Some(which.limit.unwrap_or(MAX_LIMIT).min(MAX_LIMIT)),
        ..RunQuery::default()
    };
    if which.follow {
        let wanted = move |live: &LiveRun| *live.organization == *organization && query.wants(&live.run);
        let runs = follow(app.live.follow_runs(), wanted).take_until(app.shutdown.clone().cancelled_owned());
        return Ok(Sse::new(runs).keep_alive(KeepAlive::default()).into_response());
    }
    let Listed { runs, more } = app.functions.runs(&organization, query).await?;
    let next = runs.last().filter(|_| more).map(|last| next_page(&uri, last));
    let mut response = Json(runs).into_response();
    if let Some(next) = next.and_then(|next| HeaderValue::from_str(&next).ok()) {
        response.headers_mut().insert(LINK, next);
    }
    Ok(response)
}

/// The address of the page after this run: the one that was asked for with another `after`.
fn next_page(uri: &Uri, last: &Run) -> String {
    let asked = uri.query().unwrap_or_default().split('&');
    let kept = asked.filter(|pair| !pair.is_empty() && !pair.starts_with("after="));
    let after = format!("after={}-{}", last.executed_time, last.name);
    let query: Vec<&str> = kept.chain([after.as_str()]).collect();
    format!("<{}?{}>; rel=\"next\"", uri.path(), query.join("&"))
}

fn status(word: &str) -> Result<Status, ApiError> {
    let known = [
        Status::Initialized,
        Status::Creating,
        Status::Ready,
        Status::Error,
    ];
    let found = Status::named(word).filter(|status| known.contains(status));
    found.ok_or_else(|| {
        ApiError::bad_request(format!(
            "status: is {word:?}; must be INITIALIZED, CREATING, READY or ERROR"
        ))
    })
}

fn cursor(text: &str) -> Result<RunCursor, ApiError> {
    text.parse()
        .map_err(|error: RunCursorError| ApiError::bad_request(format!("after: is {text:?}; {error}")))
}

fn id(name: &str) -> Result<Uuid, ApiError> {
    Uuid::parse_str(name).map_err(|_| ApiError::not_found(format!("run {name} not found")))
}

fn asked(body: &Bytes) -> Result<Run, ApiError> {
    match body.trim_ascii().is_empty() {
        true => Ok(Run::default()),
        false => serde_json::from_slice(body)
            .map_err(|e| ApiError::bad_request(format!("Bad Request: Invalid Payload: {e}"))),
    }
}

fn told(exec: Exec) -> (StatusCode, Json<Arc<Run>>) {
    match exec {
        Exec::Ended(run) => (StatusCode::OK, Json(run)),
        Exec::Taken(run) => (StatusCode::ACCEPTED, Json(run)),
    }
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
    Ok(Json(app.functions.run(&organization, id(&name)?).await?))
}

/// Cancels a run that has not ended: the call under way ends, what has not begun never does. It is then in ERROR.
#[utoipa::path(delete, path = "/v1/runs/{runName}", tag = "run", operation_id = "cancelRun",
    params(("runName" = String, Path, description = "Name of the run, a UUID")),
    responses((status = 200, body = Run), (status = 404, body = dispatch_schemas::Error),
        (status = 409, body = dispatch_schemas::Error, description = "It has ended")))]
async fn cancel(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
) -> Result<Json<Arc<Run>>, ApiError> {
    Ok(Json(app.functions.cancel(&organization, id(&name)?).await?))
}

/// Calls the function of a run once more, as it was called then. `input`, `secrets` and `tags` of the body stand for
/// what the run had; with `blocking` it answers when the new run has ended.
#[utoipa::path(post, path = "/v1/runs/{runName}/rerun", tag = "run", operation_id = "rerun", request_body = Run,
    params(("runName" = String, Path, description = "Name of the run, a UUID")),
    responses((status = 200, body = Run, description = "The new run has ended, as its status says"),
        (status = 202, body = Run, description = "The call is durable and will run"), (status = 400, body = dispatch_schemas::Error),
        (status = 404, body = dispatch_schemas::Error), (status = 409, body = dispatch_schemas::Error), (status = 413, body = dispatch_schemas::Error)))]
async fn rerun(
    State(app): State<App>,
    Organization(organization): Organization,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<(StatusCode, Json<Arc<Run>>), ApiError> {
    let again = app.functions.run_again(&organization, id(&name)?, asked(&body)?);
    Ok(told(again.await?))
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
