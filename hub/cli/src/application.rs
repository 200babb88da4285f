//! Applications on the command line: `-a NAME` puts what is created into one, and narrows lists to one.
//!
//! An application is a label: the tag `Application` of whatever belongs to it.

use serde_json::{Value, json};

use crate::client::Route;

const KEY: &str = "Application";

/// Labels a resource as the application's, in place of another one it may name.
pub(crate) fn join(resource: &mut Value, application: Option<&str>) {
    let Some(name) = application else {
        return;
    };
    let others = resource["tags"].as_array().into_iter().flatten();
    let others = others.filter(|tag| {
        !tag["key"]
            .as_str()
            .is_some_and(|key| key.eq_ignore_ascii_case(KEY))
    });
    let mut tags: Vec<Value> = others.cloned().collect();
    tags.push(json!({"key": KEY, "value": name}));
    resource["tags"] = tags.into();
}

/// Narrows a list.
pub(crate) fn narrow(route: Route, application: Option<&str>) -> Route {
    match application {
        Some(name) => route.with("tags", format!("application={name}")),
        None => route,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_created_joins_one_application_and_keeps_its_other_tags() {
        let mut resource = json!({"name": "f", "tags": [{"key": "role", "value": "x"}, {"key": "application", "value": "old"}]});

        join(&mut resource, None);
        assert_eq!(resource["tags"][1]["value"], "old");
        join(&mut resource, Some("shop"));

        let expected = json!([{"key": "role", "value": "x"}, {"key": "Application", "value": "shop"}]);
        assert_eq!(resource["tags"], expected);
        let mut bare = json!({});
        join(&mut bare, Some("shop"));
        assert_eq!(bare["tags"], json!([{"key": "Application", "value": "shop"}]));
    }
}
