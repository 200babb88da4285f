//! `/driver/<org>/<name>` and below: the place of a driver that listens.
//!
//! A driver that does not listen yet, or is being started again, is waited for up to [`PATIENCE`]; then the sender
//! is told when to come again. So is who asks for a driver that is not there: EventBridge, SNS and namespaces of Event
//! Grid drop what is answered with 404, and a driver may be made anew, or not be read yet by a hub that begins.
//! Nothing is sent twice: once a byte of a request went to the driver, whatever happens next is told to the sender.

use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::StatusCode;
use http::header::CONTENT_LENGTH;
use http::uri::PathAndQuery;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

use super::{DRIVERS, headers, pass_on};
use crate::door;
use crate::front::{Peer, Scheme};
use crate::hub::{App, Hub};
use crate::rest::error::ApiError;

/// How long a driver that does not listen is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(25);
/// When it is worth trying again.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// The same where somebody has to create a driver first.
const CREATED_AFTER: Duration = Duration::from_secs(60);

/// Which driver.
#[derive(Deserialize)]
pub(super) struct Place {
    organization: String,
    name: String,
}

/// Passes a request on to its driver.
pub(super) async fn serve(
    State(app): State<App>,
    Extension(Peer(peer)): Extension<Peer>,
    Extension(Scheme(scheme)): Extension<Scheme>,
    Path(place): Path<Place>,
    mut request: Request,
) -> Result<Response, ApiError> {
    let most = app.config.limits.gateway_body_bytes;
    if announced(&request).is_some_and(|length| length > most as u64) {
        door::discard(request.into_body()).await;
        return Err(pass_on::too_large(most));
    }
    let prefix = format!("{DRIVERS}/{}/{}", place.organization, place.name);
    *request.uri_mut() = below(&request)?;
    headers::drop_hop_by_hop(request.headers_mut());
    headers::say_forwarded(request.headers_mut(), peer, scheme, &prefix);
    let turn = app
        .drivers
        .passing()
        .ok_or_else(|| ApiError::unavailable("too many requests to drivers are under way", RETRY_AFTER))?;
    let stream = connected(&app, &place).await?;
    let mut response = pass_on::send(&app.tasks, turn, stream, request, most).await?;
    headers::drop_hop_by_hop(response.headers_mut());
    Ok(response.map(Body::new))
}

/// A connection to the driver, as soon as there is one.
async fn connected(app: &Hub, place: &Place) -> Result<TcpStream, ApiError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let listens = app
            .drivers
            .listens(&place.organization, &place.name)
            .ok_or_else(|| {
                ApiError::unavailable(format!("event driver {} not found", place.name), CREATED_AFTER)
            })?;
        if let Some(address) = listens
            && let Ok(Ok(stream)) = timeout_at(deadline, TcpStream::connect(address)).await
        {
            return Ok(stream);
        }
        if Instant::now() + LOOK >= deadline {
            let problem = format!("event driver {} does not listen", place.name);
            return Err(ApiError::unavailable(problem, RETRY_AFTER));
        }
        sleep(LOOK).await;
    }
}

/// What stands behind the driver's place, with the query: at least `/`. The path stays as it was written: a signature
/// may cover it.
fn below(request: &Request) -> Result<http::Uri, ApiError> {
    let wrong = || ApiError::new(StatusCode::BAD_REQUEST, "the path cannot be passed on");
    let written = request.uri().path_and_query().ok_or_else(wrong)?;
    let rest = written.path().splitn(5, '/').nth(4).unwrap_or_default();
    let below = match written.query() {
        Some(query) => format!("/{rest}?{query}"),
        None => format!("/{rest}"),
    };
    Ok(below.parse::<PathAndQuery>().map_err(|_| wrong())?.into())
}

fn announced(request: &Request) -> Option<u64> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_behind_the_drivers_place_stays_as_it_was_written() {
        for (written, expected) in [
            ("/driver/o/d", "/"),
            ("/driver/o/d/", "/"),
            ("/driver/o/d?code=1", "/?code=1"),
            ("/driver/o/d/a%2Fb//c/?x=%20", "/a%2Fb//c/?x=%20"),
        ] {
            let request = Request::builder().uri(written).body(Body::empty()).unwrap();
            assert_eq!(below(&request).unwrap().to_string(), expected, "{written}");
        }
    }
}
