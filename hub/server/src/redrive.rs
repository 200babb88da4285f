//! Giving dead letters to their subscriptions again.
//!
//! The event is appended once more with its subscription as the target, so nobody else sees it; in the same
//! group goes the internal event that says which letters these were. One redrive at a time: two at once would
//! deliver twice.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::Utc;
use dispatch_contract::{Event, Group, NewEvent, SubscriptionId};
use dispatch_schemas::{Resource as _, Subscription};
use dispatch_store::{DeadLetterKey, DeadLetterQuery, DeadLetterRow, StoreError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::hub::App;
use crate::rest::error::ApiError;

/// Type of the internal event that names redriven letters.
pub(crate) const REDRIVEN_TYPE: &str = "dispatch.deadletters.redriven";
const SOURCE: &str = "/dispatch/deadletters";
/// Events of one group.
const GROUP_EVENTS: usize = 256;
/// About the most bytes of one group.
const GROUP_BYTES: usize = 4 << 20;

/// How many letters went again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Redriven {
    /// Given to their subscriptions again.
    redriven: usize,
    /// Not given to anybody: their subscription is gone.
    skipped: usize,
}

/// Data of the internal event.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RedrivenLetters {
    /// Ids of the letters.
    pub(crate) ids: Vec<String>,
}

/// Redrives all letters of an organization, or of one subscription.
pub(crate) async fn all(
    app: &App,
    organization: &Arc<str>,
    subscription: Option<String>,
) -> Result<Redriven, ApiError> {
    let _alone = app.redrive.lock().await;
    let mut total = Redriven::default();
    let mut targets = HashMap::new();
    let mut after = None;
    loop {
        let query = DeadLetterQuery {
            subscription: subscription.clone(),
            redriven: false,
            after,
            limit: Some(GROUP_EVENTS as u32),
        };
        let rows = app.store.dead_letters(organization, query).await?;
        let Some(last) = rows.last() else {
            return Ok(total);
        };
        after = Some(last.key);
        again(app, organization, rows, &mut targets, &mut total).await?;
    }
}

/// Redrives these letters; 404 if one is not there.
pub(crate) async fn these(
    app: &App,
    organization: &Arc<str>,
    subscription: Option<&str>,
    keys: Vec<DeadLetterKey>,
) -> Result<Redriven, ApiError> {
    let _alone = app.redrive.lock().await;
    for key in &keys {
        app.store.dead_letter(organization, *key).await?;
    }
    let mut total = Redriven::default();
    let mut targets = HashMap::new();
    for some in keys.chunks(GROUP_EVENTS) {
        let mut rows = Vec::with_capacity(some.len());
        for key in some {
            let row = app.store.dead_letter(organization, *key).await?;
            if subscription.is_none_or(|name| name == row.subscription_name) {
                rows.push(row);
            }
        }
        again(app, organization, rows, &mut targets, &mut total).await?;
    }
    Ok(total)
}

async fn again(
    app: &App,
    organization: &Arc<str>,
    rows: Vec<DeadLetterRow>,
    targets: &mut HashMap<SubscriptionId, Option<SubscriptionId>>,
    total: &mut Redriven,
) -> Result<(), ApiError> {
    let mut group = Vec::new();
    let mut bytes = 0;
    for row in rows {
        let key = row.key;
        let target = match targets.get(&key.subscription) {
            Some(known) => *known,
            None => {
                let found = target(app, organization, &row).await?;
                targets.insert(key.subscription, found);
                found
            }
        };
        let Some(target) = target else {
            total.skipped += 1;
            continue;
        };
        bytes += row.event.encoded().len();
        group.push((key, target, row.event));
        if bytes >= GROUP_BYTES {
            total.redriven += append(app, organization, std::mem::take(&mut group)).await?;
            bytes = 0;
        }
    }
    total.redriven += append(app, organization, group).await?;
    Ok(())
}

/// The subscription that gave up, or the one that has its name now.
async fn target(
    app: &App,
    organization: &str,
    row: &DeadLetterRow,
) -> Result<Option<SubscriptionId>, ApiError> {
    if app.router.status(row.key.subscription).await.is_some() {
        return Ok(Some(row.key.subscription));
    }
    match app
        .store
        .get::<Subscription>(organization, &row.subscription_name)
        .await
    {
        Ok(subscription) => Ok(Some(SubscriptionId(subscription.id()))),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn append(
    app: &App,
    organization: &Arc<str>,
    letters: Vec<(DeadLetterKey, SubscriptionId, Event)>,
) -> Result<usize, ApiError> {
    if letters.is_empty() {
        return Ok(0);
    }
    let keys: Vec<DeadLetterKey> = letters.iter().map(|(key, ..)| *key).collect();
    let named = RedrivenLetters {
        ids: keys.iter().map(DeadLetterKey::to_string).collect(),
    };
    let note = serde_json::to_vec(&named).map_err(|error| ApiError::internal(error.to_string()))?;
    let note = Event::builder(Uuid::now_v7().to_string(), SOURCE, REDRIVEN_TYPE)
        .time(Utc::now())
        .json(note)
        .build()?;
    let new = |event, target| NewEvent {
        organization: organization.clone(),
        event,
        target,
    };
    let mut group = Group::default();
    group.events.push(new(note, None));
    let again = letters
        .into_iter()
        .map(|(_, target, event)| new(event, Some(target)));
    group.events.extend(again);
    app.log.append(group).await?;
    let count = keys.len();
    app.store
        .mark_redriven(organization, keys, Utc::now().timestamp_millis())
        .await?;
    Ok(count)
}
