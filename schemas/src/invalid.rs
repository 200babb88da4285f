//! A user's mistake in a resource: which field, and what is allowed there.

/// A field that cannot be taken as it is. Shows as one sentence: `delivery.retry must be 0 to 1000, not 5000`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct Invalid {
    /// Path of the field as people write it: `name`, `delivery.retry`, `filters[2].exact`.
    pub field: String,
    /// What is wrong and what is allowed; follows the field's name in the sentence. Never a secret.
    pub problem: String,
}

impl Invalid {
    /// A problem with one field.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
        }
    }
}

/// The field must be there.
pub(crate) fn required(field: &str, value: &str) -> Result<(), Invalid> {
    match value.is_empty() {
        true => Err(Invalid::new(field, "is required")),
        false => Ok(()),
    }
}

/// Lists and texts end somewhere.
pub(crate) fn at_most(field: &str, what: &str, len: usize, max: usize) -> Result<(), Invalid> {
    match len > max {
        true => Err(Invalid::new(
            field,
            format!("has {len} {what}; at most {max} are allowed"),
        )),
        false => Ok(()),
    }
}
