//! Bounds of what a hub takes, holds and waits for.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::values::{at_least_one, duration, seconds};

/// Bounds of what the hub takes and holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Limits {
    /// Bytes of one event as it is posted.
    pub event_bytes: usize,
    /// Bytes of a batch.
    pub batch_bytes: usize,
    /// Events in a batch.
    pub batch_events: usize,
    /// Connections at once.
    #[serde(deserialize_with = "at_least_one")]
    pub connections: usize,
    /// Bytes of request bodies that are held at once, over all connections.
    #[serde(deserialize_with = "at_least_one")]
    pub inflight_bytes: usize,
    /// Bytes of memory one process of a driver may have for its data.
    #[serde(deserialize_with = "at_least_one")]
    pub driver_memory: usize,
    /// Files and sockets one process of a driver may have open.
    #[serde(deserialize_with = "at_least_one")]
    pub driver_files: usize,
    /// Bytes of one request that the gateway passes on to a driver.
    #[serde(deserialize_with = "at_least_one")]
    pub gateway_body_bytes: usize,
    /// Bytes of one request's body that an API takes.
    #[serde(deserialize_with = "at_least_one")]
    pub api_body_bytes: usize,
    /// Calls through APIs that somebody waits for, at once.
    #[serde(deserialize_with = "at_least_one")]
    pub api_calls: usize,
    /// How long a caller of an API waits that has no bound of its own.
    #[serde(deserialize_with = "duration", serialize_with = "seconds")]
    pub api_timeout: Duration,
    /// Events waiting in memory per subscription.
    #[serde(deserialize_with = "at_least_one")]
    pub lane_events: usize,
    /// How long a stop may take until what is under way is left to the next start.
    #[serde(deserialize_with = "duration", serialize_with = "seconds")]
    pub drain: Duration,
    /// How long a stop goes on serving after `/readyz` said no, so that those who send here can turn away.
    #[serde(deserialize_with = "duration", serialize_with = "seconds")]
    pub notice: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            event_bytes: 1 << 20,
            batch_bytes: 4 << 20,
            batch_events: 1000,
            connections: 4096,
            inflight_bytes: 64 << 20,
            driver_memory: 2 << 30,
            driver_files: 1024,
            gateway_body_bytes: 32 << 20,
            api_body_bytes: 1 << 20,
            api_calls: 1024,
            api_timeout: Duration::from_secs(60),
            lane_events: 1024,
            drain: Duration::from_secs(5),
            notice: Duration::ZERO,
        }
    }
}
