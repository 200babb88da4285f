//! A subscription as the router sees it: what it wants, where it goes, how hard to try.

use std::sync::Arc;

use dispatch_contract::{DeliverySpec, Progress, Sequence, Sink, SubscriptionId};

use crate::filter::Filter;

/// What the router delivers by.
#[derive(Clone)]
pub struct Subscription {
    /// Its identity; a new one for each that is created.
    pub id: SubscriptionId,
    /// Organization whose events it sees.
    pub organization: Arc<str>,
    /// Its name, for people.
    pub name: Arc<str>,
    /// Its filters through time, by ascending `from`. None: it gets only events that target it.
    pub filters: Vec<FilterVersion>,
    /// Where its events go.
    pub sink: Arc<dyn Sink>,
    /// Where events go that could not be delivered.
    pub dead_letter_sink: Option<Arc<dyn Sink>>,
    /// How hard to try.
    pub delivery: DeliverySpec,
    /// What it has behind it. A new subscription starts with the log's head in `through`, else it reads the
    /// whole log. Of no meaning when a subscription that the router knows is changed.
    pub progress: Progress,
}

/// A filter and the first event it judges. An event is judged by the last version that is not after it,
/// and by none if it came before the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterVersion {
    /// The first sequence.
    pub from: Sequence,
    /// A [`Filter::All`] of the subscription's filters.
    pub filter: Filter,
}
