//! What a replay is about to append, and how much it has.

use std::mem::take;
use std::sync::Arc;

use dispatch_contract::{Event, Group, Log, NewEvent, Sequence, SubscriptionId};

use crate::rest::error::ApiError;

/// Events of one group.
const GROUP_EVENTS: usize = 256;
/// The most bytes of one group, but for an event that is larger by itself.
const GROUP_BYTES: usize = 4 << 20;

/// Events for one subscription, appended in groups.
pub(super) struct Batch<'a> {
    log: &'a dyn Log,
    organization: &'a Arc<str>,
    target: SubscriptionId,
    /// Events in all.
    limit: usize,
    /// Not appended yet.
    events: Vec<NewEvent>,
    bytes: usize,
    /// Where the last of them was before.
    newest: Sequence,
    appended: usize,
    /// Where the last of those that were appended was before.
    through: Option<Sequence>,
}

impl<'a> Batch<'a> {
    /// At most so many events, for this subscription.
    pub(super) fn new(
        log: &'a dyn Log,
        organization: &'a Arc<str>,
        target: SubscriptionId,
        limit: usize,
    ) -> Self {
        Self {
            log,
            organization,
            target,
            limit,
            events: Vec::new(),
            bytes: 0,
            newest: 0,
            appended: 0,
            through: None,
        }
    }

    /// Events that are durable.
    pub(super) fn appended(&self) -> usize {
        self.appended
    }

    /// Up to where all are.
    pub(super) fn through(&self) -> Option<Sequence> {
        self.through
    }

    pub(super) fn is_full(&self) -> bool {
        self.appended + self.events.len() >= self.limit
    }

    /// One more, which came from there.
    pub(super) async fn put(&mut self, from: Sequence, event: Event) -> Result<(), ApiError> {
        let bytes = event.encoded().len();
        if self.events.len() >= GROUP_EVENTS || self.bytes + bytes > GROUP_BYTES {
            self.append().await?;
        }
        self.bytes += bytes;
        self.newest = from;
        self.events.push(NewEvent {
            organization: Arc::clone(self.organization),
            event,
            target: Some(self.target),
        });
        Ok(())
    }

    /// Makes durable what is not. After an error that is lost, and nothing else.
    pub(super) async fn append(&mut self) -> Result<(), ApiError> {
        let events = take(&mut self.events);
        self.bytes = 0;
        if events.is_empty() {
            return Ok(());
        }
        let count = events.len();
        let group = Group {
            events,
            ..Group::default()
        };
        self.log.append(group).await?;
        self.appended += count;
        self.through = Some(self.newest);
        Ok(())
    }
}
