//! Replay: events that came before, given once more to a subscription, or to the function behind an API.
//!
//! As with a redriven dead letter, the event is appended once more with its target, so that nobody else sees it, and it
//! is delivered as any other: durably, with retries, in order, at the subscription's rate. Only what came from
//! outside a replay is replayed: what has a target is passed over. One request looks at a bounded piece of the
//! journal and says where to go on.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use dispatch_contract::{Committed, Event, Group, Log, NewEvent, Record, Sequence, SubscriptionId};
use dispatch_schemas::{Api, Subscription};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::hub::App;
use crate::rest::error::ApiError;
use crate::subscriptions;

/// Events of one request at most.
const MAX_EVENTS: usize = 10_000;
/// About the most of the journal one request looks at.
const MAX_PAGES: usize = 256;
const PAGE_BYTES: usize = 1 << 20;
/// A look for a moment needs no more.
const PROBE_BYTES: usize = 64 << 10;
/// Events of one group.
const GROUP_EVENTS: usize = 256;
/// About the most bytes of one group.
const GROUP_BYTES: usize = 4 << 20;

/// Which events: those of a span of time, by when they arrived here.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Replay {
    /// Those that arrived at or after this.
    since: DateTime<Utc>,
    /// Those that arrived before this; before now if not given.
    #[serde(default)]
    until: Option<DateTime<Utc>>,
    /// Only those behind this one: `next` of the answer before.
    #[serde(default)]
    after: Option<Sequence>,
    /// At most so many, the oldest. 10000 if not given, never more.
    #[serde(default)]
    limit: Option<usize>,
}

/// How many were given once more.
#[derive(Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Replayed {
    replayed: usize,
    /// Not all of the span was looked at: say this as `after` to go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Sequence>,
}

/// Gives a subscription the events that its filters, as they are now, want.
pub(crate) async fn to_subscription(
    app: &App,
    organization: &Arc<str>,
    name: &str,
    asked: Replay,
) -> Result<Replayed, ApiError> {
    let subscription: Subscription = app.store.get(organization, name).await?;
    let filter = subscriptions::filter(&subscription)?;
    let target = SubscriptionId(subscription.id);
    let wanted = |event: &Event| Ok(filter.matches(event).then(|| event.clone()));
    replay(app, organization, target, asked, wanted).await
}

/// Calls the function of an API as it was called through the API.
pub(crate) async fn to_api(
    app: &App,
    organization: &Arc<str>,
    name: &str,
    asked: Replay,
) -> Result<Replayed, ApiError> {
    let api: Api = app.store.get(organization, name).await?;
    let target = app.functions.target(organization, &api.function)?;
    let wanted = |event: &Event| app.functions.call_again(event, name, &api.function);
    replay(app, organization, target, asked, wanted).await
}

async fn replay(
    app: &App,
    organization: &Arc<str>,
    target: SubscriptionId,
    asked: Replay,
    wanted: impl Fn(&Event) -> Result<Option<Event>, ApiError>,
) -> Result<Replayed, ApiError> {
    let until = asked.until.unwrap_or_else(Utc::now);
    if until < asked.since {
        return Err(ApiError::bad_request("until: is before since"));
    }
    let limit = match asked.limit {
        Some(0) => return Err(ApiError::bad_request("limit: must be at least 1")),
        limit => limit.unwrap_or(MAX_EVENTS).min(MAX_EVENTS),
    };
    let _alone = app.redrive.lock().await;
    let span = asked.since.timestamp_millis()..until.timestamp_millis();
    let log = app.log.as_ref();
    let (start, end) = (first_at(log, span.start).await?, first_at(log, span.end).await?);
    let mut next = start.max(asked.after.map_or(0, |after| after.saturating_add(1)));
    let mut batch = Batch::new(organization, target);
    for _ in 0..MAX_PAGES {
        if next >= end {
            break;
        }
        let page = read(log, next, PAGE_BYTES).await?;
        for entry in page.entries {
            let Record::Event(committed) = &entry.record else {
                continue;
            };
            let mine = committed.target.is_none()
                && committed.organization == *organization
                && span.contains(&committed.arrival);
            if entry.sequence >= end || !mine {
                continue;
            }
            if let Some(event) = wanted(&committed.event)? {
                batch.put(app, event).await?;
            }
            if batch.count() == limit {
                let replayed = batch.end(app).await?;
                let next = Some(entry.sequence).filter(|at| at + 1 < end);
                return Ok(Replayed { replayed, next });
            }
        }
        // Nothing that can be read follows.
        next = if page.next > next { page.next } else { end };
    }
    Ok(Replayed {
        replayed: batch.end(app).await?,
        next: (next < end).then(|| next - 1),
    })
}

/// What is about to be appended, and how much was.
struct Batch<'a> {
    organization: &'a Arc<str>,
    target: SubscriptionId,
    events: Vec<Event>,
    bytes: usize,
    appended: usize,
}

impl<'a> Batch<'a> {
    fn new(organization: &'a Arc<str>, target: SubscriptionId) -> Self {
        Self {
            organization,
            target,
            events: Vec::new(),
            bytes: 0,
            appended: 0,
        }
    }

    fn count(&self) -> usize {
        self.appended + self.events.len()
    }

    async fn put(&mut self, app: &App, event: Event) -> Result<(), ApiError> {
        self.bytes += event.encoded().len();
        self.events.push(event);
        match self.events.len() >= GROUP_EVENTS || self.bytes >= GROUP_BYTES {
            true => self.append(app).await,
            false => Ok(()),
        }
    }

    async fn append(&mut self, app: &App) -> Result<(), ApiError> {
        let events: Vec<NewEvent> = std::mem::take(&mut self.events)
            .into_iter()
            .map(|event| NewEvent {
                organization: Arc::clone(self.organization),
                event,
                target: Some(self.target),
            })
            .collect();
        self.bytes = 0;
        if events.is_empty() {
            return Ok(());
        }
        let count = events.len();
        let group = Group {
            events,
            ..Group::default()
        };
        app.log.append(group).await?;
        self.appended += count;
        Ok(())
    }

    async fn end(mut self, app: &App) -> Result<usize, ApiError> {
        self.append(app).await?;
        Ok(self.appended)
    }
}

/// Before which sequence everything arrived before `moment`. Found by halves: arrivals grow with sequences, but for what a
/// clock that is set back does; those events are judged one by one.
async fn first_at(log: &dyn Log, moment: i64) -> Result<Sequence, ApiError> {
    let (mut low, mut high) = (1, log.head() + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        match event_from(log, middle, high).await? {
            Some((sequence, committed)) if committed.arrival < moment => low = sequence + 1,
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}

/// The first event from `from` on, before `until`.
async fn event_from(
    log: &dyn Log,
    from: Sequence,
    until: Sequence,
) -> Result<Option<(Sequence, Committed)>, ApiError> {
    let mut next = from;
    while next < until {
        let page = read(log, next, PROBE_BYTES).await?;
        for entry in page.entries {
            if entry.sequence >= until {
                return Ok(None);
            }
            if let Record::Event(committed) = entry.record {
                return Ok(Some((entry.sequence, committed)));
            }
        }
        if page.next <= next {
            break;
        }
        next = page.next;
    }
    Ok(None)
}

async fn read(log: &dyn Log, from: Sequence, bytes: usize) -> Result<dispatch_contract::Page, ApiError> {
    log.read(from, bytes)
        .await
        .map_err(|error| ApiError::internal(error.to_string()))
}
