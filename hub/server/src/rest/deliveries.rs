//! Deliveries that have not ended: what is still owed, and what it waits for.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Query, State};
use chrono::DateTime;
use dispatch_contract::{Event, Log, Record, Sequence, SubscriptionId};
use dispatch_schemas::PendingDelivery;
use serde::Deserialize;
use utoipa::IntoParams;

use super::error::ApiError;
use super::organization::Organization;
use super::routes::{Routes, routes};
use crate::hub::App;

const DEFAULT_LIMIT: u32 = 1000;
const MAX_LIMIT: u32 = 10_000;

/// The routes.
pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(deliveries))
}

/// Which deliveries.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Only those of the subscription with this name.
    subscription: Option<String>,
    /// At most so many. 1000 if not given, never more than 10000.
    limit: Option<u32>,
}

/// Deliveries that have not ended and were read from the journal, with attempts and the last error: the parked ones
/// first.
#[utoipa::path(get, path = "/v1/deliveries", tag = "delivery", operation_id = "getDeliveries", params(Which),
    responses((status = 200, body = [PendingDelivery]), (status = 404, body = dispatch_schemas::Error)))]
async fn deliveries(
    State(app): State<App>,
    Organization(organization): Organization,
    Query(which): Query<Which>,
) -> Result<Json<Vec<PendingDelivery>>, ApiError> {
    let mut names: HashMap<SubscriptionId, _> = app
        .router
        .statuses()
        .await
        .into_iter()
        .filter(|lane| lane.organization == organization)
        .map(|lane| (lane.subscription, lane.name))
        .collect();
    let limit = which.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT) as usize;
    let only = match which.subscription {
        None => None,
        Some(name) => {
            names.retain(|_, lane| **lane == *name);
            let id = names.keys().next().copied();
            Some(id.ok_or_else(|| ApiError::not_found(format!("subscription {name} not found")))?)
        }
    };
    let mut shown = Vec::new();
    for delivery in app.router.pending(&organization, only, limit).await {
        // What waits for its key may be nowhere but in the journal.
        let event = match delivery.event {
            Some(event) => Some(event),
            None => read(&*app.log, delivery.sequence).await,
        };
        let Some(event) = event else {
            continue;
        };
        shown.push(PendingDelivery {
            subscription: match names.get(&delivery.subscription) {
                Some(name) => name.to_string(),
                None => delivery.subscription.to_string(),
            },
            sequence: delivery.sequence,
            state: delivery.waits.as_str().to_owned(),
            key: delivery
                .in_order
                .then(|| event.key().map(str::to_owned))
                .flatten(),
            event_id: event.id().to_owned(),
            source: event.source().to_owned(),
            ty: event.ty().to_owned(),
            attempts: delivery.attempts,
            reason: delivery.failures.last().map(|failure| failure.reason.clone()),
            next_attempt: delivery.next_attempt.and_then(DateTime::from_timestamp_millis),
        });
    }
    Ok(Json(shown))
}

async fn read(log: &dyn Log, sequence: Sequence) -> Option<Event> {
    let page = log.read(sequence, 1).await.ok()?;
    let entry = page.entries.into_iter().next()?;
    match entry.record {
        Record::Event(committed) if entry.sequence == sequence => Some(committed.event),
        _ => None,
    }
}
