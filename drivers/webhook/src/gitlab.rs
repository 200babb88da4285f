//! GitLab's events by the CloudEvents adapter for GitLab.

use dispatch_driver_sdk::Arrival;
use serde_json::Value;

use crate::event::{Named, Wrong, text, timestamp};

pub(crate) fn named(arrival: &Arrival, body: &Value) -> Result<Named, Wrong> {
    let at = |pointer: &str| text(body, pointer);
    let kind = at("/object_kind").or_else(|| at("/event_name"));
    let kind = kind.ok_or_else(|| Wrong::Body("has no object_kind".to_owned()))?;
    let (suffix, subject) = match kind.as_str() {
        "push" => (None, at("/checkout_sha").or_else(|| at("/ref"))),
        "tag_push" => (None, at("/ref")),
        "issue" => (at("/object_attributes/state"), at("/object_attributes/iid")),
        "merge_request" => (at("/object_attributes/action"), at("/object_attributes/iid")),
        "note" => (
            at("/object_attributes/noteable_type").map(|of| noteable(&of)),
            at("/object_attributes/id"),
        ),
        "wiki_page" => (at("/object_attributes/action"), at("/object_attributes/slug")),
        "pipeline" => (at("/object_attributes/status"), at("/object_attributes/id")),
        "build" => (at("/build_status"), at("/build_id")),
        _ => (at("/object_attributes/action"), at("/object_attributes/id")),
    };
    let source = match kind.as_str() {
        "note" => at("/object_attributes/url").map(|url| match url.split_once("#note_") {
            Some((of, _)) => of.to_owned(),
            None => url,
        }),
        "wiki_page" | "pipeline" => at("/project/web_url"),
        _ => None,
    };
    let kind = match kind.as_str() {
        "build" => "job",
        other => other,
    };
    let places = ["/repository/homepage", "/project/web_url", "/repository/url"];
    Ok(Named {
        // Repeated deliveries have the same idempotency key; older servers have none, then the body counts.
        id: arrival
            .header("idempotency-key")
            .filter(|key| !key.is_empty())
            .map(str::to_owned),
        ty: match suffix {
            Some(suffix) => format!("com.gitlab.{kind}.{suffix}"),
            None => format!("com.gitlab.{kind}"),
        },
        source: source.or_else(|| places.iter().find_map(|place| at(place))),
        subject,
        time: timestamp(body, "/object_attributes/created_at"),
    })
}

/// `MergeRequest` is `merge_request`.
fn noteable(of: &str) -> String {
    match of {
        "MergeRequest" => "merge_request".to_owned(),
        other => other.to_lowercase(),
    }
}
