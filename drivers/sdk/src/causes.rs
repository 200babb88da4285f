//! Errors on one line, with their causes.

use std::error::Error;

/// An error and its causes, the outermost first.
pub fn chain(error: &dyn Error) -> String {
    with_causes(error.to_string(), error)
}

/// Other words for an error, and its causes: for one whose own words say too much, or nothing.
pub fn with_causes(words: impl Into<String>, error: &dyn Error) -> String {
    let mut text = words.into();
    for cause in std::iter::successors(error.source(), |error| (*error).source()) {
        text += &format!(": {cause}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Link(&'static str, #[source] Option<Box<Link>>);

    #[test]
    fn causes_stand_behind_what_they_caused() {
        let innermost = Link("no such file", None);
        let error = Link(
            "cannot start",
            Some(Box::new(Link("no key", Some(Box::new(innermost))))),
        );

        assert_eq!(chain(&error), "cannot start: no key: no such file");
        assert_eq!(with_causes("it fell", &error), "it fell: no key: no such file");
        assert_eq!(chain(&Link("alone", None)), "alone");
    }
}
