//! Event drivers: running programs that turn outside happenings into events.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::absent::{is_false, is_zero, null_is_default};
use crate::config_item::check_config;
use crate::name::{check_reference, check_references};
use crate::resource::resource;
use crate::{ConfigItem, Invalid, Status, Tag};

/// What an event says of itself: no extensions.
const CONTEXT: [&str; 9] = [
    "id",
    "source",
    "type",
    "subject",
    "time",
    "data",
    "datacontenttype",
    "dataschema",
    "specversion",
];

/// An event driver: a type with settings. Times are written `created-time`, as the original does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Driver {
    /// Unique per organization; lower case, no underscore.
    pub name: String,
    /// Name of an event driver type.
    #[serde(rename = "type")]
    pub ty: String,
    /// Settings, given as `--key=value`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub config: Vec<ConfigItem>,
    /// Names of secrets; each of their keys becomes an environment variable.
    #[serde(default, deserialize_with = "null_is_default")]
    pub secrets: Vec<String>,
    /// From the type. Set by the hub.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "is_false"
    )]
    pub expose: bool,
    /// Where it listens, if it does. Set by the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Set by the hub.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Uuid::is_nil"
    )]
    pub id: Uuid,
    /// `Driver`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub kind: String,
    /// CloudEvents extensions its program is asked to add to each event, as `K_CE_OVERRIDES`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extensions: BTreeMap<String, String>,
    /// It does not run until it is resumed. Set by the hub.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "is_false"
    )]
    pub paused: bool,
    /// How its process has fared. Set by the hub, when it is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervision: Option<Supervision>,
    /// Set by the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Why `status` is ERROR, with the driver's last log lines. Set by the hub.
    #[serde(default)]
    pub reason: Option<Vec<String>>,
    /// The next three ticks of a schedule, RFC 3339. Set by the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_ticks: Option<Vec<String>>,
    /// Unix seconds. Set by the hub.
    #[serde(
        default,
        rename = "created-time",
        deserialize_with = "null_is_default",
        skip_serializing_if = "is_zero"
    )]
    pub created_time: i64,
    /// Unix seconds. Set by the hub.
    #[serde(
        default,
        rename = "modified-time",
        deserialize_with = "null_is_default",
        skip_serializing_if = "is_zero"
    )]
    pub modified_time: i64,
    /// Labels.
    #[serde(default, deserialize_with = "null_is_default")]
    pub tags: Vec<Tag>,
}

/// How a driver's process has fared since the hub started. Ages in seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Supervision {
    /// How often it was started again.
    pub restarts: u64,
    /// Since the hub took its last event; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_event_age: Option<u64>,
    /// How old its last event was when the hub took it, by the event's `time`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// Since its last checkpoint; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_age: Option<u64>,
    /// The last lines it printed; only when it is asked for by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
}

resource!(Driver, "Driver", "event driver", times: [created_time, modified_time], check: |driver| {
    check_reference("type", &driver.ty)?;
    check_references("secrets", &driver.secrets)?;
    for name in driver.extensions.keys() {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        if !(1..=20).contains(&name.len()) || !name.bytes().all(plain) || CONTEXT.contains(&name.as_str()) {
            let problem = format!(
                "{name:?} is no name of an extension: at most 20 small letters and digits, and none of CloudEvents' own"
            );
            return Err(Invalid::new("extensions", problem));
        }
    }
    check_config(&driver.config)
});
