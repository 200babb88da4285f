//! Event driver types: which program a driver is.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::absent::{is_false, is_zero, null_is_default};
use crate::config_item::check_config;
use crate::invalid::required;
use crate::resource::resource;
use crate::{ConfigItem, Tag};

/// A program that can be started as an event driver. Times are written `created-time`, as the original does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DriverType {
    /// Unique per organization; at most 32 characters.
    pub name: String,
    /// Path of an executable, or a known container image (`dispatchframework/dispatch-events-cron:0.0.1`).
    pub image: String,
    /// Drivers of this type listen for events under a URL of their own.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "is_false"
    )]
    pub expose: bool,
    /// Settings every driver of this type gets unless it has its own.
    #[serde(default)]
    pub config: Option<Vec<ConfigItem>>,
    /// Set by the hub.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Uuid::is_nil"
    )]
    pub id: Uuid,
    /// `DriverType`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub kind: String,
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

resource!(DriverType, "DriverType", "event driver type", times: [created_time, modified_time], check: |driver_type| {
    required("image", &driver_type.image)?;
    check_config(driver_type.config.as_deref().unwrap_or_default())
});
