//! Short answers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Message {
    /// For people.
    pub message: String,
}

/// The body of every answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Error {
    /// The HTTP status, or the validation's own code.
    pub code: i64,
    /// For people: what is wrong, and where.
    pub message: String,
}
