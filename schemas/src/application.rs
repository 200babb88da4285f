//! Applications: a label over whatever belongs together.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::absent::{is_zero, null_is_default};
use crate::resource::resource;
use crate::{Status, Tag};

/// A name for what belongs together. Other resources join it by their tag `Application`; it may be written before or
/// after them, and nothing of theirs depends on it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Application {
    /// Unique per organization.
    pub name: String,
    /// Set by the hub.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Uuid::is_nil"
    )]
    pub id: Uuid,
    /// `Application`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub kind: String,
    /// Always READY. Set by the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
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

fn ready(application: &mut Application) {
    application.status = Some(Status::Ready);
}

resource!(Application, "Application", "application",
    times: [created_time, modified_time],
    stamped: ready,
    check: |_| Ok(()));
