//! How hard a subscription tries, as people write it: Knative's `DeliverySpec`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Invalid;
use crate::duration::check_duration;
use crate::sink::check_uri;

const LOWEST_RATE: f64 = 0.001;
const HIGHEST_RATE: f64 = 1_000_000.0;

/// Delivery settings; what is absent has the default given here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeliverySettings {
    /// Attempts after the first: 0 to 1000. Default 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1000)]
    pub retry: Option<i64>,
    /// How the wait between attempts grows. Default `exponential`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff_policy: Option<BackoffPolicy>,
    /// First wait, ISO 8601 (`PT0.2S`) or `200ms`: up to one hour. Default `PT0.2S`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff_delay: Option<String>,
    /// How long one attempt may take, ISO 8601 (`PT30S`) or `30s`: up to one hour. Default `PT30S`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// Attempts under way at once: 1 to 10000. Default 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10000)]
    pub max_in_flight: Option<i64>,
    /// Whether events wait for earlier ones. Default `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// Attempts per second at most, 0.001 to 1000000; those of one second may go at once. Default: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>, minimum = 0.001, maximum = 1000000)]
    pub rate: Option<serde_json::Number>,
    /// Where events go that could not be delivered, besides the hub's own dead letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter_sink: Option<DeadLetterSink>,
}

/// How the wait between attempts grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BackoffPolicy {
    /// `backoffDelay * n`.
    Linear,
    /// `backoffDelay * 2^(n-1)`.
    Exponential,
}

/// Whether events wait for earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// No event waits for another.
    None,
    /// Events with the same key (`partitionkey`, else `subject`) go one after the other. When one cannot be
    /// delivered its key is parked, and the others go on.
    Key,
}

/// Where undeliverable events go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeadLetterSink {
    /// An `http` or `https` URL.
    pub uri: String,
}

impl DeliverySettings {
    /// Checks all values; names the first that is out of range.
    pub fn check(&self) -> Result<(), Invalid> {
        number("delivery.retry", self.retry, 0, 1000)?;
        number("delivery.maxInFlight", self.max_in_flight, 1, 10_000)?;
        if let Some(rate) = &self.rate
            && !rate
                .as_f64()
                .is_some_and(|rate| (LOWEST_RATE..=HIGHEST_RATE).contains(&rate))
        {
            let allowed = format!("must be {LOWEST_RATE} to {HIGHEST_RATE}, not {rate}");
            return Err(Invalid::new("delivery.rate", allowed));
        }
        if let Some(delay) = &self.backoff_delay {
            check_duration("delivery.backoffDelay", delay, 0.0, 3600.0)?;
        }
        if let Some(timeout) = &self.timeout {
            check_duration("delivery.timeout", timeout, 0.001, 3600.0)?;
        }
        match &self.dead_letter_sink {
            Some(sink) => check_uri("delivery.deadLetterSink.uri", &sink.uri),
            None => Ok(()),
        }
    }
}

fn number(field: &str, value: Option<i64>, min: i64, max: i64) -> Result<(), Invalid> {
    match value {
        Some(n) if !(min..=max).contains(&n) => {
            Err(Invalid::new(field, format!("must be {min} to {max}, not {n}")))
        }
        _ => Ok(()),
    }
}
