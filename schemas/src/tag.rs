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

pub(crate) fn check_tags(tags: &[Tag]) -> Result<(), Invalid> {
    at_most("tags", "tags", tags.len(), 64)?;
    for (at, tag) in tags.iter().enumerate() {
        required(&format!("tags[{at}].key"), &tag.key)?;
    }
    Ok(())
}
