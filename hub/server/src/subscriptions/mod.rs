//! Subscriptions: kept in the store, worked by a lane of the router each.
//!
//! A subscription owes every event since it was made, and each event is judged by the filters that were in force
//! when it came (`history.rs`). Store and router change together, one change at a time; after a crash between
//! the two the store is right, because the lanes are made from it.

mod history;
mod lane;

use chrono::DateTime;
use dispatch_contract::{Progress, SubscriptionId};
use dispatch_router::{LaneStatus, Subscription as Lane};
use dispatch_schemas::{DeliveryState, Resource as _, Status, Subscription};
use dispatch_sink_http::Client;
use dispatch_store::StoreError;
use tokio::sync::Mutex;

use crate::functions::Functions;
use crate::hub::{Foundation, Hub};
use crate::rest::error::ApiError;
use lane::Sinks;

pub(crate) use lane::filter_of as filter;

/// All subscriptions of the hub.
pub(crate) struct Subscriptions {
    sinks: Sinks,
    /// Held for every change, so that the router sees changes in the order of the store.
    changes: Mutex<()>,
}

impl Subscriptions {
    /// Made before the router starts.
    pub(crate) fn new(functions: &Functions) -> Self {
        Self {
            sinks: Sinks {
                functions: functions.clone(),
                client: Client::new(),
            },
            changes: Mutex::default(),
        }
    }

    /// Closes connections to sinks that were idle for long; to be called every few seconds.
    pub(crate) fn tidy(&self) {
        self.sinks.client.tidy();
    }

    /// The lanes of all stored subscriptions, as a start finds them. One that can no longer be understood is logged
    /// and left out; it owes its events until it is changed or deleted.
    pub(crate) async fn recover(&self, foundation: &Foundation) -> Result<Vec<Lane>, StoreError> {
        let mut lanes = Vec::new();
        for (organization, subscription) in foundation.store.list_all::<Subscription>().await? {
            let progress = progress(foundation, &subscription);
            match self.sinks.lane(&organization, &subscription, progress) {
                Ok(lane) => lanes.push(lane),
                Err(error) => {
                    let name = subscription.name;
                    tracing::error!(organization, name, %error, "a stored subscription is not understood");
                }
            }
        }
        Ok(lanes)
    }

    /// Makes a subscription; it gets every event that is taken after this.
    pub(crate) async fn create(
        &self,
        hub: &Hub,
        organization: &str,
        mut subscription: Subscription,
    ) -> Result<Subscription, ApiError> {
        let head = hub.log.head();
        plain(&mut subscription);
        history::begin(&mut subscription, head);
        self.check(organization, &subscription)?;
        let _change = self.changes.lock().await;
        let created = hub.store.create(organization, &subscription).await?;
        let lane = self.sinks.lane(organization, &created, progress(hub, &created))?;
        hub.router.put(lane).await;
        Ok(shown(created))
    }

    /// Replaces a subscription. What it owes it still owes; the new filters judge what comes after this.
    pub(crate) async fn update(
        &self,
        hub: &Hub,
        organization: &str,
        name: &str,
        mut subscription: Subscription,
    ) -> Result<Subscription, ApiError> {
        plain(&mut subscription);
        let _change = self.changes.lock().await;
        let before: Subscription = hub.store.get(organization, name).await?;
        let (head, floor) = (hub.log.head(), hub.router.floor());
        history::go_on(&mut subscription, before.history, head, floor).ok_or_else(|| {
            ApiError::conflict(format!(
                "Unable to update subscription {name}: it was changed too often since the oldest event it still owes"
            ))
        })?;
        self.check(organization, &subscription)?;
        let updated = hub.store.update(organization, name, subscription).await?;
        let lane = self.sinks.lane(organization, &updated, progress(hub, &updated))?;
        hub.router.put(lane).await;
        Ok(shown(updated))
    }

    /// Removes a subscription; what it owes is dropped.
    pub(crate) async fn delete(
        &self,
        hub: &Hub,
        organization: &str,
        name: &str,
    ) -> Result<Subscription, ApiError> {
        let _change = self.changes.lock().await;
        let deleted: Subscription = hub.store.delete(organization, name).await?;
        let id = SubscriptionId(deleted.id);
        hub.router.remove(id).await;
        hub.journal.forget(id);
        Ok(shown(deleted))
    }

    /// What the resource can say of itself, and what only a lane made of it can.
    fn check(&self, organization: &str, subscription: &Subscription) -> Result<(), ApiError> {
        subscription.check()?;
        self.sinks.lane(organization, subscription, Progress::default())?;
        Ok(())
    }
}

/// What the journal says it has behind it; else all that was there before it was made.
fn progress(foundation: &Foundation, subscription: &Subscription) -> Progress {
    let known = foundation.progress.get(&SubscriptionId(subscription.id));
    known.cloned().unwrap_or_else(|| Progress {
        through: history::since(subscription),
        ..Progress::default()
    })
}

/// Without what only the hub may say.
fn plain(subscription: &mut Subscription) {
    subscription.status = Some(Status::Ready);
    subscription.reason = None;
    subscription.deliveries = None;
    subscription.history.clear();
}

/// As people see it, with how its deliveries stand.
pub(crate) fn with_state(subscription: Subscription, lane: Option<&LaneStatus>) -> Subscription {
    Subscription {
        deliveries: lane.map(state),
        ..shown(subscription)
    }
}

fn state(lane: &LaneStatus) -> DeliveryState {
    DeliveryState {
        queued: lane.queued as u64,
        in_flight: lane.in_flight as u64,
        retrying: lane.retrying as u64,
        behind_keys: lane.behind_keys as u64,
        parked_keys: lane.parked_keys as u64,
        behind: lane.behind,
        breaker: lane.breaker.as_str().to_owned(),
        concurrency: lane.concurrency as u64,
        held_until: lane.held_until.and_then(DateTime::from_timestamp_millis),
    }
}

/// As people see it.
pub(crate) fn shown(mut subscription: Subscription) -> Subscription {
    subscription.history.clear();
    subscription
}
