//! From a subscription as written to a lane of the router.

use std::collections::BTreeMap;
use std::sync::Arc;

use dispatch_contract::{DeliverySpec, Progress, Rate, Sink, SubscriptionId, parse_duration};
use dispatch_router::{Filter, FilterVersion, Subscription as Lane};
use dispatch_schemas::{
    BackoffPolicy, DeliverySettings, FiltersFrom, Invalid, Order, SinkMode, Subscription,
};
use dispatch_sink_http::{Client, HttpSink, Mode, Target};

use crate::functions::Functions;

/// Makes the sinks that subscriptions name.
pub(super) struct Sinks {
    pub(super) functions: Functions,
    pub(super) client: Client,
}

impl Sinks {
    fn of(&self, organization: &str, subscription: &Subscription) -> Result<Arc<dyn Sink>, Invalid> {
        match (&subscription.function, &subscription.sink) {
            (Some(function), _) => {
                Ok(self
                    .functions
                    .sink(organization, function, subscription.secrets.clone()))
            }
            (None, Some(sink)) => {
                let mode = match sink.mode.unwrap_or_default() {
                    SinkMode::Binary => Mode::Binary,
                    SinkMode::Structured => Mode::Structured,
                };
                self.hook("sink.uri", &sink.uri, mode)
            }
            (None, None) => Err(Invalid::new(
                "function or sink",
                "is required: a subscription has one target",
            )),
        }
    }

    fn hook(&self, field: &str, uri: &str, mode: Mode) -> Result<Arc<dyn Sink>, Invalid> {
        let target = Target::new(uri, mode).map_err(|e| Invalid::new(field, e.to_string()))?;
        Ok(Arc::new(HttpSink::new(self.client.clone(), target)))
    }

    /// The lane of a subscription with an identity. What is wrong with it is named by its place.
    pub(super) fn lane(
        &self,
        organization: &str,
        subscription: &Subscription,
        progress: Progress,
    ) -> Result<Lane, Invalid> {
        let delivery = subscription.delivery.clone().unwrap_or_default();
        let dead_letter_sink = match &delivery.dead_letter_sink {
            Some(sink) => Some(self.hook("delivery.deadLetterSink.uri", &sink.uri, Mode::Binary)?),
            None => None,
        };
        let filters: Result<Vec<FilterVersion>, Invalid> = subscription.history.iter().map(version).collect();
        Ok(Lane {
            id: SubscriptionId(subscription.id),
            organization: organization.into(),
            name: subscription.name.as_str().into(),
            filters: filters?,
            sink: self.of(organization, subscription)?,
            dead_letter_sink,
            delivery: delivery_spec(&delivery)?,
            progress,
        })
    }
}

/// What a subscription wants by its filters as they are now.
pub(crate) fn filter_of(subscription: &Subscription) -> Result<Filter, Invalid> {
    let now = FiltersFrom {
        from: 1,
        filters: subscription.all_filters(),
    };
    version(&now).map(|version| version.filter)
}

fn version(stored: &FiltersFrom) -> Result<FilterVersion, Invalid> {
    let filter = Filter::All(stored.filters.iter().map(filter).collect());
    filter
        .check()
        .map_err(|error| Invalid::new(error.place, error.problem))?;
    Ok(FilterVersion {
        from: stored.from,
        filter,
    })
}

fn filter(written: &dispatch_schemas::Filter) -> Filter {
    use dispatch_schemas::Filter as Written;
    let tests = |map: &BTreeMap<String, String>| {
        map.iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    match written {
        Written::Exact(map) => Filter::Exact(tests(map)),
        Written::Prefix(map) => Filter::Prefix(tests(map)),
        Written::Suffix(map) => Filter::Suffix(tests(map)),
        Written::All(filters) => Filter::All(filters.iter().map(filter).collect()),
        Written::Any(filters) => Filter::Any(filters.iter().map(filter).collect()),
        Written::Not(inner) => Filter::Not(Box::new(filter(inner))),
    }
}

fn delivery_spec(settings: &DeliverySettings) -> Result<DeliverySpec, Invalid> {
    let default = DeliverySpec::default();
    let duration = |field: &str, text: &Option<String>, default| match text {
        Some(text) => parse_duration(text).map_err(|e| Invalid::new(field, e.to_string())),
        None => Ok(default),
    };
    let out_of_range = |field| move |_| Invalid::new(field, "is out of range");
    Ok(DeliverySpec {
        retry: match settings.retry {
            Some(retry) => u32::try_from(retry).map_err(out_of_range("delivery.retry"))?,
            None => default.retry,
        },
        backoff_policy: match settings.backoff_policy {
            Some(BackoffPolicy::Linear) => dispatch_contract::BackoffPolicy::Linear,
            Some(BackoffPolicy::Exponential) | None => dispatch_contract::BackoffPolicy::Exponential,
        },
        backoff_delay: duration(
            "delivery.backoffDelay",
            &settings.backoff_delay,
            default.backoff_delay,
        )?,
        timeout: duration("delivery.timeout", &settings.timeout, default.timeout)?,
        max_in_flight: match settings.max_in_flight {
            Some(most) => usize::try_from(most).map_err(out_of_range("delivery.maxInFlight"))?,
            None => default.max_in_flight,
        },
        order: match settings.order {
            Some(Order::Key) => dispatch_contract::Order::Key,
            Some(Order::None) | None => dispatch_contract::Order::None,
        },
        rate: match &settings.rate {
            Some(rate) => {
                let rate = rate.as_f64().and_then(Rate::per_second);
                Some(rate.ok_or_else(|| Invalid::new("delivery.rate", "is out of range"))?)
            }
            None => None,
        },
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    #[test]
    fn delivery_settings_have_knatives_defaults_and_names() {
        assert_eq!(
            delivery_spec(&DeliverySettings::default()).unwrap(),
            DeliverySpec::default()
        );
        let settings: DeliverySettings = serde_json::from_value(json!({
            "retry": 3, "backoffPolicy": "linear", "backoffDelay": "PT1S", "timeout": "5s", "maxInFlight": 2,
            "order": "key", "rate": 2.5
        }))
        .unwrap();
        let expected = DeliverySpec {
            retry: 3,
            backoff_policy: dispatch_contract::BackoffPolicy::Linear,
            backoff_delay: Duration::from_secs(1),
            timeout: Duration::from_secs(5),
            max_in_flight: 2,
            order: dispatch_contract::Order::Key,
            rate: Rate::per_second(2.5),
        };
        assert_eq!(delivery_spec(&settings).unwrap(), expected);
    }

    #[test]
    fn filters_mean_what_they_say() {
        let written = json!([
            {"any": [{"prefix": {"type": "vm."}}, {"suffix": {"source": "/x"}}]},
            {"not": {"exact": {"subject": "vm-1"}}}
        ]);
        let stored = FiltersFrom {
            from: 1,
            filters: serde_json::from_value(written).unwrap(),
        };
        let filter = version(&stored).unwrap().filter;
        let event = |source: &str, ty: &str, subject: &str| {
            dispatch_contract::Event::builder("1", source, ty)
                .subject(subject)
                .build()
                .unwrap()
        };
        assert!(filter.matches(&event("/y", "vm.on", "vm-2")));
        assert!(filter.matches(&event("/x", "other", "vm-2")));
        assert!(!filter.matches(&event("/x", "vm.on", "vm-1")));
        assert!(!filter.matches(&event("/y", "other", "vm-2")));
    }
}
