//! Event drivers: running programs that turn outside happenings into events.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::absent::{is_false, is_zero, null_is_default};
use crate::config_item::check_config;
use crate::name::{check_reference, check_references};
use crate::resource::resource;
use crate::{ConfigItem, Status, Tag};

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

resource!(Driver, "Driver", "event driver", times: [created_time, modified_time], check: |driver| {
    check_reference("type", &driver.ty)?;
    check_references("secrets", &driver.secrets)?;
    check_config(&driver.config)
});
