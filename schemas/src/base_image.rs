//! Base images: a language's runtime.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::absent::{is_zero, null_is_default};
use crate::image_reference::check_image_reference;
use crate::invalid::required;
use crate::resource::resource;
use crate::{Status, Tag};

/// The runtime of a language. With local processes: what is installed on this machine; otherwise a container image.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BaseImage {
    /// Unique per organization.
    pub name: String,
    /// Container image as registries name it, `dispatchframework/python3-base:0.0.13`. Only shown where functions are
    /// local processes.
    pub docker_url: String,
    /// `python3`, `nodejs`, `java`, `powershell`, ….
    pub language: String,
    /// Kept for the original's clients.
    #[serde(default)]
    pub groups: Option<Vec<String>>,
    /// Set by the hub.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Uuid::is_nil"
    )]
    pub id: Uuid,
    /// `BaseImage`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub kind: String,
    /// Set by the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Why `status` is ERROR; names what is missing. Set by the hub.
    #[serde(default)]
    pub reason: Option<Vec<String>>,
    /// Kept for the original's clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<serde_json::Value>,
    /// Unix seconds. Set by the hub.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "is_zero"
    )]
    pub created_time: i64,
    /// Labels.
    #[serde(default, deserialize_with = "null_is_default")]
    pub tags: Vec<Tag>,
}

resource!(BaseImage, "BaseImage", "base image", times: [created_time], check: |image| {
    check_image_reference("dockerUrl", &image.docker_url)?;
    required("language", &image.language)
});
