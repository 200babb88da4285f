//! Replay: events that came before, given once more to a subscription, or to the function behind an API.
//!
//! As with a redriven dead letter, the event is appended once more with its target, so that nobody else sees it, and it
//! is delivered as any other: durably, with retries, in order, at the subscription's rate. Only what came from
//! outside a replay is replayed: what has a target is passed over. One request looks at a bounded piece of the
//! journal and says where to go on; so it does when the journal takes no more in the middle, for what was
//! appended will be delivered and must not be asked for again.

mod batch;

use std::ops::Range;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use dispatch_contract::{Committed, Event, Log, Page, Record, Sequence, SubscriptionId};
use dispatch_schemas::{Api, Subscription};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use self::batch::Batch;
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
    /// Not all of the span was looked at, or not all could be taken: say this as `after` to go on.
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
    let _alone = app.redrive.lock().await;
    replay(&*app.log, organization, target, asked, wanted).await
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
    let _alone = app.redrive.lock().await;
    replay(&*app.log, organization, target, asked, wanted).await
}

async fn replay(
    log: &dyn Log,
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
    let span = asked.since.timestamp_millis()..until.timestamp_millis();
    let (start, end) = (first_at(log, span.start).await?, first_at(log, span.end).await?);
    let from = start.max(asked.after.map_or(0, |after| after.saturating_add(1)));
    let mine = |committed: &Committed| {
        committed.target.is_none()
            && committed.organization == *organization
            && span.contains(&committed.arrival)
    };
    let mut batch = Batch::new(log, organization, target, limit);
    match fill(&mut batch, log, from..end, |committed| match mine(committed) {
        true => wanted(&committed.event),
        false => Ok(None),
    })
    .await
    {
        Ok(next) => Ok(Replayed {
            replayed: batch.appended(),
            next,
        }),
        Err(error) => match batch.through() {
            Some(through) => {
                tracing::warn!(error = error.message, through, "a replay broke off");
                Ok(Replayed {
                    replayed: batch.appended(),
                    next: Some(through),
                })
            }
            None => Err(error),
        },
    }
}

/// Appends what is wanted; behind which sequence to go on if that is not all.
async fn fill(
    batch: &mut Batch<'_>,
    log: &dyn Log,
    span: Range<Sequence>,
    wanted: impl Fn(&Committed) -> Result<Option<Event>, ApiError>,
) -> Result<Option<Sequence>, ApiError> {
    let Range { start: mut next, end } = span;
    for _ in 0..MAX_PAGES {
        if next >= end {
            break;
        }
        let page = read(log, next, PAGE_BYTES).await?;
        for entry in page.entries.into_iter().take_while(|entry| entry.sequence < end) {
            let Record::Event(committed) = &entry.record else {
                continue;
            };
            if let Some(event) = wanted(committed)? {
                batch.put(entry.sequence, event).await?;
            }
            if batch.is_full() {
                batch.append().await?;
                return Ok(Some(entry.sequence).filter(|at| at + 1 < end));
            }
        }
        // Nothing that can be read follows.
        next = if page.next > next { page.next } else { end };
    }
    batch.append().await?;
    Ok((next < end).then(|| next - 1))
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

async fn read(log: &dyn Log, from: Sequence, bytes: usize) -> Result<Page, ApiError> {
    log.read(from, bytes)
        .await
        .map_err(|error| ApiError::internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use dispatch_contract::{AppendError, Appended, Group, NewEvent, ReadError, Tail};
    use dispatch_journal::Journal;
    use futures_util::future::{BoxFuture, FutureExt as _, ready};
    use uuid::Uuid;

    use super::*;

    /// A journal whose disk is full after so many groups.
    struct Filling {
        journal: Journal,
        groups: AtomicUsize,
    }

    impl Filling {
        fn room(&self, groups: usize) {
            self.groups.store(groups, Ordering::Relaxed);
        }
    }

    impl Log for Filling {
        fn append(&self, group: Group) -> BoxFuture<'_, Result<Appended, AppendError>> {
            match self.groups.load(Ordering::Relaxed) {
                0 => ready(Err(AppendError::Unavailable {
                    reason: "no space left on device".into(),
                    retry_after: Duration::from_secs(2),
                }))
                .boxed(),
                left => {
                    self.room(left - 1);
                    self.journal.append(group)
                }
            }
        }
        fn note(&self, group: Group) -> BoxFuture<'_, Result<(), AppendError>> {
            self.journal.note(group)
        }
        fn read(&self, from: Sequence, max_bytes: usize) -> BoxFuture<'_, Result<Page, ReadError>> {
            self.journal.read(from, max_bytes)
        }
        fn tail(&self, from: Sequence) -> Box<dyn Tail> {
            self.journal.tail(from)
        }
        fn head(&self) -> Sequence {
            self.journal.head()
        }
    }

    const ALL: SubscriptionId = SubscriptionId(Uuid::nil());

    async fn with_events(folder: &std::path::Path, count: usize, bytes: usize) -> Filling {
        let options = dispatch_journal::Options::default();
        let (journal, _) = Journal::open(folder, options).unwrap();
        for n in 0..count {
            let text = format!("\"{}\"", "x".repeat(bytes));
            let event = Event::builder(format!("{n:04}"), "/s", "t").json(text);
            let events = vec![NewEvent {
                organization: "o".into(),
                event: event.build().unwrap(),
                target: None,
            }];
            let group = Group {
                events,
                ..Group::default()
            };
            match n + 1 == count {
                true => drop(journal.append(group).await.unwrap()),
                false => journal.note(group).await.unwrap(),
            }
        }
        Filling {
            journal,
            groups: AtomicUsize::new(usize::MAX),
        }
    }

    async fn ask(log: &Filling, after: Option<Sequence>) -> Result<Replayed, ApiError> {
        let asked = Replay {
            since: DateTime::UNIX_EPOCH,
            until: Some(Utc::now() + Duration::from_secs(3600)),
            after,
            limit: None,
        };
        let wanted = |event: &Event| Ok(Some(event.clone()));
        replay(log, &"o".into(), ALL, asked, wanted).await
    }

    /// Ids of the events that were appended for the subscription, in order.
    async fn given(log: &Filling) -> Vec<String> {
        let (mut ids, mut next) = (Vec::new(), 1);
        while next <= log.head() {
            let page = log.read(next, 16 << 20).await.unwrap();
            ids.extend(page.entries.iter().filter_map(|entry| match &entry.record {
                Record::Event(one) if one.target == Some(ALL) => Some(one.event.id().to_owned()),
                _ => None,
            }));
            next = page.next;
        }
        ids
    }

    #[tokio::test]
    async fn a_replay_that_the_journal_cuts_short_goes_on_where_it_was_and_gives_nothing_twice() {
        let folder = tempfile::tempdir().unwrap();
        let log = with_events(folder.path(), 600, 1).await;

        log.room(2);
        let some = ask(&log, None).await.unwrap();
        let none = ask(&log, some.next).await.unwrap_err();
        log.room(usize::MAX);
        let rest = ask(&log, some.next).await.unwrap();

        assert_eq!((some.replayed, some.next), (512, Some(512)));
        assert_eq!(none.retry_after, Some(Duration::from_secs(2)));
        assert_eq!((rest.replayed, rest.next), (88, None));
        let all: Vec<String> = (0..600).map(|n| format!("{n:04}")).collect();
        assert_eq!(given(&log).await, all);
    }

    #[tokio::test]
    async fn large_events_are_not_put_into_a_group_that_no_journal_takes() {
        let folder = tempfile::tempdir().unwrap();
        let log = with_events(folder.path(), 3, 9 << 20).await;

        let all = ask(&log, None).await.unwrap();

        assert_eq!((all.replayed, all.next), (3, None));
        assert_eq!(given(&log).await, ["0000", "0001", "0002"]);
    }
}
