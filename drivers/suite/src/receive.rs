//! The requests of a driver and their answers, as the hub gives them.

use std::time::{Instant, SystemTime};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dispatch_contract::{BATCH_CONTENT_TYPE, Event, RESERVED_TYPE_PREFIX, is_binary_mode};
use serde_json::{Value, json};

use crate::hub::{Arrived, Attempt, Kept, Mood, Shared, lock};

const MAX_BODY: usize = 16 * 1024 * 1024;
const MAX_BATCH: usize = 1000;
const MAX_CHECKPOINT: usize = 64 * 1024;

pub(crate) fn routes(kept: Shared) -> Router {
    Router::new()
        .route("/sink", post(take))
        .route("/sink/checkpoint", get(checkpoint))
        .route("/sink/health", put(health))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(kept)
}

fn answer(status: StatusCode, message: &str) -> Response {
    let body = json!({"code": status.as_u16(), "message": message});
    (status, Json(body)).into_response()
}

fn refuse(kept: &mut Kept, problem: String) -> Response {
    let answer = answer(StatusCode::BAD_REQUEST, &problem);
    kept.problems.push(problem);
    answer
}

fn denied(kept: &mut Kept, headers: &HeaderMap, required: bool) -> Option<Response> {
    let token = kept.token.as_ref()?;
    let said = headers.get("authorization").and_then(|value| value.to_str().ok());
    if said == Some(&format!("Bearer {token}")) || said.is_none() && !required {
        return None;
    }
    let problem = match said {
        Some(_) => "the bearer token is not the one in DISPATCH_TOKEN",
        None => "there is no header Authorization: Bearer $DISPATCH_TOKEN",
    };
    kept.problems.push(problem.to_owned());
    Some(answer(StatusCode::UNAUTHORIZED, problem))
}

async fn take(State(kept): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let silent = match taken(&mut lock(&kept), &headers, body) {
        Some(answer) => return answer,
        None => std::future::pending(),
    };
    silent.await
}

/// `None` when there is to be no answer.
fn taken(kept: &mut Kept, headers: &HeaderMap, body: Bytes) -> Option<Response> {
    let checkpoint = match headers
        .get("dispatch-checkpoint")
        .map(|v| STANDARD.decode(v.as_bytes()))
    {
        None => None,
        Some(Ok(bytes)) if bytes.len() <= MAX_CHECKPOINT => Some(bytes),
        Some(Ok(_)) => return Some(refuse(kept, "the checkpoint is over 64 KiB".to_owned())),
        Some(Err(error)) => return Some(refuse(kept, format!("the checkpoint is no base64: {error}"))),
    };
    if let Some(denied) = denied(kept, headers, checkpoint.is_some()) {
        return Some(denied);
    }
    let events = match events(headers, body) {
        Ok(events) => events,
        Err(problem) => return Some(refuse(kept, problem)),
    };
    if !events.is_empty() {
        let names = events.iter().map(name).collect();
        kept.attempts.push(Attempt {
            events: names,
            at: Instant::now(),
        });
        let refused = match kept.mood {
            Mood::Takes => None,
            Mood::Silent => return None,
            Mood::Refuses(status) => Some(answer(status, "refused by the test")),
            Mood::Full(seconds) => {
                let full = answer(StatusCode::SERVICE_UNAVAILABLE, "the hub is full");
                Some(([("retry-after", seconds.to_string())], full).into_response())
            }
        };
        if let Some(refused) = refused {
            kept.refused += 1;
            return Some(refused);
        }
    } else if let Mood::Refuses(status) = kept.mood {
        kept.refused += 1;
        return Some(answer(status, "refused by the test"));
    }
    if let Some(bytes) = checkpoint {
        kept.checkpoint = Some(bytes.into());
    }
    kept.posts += 1;
    let (at, all) = (SystemTime::now(), events.len());
    let mut accepted = 0;
    for event in events {
        let duplicate = !kept.known.insert(name(&event));
        accepted += usize::from(!duplicate);
        kept.arrived.push(Arrived { event, at, duplicate });
    }
    let counts = json!({"accepted": accepted, "duplicates": all - accepted});
    Some((StatusCode::ACCEPTED, Json(counts)).into_response())
}

fn name(event: &Event) -> (String, String) {
    (event.source().to_owned(), event.id().to_owned())
}

fn events(headers: &HeaderMap, body: Bytes) -> Result<Vec<Event>, String> {
    let content_type = headers
        .get("content-type")
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let read = if content_type.starts_with(BATCH_CONTENT_TYPE) {
        Event::batch_from_json(&body, MAX_BATCH)
    } else if is_binary_mode(headers) {
        Event::from_headers(headers, body).map(|event| vec![event])
    } else {
        Event::from_json(&body).map(|event| vec![event])
    };
    let events = read.map_err(|error| error.to_string())?;
    match events
        .iter()
        .find(|event| event.ty().starts_with(RESERVED_TYPE_PREFIX))
    {
        Some(event) => Err(format!(
            "type {:?}: {RESERVED_TYPE_PREFIX} is the hub's own",
            event.ty()
        )),
        None => Ok(events),
    }
}

async fn checkpoint(State(kept): State<Shared>, headers: HeaderMap) -> Response {
    let mut kept = lock(&kept);
    if let Some(denied) = denied(&mut kept, &headers, true) {
        return denied;
    }
    match kept.checkpoint.clone() {
        Some(checkpoint) => checkpoint.into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

async fn health(State(kept): State<Shared>, headers: HeaderMap, Json(health): Json<Value>) -> Response {
    let mut kept = lock(&kept);
    if let Some(denied) = denied(&mut kept, &headers, true) {
        return denied;
    }
    kept.health.push(health);
    StatusCode::NO_CONTENT.into_response()
}
