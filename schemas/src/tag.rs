//! Labels on resources.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Invalid;
use crate::invalid::{at_most, required};

/// A label: `{"key": "role", "value": "test"}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Tag {
    /// Not empty. `Application` joins a resource to an application.
    pub key: String,
    /// Anything.
    #[serde(default)]
    pub value: String,
}

impl Tag {
    /// Key of the label that joins something to an application.
    pub const APPLICATION: &'static str = "Application";

    /// Whether labels say that something belongs to the application.
    pub fn belongs_to(tags: &[Self], application: &str) -> bool {
        tags.iter()
            .any(|tag| tag.key.eq_ignore_ascii_case(Self::APPLICATION) && tag.value == application)
    }
}

pub(crate) fn check_tags(tags: &[Tag]) -> Result<(), Invalid> {
    at_most("tags", "tags", tags.len(), 64)?;
    for (at, tag) in tags.iter().enumerate() {
        required(&format!("tags[{at}].key"), &tag.key)?;
    }
    Ok(())
}
