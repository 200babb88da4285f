//! Filters of subscriptions, in the JSON of the CloudEvents Subscriptions API (1.0, section 3.2.4).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Invalid;
use crate::invalid::at_most;

/// How deep filters may lie in one another.
const MAX_DEPTH: usize = 8;
/// How many filters a subscription may have, nested ones counted.
const MAX_FILTERS: usize = 256;

/// One filter expression: exactly one dialect. `{"exact": {"type": "vm.powered.on"}}`.
///
/// `exact`, `prefix` and `suffix` compare attributes with strings, case-sensitively; all given attributes must
/// match, and one the event does not have does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// The attribute equals the string.
    Exact(BTreeMap<String, String>),
    /// The attribute starts with the string.
    Prefix(BTreeMap<String, String>),
    /// The attribute ends with the string.
    Suffix(BTreeMap<String, String>),
    /// All of these match.
    #[schema(no_recursion)]
    All(Vec<Filter>),
    /// At least one of these matches.
    #[schema(no_recursion)]
    Any(Vec<Filter>),
    /// This does not match.
    #[schema(no_recursion)]
    Not(Box<Filter>),
}

impl Filter {
    /// What `eventType` is short for: the type itself, or a special case of it. A driver says of a special case what
    /// it is one of in the extension `supertype`: `drs.vm.powered.on` is a `vm.powered.on`.
    pub fn of_type(ty: &str) -> Self {
        let exact = |name: &str| Self::Exact(BTreeMap::from([(name.to_owned(), ty.to_owned())]));
        Self::Any(vec![exact("type"), exact("supertype")])
    }
}

/// Checks a list of filters; `field` is what it is called.
pub(crate) fn check_filters(field: &str, filters: &[Filter]) -> Result<(), Invalid> {
    let mut count = 0;
    check_list(field, filters, 1, &mut count)
}

fn check_list(field: &str, filters: &[Filter], depth: usize, count: &mut usize) -> Result<(), Invalid> {
    for (at, filter) in filters.iter().enumerate() {
        check_one(&format!("{field}[{at}]"), filter, depth, count)?;
    }
    Ok(())
}

fn check_one(field: &str, filter: &Filter, depth: usize, count: &mut usize) -> Result<(), Invalid> {
    *count += 1;
    at_most("filters", "filters, nested ones counted", *count, MAX_FILTERS)?;
    if depth > MAX_DEPTH {
        return Err(Invalid::new(
            field,
            format!("lies too deep: at most {MAX_DEPTH} levels"),
        ));
    }
    match filter {
        Filter::Exact(map) => check_attributes(&format!("{field}.exact"), map),
        Filter::Prefix(map) => check_attributes(&format!("{field}.prefix"), map),
        Filter::Suffix(map) => check_attributes(&format!("{field}.suffix"), map),
        Filter::All(list) => check_some(&format!("{field}.all"), list, depth, count),
        Filter::Any(list) => check_some(&format!("{field}.any"), list, depth, count),
        Filter::Not(inner) => check_one(&format!("{field}.not"), inner, depth + 1, count),
    }
}

fn check_some(field: &str, filters: &[Filter], depth: usize, count: &mut usize) -> Result<(), Invalid> {
    if filters.is_empty() {
        return Err(Invalid::new(field, "must hold at least one filter"));
    }
    check_list(field, filters, depth + 1, count)
}

fn check_attributes(field: &str, attributes: &BTreeMap<String, String>) -> Result<(), Invalid> {
    if attributes.is_empty() {
        return Err(Invalid::new(field, "must name at least one attribute"));
    }
    at_most(field, "attributes", attributes.len(), 64)?;
    for (name, value) in attributes {
        let fine = (1..=20).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            && name != "data";
        if !fine {
            let shown: String = name.chars().take(40).collect();
            let problem = format!(
                "names the attribute {shown:?}: a name is 1 to 20 lower-case letters and digits, and not \"data\""
            );
            return Err(Invalid::new(field, problem));
        }
        if value.is_empty() {
            return Err(Invalid::new(format!("{field}.{name}"), "must not be empty"));
        }
        at_most(&format!("{field}.{name}"), "bytes", value.len(), 8 * 1024)?;
    }
    Ok(())
}
