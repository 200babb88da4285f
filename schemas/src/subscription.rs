//! Subscriptions: filters, one target and delivery settings.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::absent::{is_zero, null_is_default};
use crate::filter::check_filters;
use crate::invalid::at_most;
use crate::name::{check_reference, check_references};
use crate::resource::resource;
use crate::sink::check_uri;
use crate::{DeliverySettings, DeliveryState, Filter, Invalid, SinkSettings, Status, Tag};

/// Which events go where, and how hard it is tried.
///
/// An event must match `eventType` and all of `filters`; at least one of the two is given. The target is
/// exactly one of `function` and `sink`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subscription {
    /// Unique per organization.
    pub name: String,
    /// Events of this type, and those whose extension `supertype` names it as what they are a special case of: short
    /// for the filter `{"any": [{"exact": {"type": …}}, {"exact": {"supertype": …}}]}`. Letters, digits, `_`, `-`,
    /// `.`; at most 128.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// CloudEvents Subscriptions API filters; all must match.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub filters: Vec<Filter>,
    /// Name of the function that gets the events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// The web hook that gets the events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<SinkSettings>,
    /// How hard it is tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<DeliverySettings>,
    /// How its deliveries stand. Set by the hub when it is asked for alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliveries: Option<DeliveryState>,
    /// What the filters were, and from which record of the journal on: for the hub alone, nobody sees it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(ignore)]
    pub history: Vec<FiltersFrom>,
    /// Names of secrets the function gets besides its own.
    #[serde(default, deserialize_with = "null_is_default")]
    pub secrets: Vec<String>,
    /// Set by the hub.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Uuid::is_nil"
    )]
    pub id: Uuid,
    /// `Subscription`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub kind: String,
    /// Set by the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Why `status` is ERROR. Set by the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Vec<String>>,
    /// Unix seconds. Set by the hub.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "is_zero"
    )]
    pub created_time: i64,
    /// Unix seconds. Set by the hub.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "is_zero"
    )]
    pub modified_time: i64,
    /// Labels.
    #[serde(default, deserialize_with = "null_is_default")]
    pub tags: Vec<Tag>,
}

/// Filters and the first record of the journal they judge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FiltersFrom {
    /// The first sequence.
    pub from: u64,
    /// All of them must match.
    pub filters: Vec<Filter>,
}

impl Subscription {
    /// All filters an event must match: `eventType` first, then `filters`.
    pub fn all_filters(&self) -> Vec<Filter> {
        let by_type = self.event_type.as_deref().map(Filter::of_type);
        by_type.into_iter().chain(self.filters.iter().cloned()).collect()
    }
}

fn check(subscription: &Subscription) -> Result<(), Invalid> {
    if let Some(ty) = &subscription.event_type {
        check_event_type("eventType", ty)?;
    }
    if subscription.event_type.is_none() && subscription.filters.is_empty() {
        return Err(Invalid::new(
            "eventType or filters",
            "is required: a subscription says which events it wants",
        ));
    }
    check_filters("filters", &subscription.filters)?;
    match (&subscription.function, &subscription.sink) {
        (Some(function), None) => check_reference("function", function)?,
        (None, Some(sink)) => check_uri("sink.uri", &sink.uri)?,
        (None, None) => {
            return Err(Invalid::new(
                "function or sink",
                "is required: a subscription has one target",
            ));
        }
        (Some(_), Some(_)) => {
            return Err(Invalid::new(
                "function and sink",
                "are both given: a subscription has one target",
            ));
        }
    }
    check_references("secrets", &subscription.secrets)?;
    subscription
        .delivery
        .as_ref()
        .map_or(Ok(()), DeliverySettings::check)
}

/// Types as the original takes them: `^[\w\d\-\.]+$`, at most 128 characters.
pub(crate) fn check_event_type(field: &str, ty: &str) -> Result<(), Invalid> {
    at_most(field, "characters", ty.len(), 128)?;
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    if !ty.is_empty() && ty.bytes().all(fine) {
        return Ok(());
    }
    Err(Invalid::new(
        field,
        "must be given and may only contain letters, numbers, underscores, dashes and dots",
    ))
}

resource!(Subscription, "Subscription", "subscription", times: [created_time, modified_time], check: check);
