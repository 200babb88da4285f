//! Which events a subscription wants: the dialects of the CloudEvents Subscriptions API (section 3.2.4).
//!
//! A test on an attribute the event does not have is false. Attributes are compared by their canonical
//! text, extensions like any other. Types that begin with `dispatch.` are the hub's own: they match only
//! when the filter names them, so that nobody gets them by subscribing to everything.

use dispatch_contract::{AttributeName, Event, MAX_ATTRIBUTE_BYTES, RESERVED_TYPE_PREFIX};

/// How deep filters may be nested.
const MAX_DEPTH: usize = 16;
/// How many attribute tests one filter may hold.
const MAX_TESTS: usize = 256;

/// A filter expression. Several attributes in one of the first three are all required.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// Attribute and value are the same.
    Exact(Vec<(String, String)>),
    /// The attribute begins with the value.
    Prefix(Vec<(String, String)>),
    /// The attribute ends with the value.
    Suffix(Vec<(String, String)>),
    /// Every one of them. Empty (a subscription without filters): every event.
    All(Vec<Filter>),
    /// At least one of them.
    Any(Vec<Filter>),
    /// The opposite.
    Not(Box<Filter>),
}

/// What is wrong with a filter, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct FilterError {
    /// The place, as in `filters[0].any[1].prefix.type`.
    pub place: String,
    /// What is wrong and what is allowed.
    pub problem: String,
}

impl Filter {
    /// One attribute has this value.
    pub fn exact(attribute: impl Into<String>, value: impl Into<String>) -> Self {
        Self::Exact(vec![(attribute.into(), value.into())])
    }
    /// One attribute begins with this value.
    pub fn prefix(attribute: impl Into<String>, value: impl Into<String>) -> Self {
        Self::Prefix(vec![(attribute.into(), value.into())])
    }
    /// One attribute ends with this value.
    pub fn suffix(attribute: impl Into<String>, value: impl Into<String>) -> Self {
        Self::Suffix(vec![(attribute.into(), value.into())])
    }

    /// Whether a subscription with this filter receives the event.
    pub fn matches(&self, event: &Event) -> bool {
        self.accepts(event) && (!is_internal(event.ty()) || self.names_type(event.ty()))
    }

    /// Checks a subscription's whole filter. The outermost [`Filter::All`] is its list `filters`.
    pub fn check(&self) -> Result<(), FilterError> {
        let mut tests = 0;
        match self {
            Self::All(filters) => check_each("filters", filters, 1, &mut tests),
            other => other.check_at("filter".to_owned(), 1, &mut tests),
        }
    }

    fn accepts(&self, event: &Event) -> bool {
        let every = |tests: &[(String, String)], holds: fn(&str, &str) -> bool| {
            tests
                .iter()
                .all(|(name, value)| value_of(event, name).is_some_and(|v| holds(v, value)))
        };
        match self {
            Self::Exact(tests) => every(tests, |v, value| v == value),
            Self::Prefix(tests) => every(tests, |v, value| v.starts_with(value)),
            Self::Suffix(tests) => every(tests, |v, value| v.ends_with(value)),
            Self::All(filters) => filters.iter().all(|f| f.accepts(event)),
            Self::Any(filters) => filters.iter().any(|f| f.accepts(event)),
            Self::Not(filter) => !filter.accepts(event),
        }
    }

    /// Whether a test that is not negated asks for this internal type.
    fn names_type(&self, ty: &str) -> bool {
        match self {
            Self::Exact(tests) => tests.iter().any(|(name, value)| name == "type" && value == ty),
            Self::Prefix(tests) => tests
                .iter()
                .any(|(name, value)| name == "type" && is_internal(value) && ty.starts_with(value)),
            Self::All(filters) | Self::Any(filters) => filters.iter().any(|f| f.names_type(ty)),
            Self::Suffix(_) | Self::Not(_) => false,
        }
    }

    fn check_at(&self, place: String, depth: usize, tests: &mut usize) -> Result<(), FilterError> {
        if depth > MAX_DEPTH {
            let problem = format!("is nested too deep: at most {MAX_DEPTH} levels");
            return Err(FilterError { place, problem });
        }
        match self {
            Self::Exact(list) => check_tests(format!("{place}.exact"), list, tests),
            Self::Prefix(list) => check_tests(format!("{place}.prefix"), list, tests),
            Self::Suffix(list) => check_tests(format!("{place}.suffix"), list, tests),
            Self::All(list) | Self::Any(list) => {
                let name = if matches!(self, Self::All(_)) {
                    "all"
                } else {
                    "any"
                };
                let place = format!("{place}.{name}");
                if list.is_empty() {
                    let problem = "must hold at least one filter".to_owned();
                    return Err(FilterError { place, problem });
                }
                check_each(&place, list, depth + 1, tests)
            }
            Self::Not(filter) => filter.check_at(format!("{place}.not"), depth + 1, tests),
        }
    }
}

/// The value a filter sees: `specversion` is an attribute too, although all events have the same.
pub(crate) fn value_of<'a>(event: &'a Event, name: &str) -> Option<&'a str> {
    match name {
        "specversion" => Some("1.0"),
        name => event.attribute(name),
    }
}

fn is_internal(ty: &str) -> bool {
    ty.starts_with(RESERVED_TYPE_PREFIX)
}

fn check_each(place: &str, filters: &[Filter], depth: usize, tests: &mut usize) -> Result<(), FilterError> {
    for (n, filter) in filters.iter().enumerate() {
        filter.check_at(format!("{place}[{n}]"), depth, tests)?;
    }
    Ok(())
}

fn check_tests(place: String, list: &[(String, String)], tests: &mut usize) -> Result<(), FilterError> {
    let fail = |place: String, problem: String| Err(FilterError { place, problem });
    if list.is_empty() {
        return fail(place, "must name at least one attribute".to_owned());
    }
    for (name, value) in list {
        *tests += 1;
        if *tests > MAX_TESTS {
            return fail(place, format!("is one test too many: at most {MAX_TESTS}"));
        }
        if let Err(e) = AttributeName::new(name) {
            return fail(format!("{place}.{}", e.attribute), e.problem);
        }
        if value.is_empty() {
            return fail(format!("{place}.{name}"), "must not be empty".to_owned());
        }
        if value.len() > MAX_ATTRIBUTE_BYTES {
            let problem = format!("is longer than {MAX_ATTRIBUTE_BYTES} bytes, as no attribute can be");
            return fail(format!("{place}.{name}"), problem);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(ty: &str) -> Event {
        Event::builder("1", "/vc/1", ty)
            .subject("vm-42")
            .attribute("tenant", "acme")
            .attribute("n", 7)
            .build()
            .unwrap()
    }

    #[test]
    fn the_dialects_test_attributes_as_the_specification_says() {
        let pair = |n: &str, v: &str| (n.to_owned(), v.to_owned());
        let not = |f| Filter::Not(Box::new(f));
        let table = [
            (Filter::exact("type", "vm.powered.on"), true),
            (Filter::exact("type", "vm.powered"), false),
            (Filter::prefix("type", "vm."), true),
            (Filter::suffix("type", ".on"), true),
            (Filter::suffix("type", ".off"), false),
            (Filter::exact("n", "7"), true),
            (Filter::exact("specversion", "1.0"), true),
            (Filter::exact("missing", "x"), false),
            (Filter::prefix("missing", "x"), false),
            (not(Filter::exact("missing", "x")), true),
            (not(Filter::exact("tenant", "acme")), false),
            (
                Filter::Exact(vec![pair("tenant", "acme"), pair("subject", "vm-42")]),
                true,
            ),
            (
                Filter::Exact(vec![pair("tenant", "acme"), pair("subject", "vm-43")]),
                false,
            ),
            (Filter::All(vec![]), true),
            (
                Filter::All(vec![Filter::prefix("source", "/vc"), Filter::exact("n", "8")]),
                false,
            ),
            (
                Filter::Any(vec![Filter::prefix("source", "/vc"), Filter::exact("n", "8")]),
                true,
            ),
            (
                Filter::Any(vec![Filter::exact("n", "9"), Filter::exact("n", "8")]),
                false,
            ),
        ];
        for (filter, want) in table {
            assert_eq!(filter.matches(&event("vm.powered.on")), want, "{filter:?}");
        }
    }

    #[test]
    fn internal_types_reach_only_filters_that_name_them() {
        let not = |f| Filter::Not(Box::new(f));
        let table = [
            (Filter::All(vec![]), false),
            (Filter::exact("type", "dispatch.run.failed"), true),
            (Filter::exact("type", "dispatch.run.succeeded"), false),
            (Filter::prefix("type", "dispatch."), true),
            (Filter::prefix("type", "dispatch.run."), true),
            (Filter::prefix("type", "dispatch"), false),
            (Filter::prefix("type", "d"), false),
            (Filter::suffix("type", "failed"), false),
            (not(Filter::exact("type", "x")), false),
            (not(not(Filter::prefix("type", "dispatch."))), false),
            (Filter::exact("tenant", "acme"), false),
            (
                Filter::All(vec![
                    Filter::prefix("type", "dispatch."),
                    Filter::exact("tenant", "acme"),
                ]),
                true,
            ),
            (
                Filter::Any(vec![
                    Filter::exact("type", "dispatch.x"),
                    Filter::exact("tenant", "acme"),
                ]),
                false,
            ),
        ];
        for (filter, want) in table {
            assert_eq!(filter.matches(&event("dispatch.run.failed")), want, "{filter:?}");
        }
    }

    #[test]
    fn a_wrong_filter_is_refused_with_its_place() {
        let deep = (0..MAX_DEPTH + 1).fold(Filter::exact("type", "x"), |f, _| Filter::Not(Box::new(f)));
        let table = [
            (Filter::Exact(vec![]), "filters[0].exact"),
            (Filter::exact("type", ""), "filters[0].exact.type"),
            (Filter::prefix("Type", "x"), "filters[0].prefix.Type"),
            (Filter::suffix("data", "x"), "filters[0].suffix.data"),
            (Filter::Any(vec![]), "filters[0].any"),
            (Filter::All(vec![]), "filters[0].all"),
            (
                Filter::Any(vec![
                    Filter::exact("a", "b"),
                    Filter::Not(Box::new(Filter::exact("a", ""))),
                ]),
                "filters[0].any[1].not.exact.a",
            ),
        ];
        for (filter, place) in table {
            assert_eq!(Filter::All(vec![filter]).check().unwrap_err().place, place);
        }
        assert!(deep.check().unwrap_err().problem.contains("too deep"));
        assert_eq!(Filter::All(vec![]).check(), Ok(()));
        let many = (0..=MAX_TESTS)
            .map(|n| (format!("a{n}"), "x".to_owned()))
            .collect();
        assert!(Filter::Exact(many).check().is_err());
    }
}
