//! GitHub's events by the CloudEvents adapter for GitHub.

use dispatch_driver_sdk::Arrival;
use serde_json::Value;

use crate::event::{Named, Wrong, text, timestamp};

pub(crate) fn named(arrival: &Arrival, body: &Value) -> Result<Named, Wrong> {
    let event = arrival
        .header("x-github-event")
        .ok_or(Wrong::Missing("X-GitHub-Event"))?;
    let delivery = arrival
        .header("x-github-delivery")
        .ok_or(Wrong::Missing("X-GitHub-Delivery"))?;
    let at = |pointer: &str| text(body, pointer);
    let suffix = match event {
        "create" | "delete" => at("/ref_type"),
        "push"
        | "fork"
        | "gollum"
        | "deployment"
        | "page_build"
        | "public"
        | "workflow_dispatch"
        | "github_app_authorization" => None,
        "membership" => at("/scope")
            .zip(at("/action"))
            .map(|(scope, action)| format!("{scope}.{action}")),
        "deployment_status" => at("/deployment_status/state"),
        "status" => at("/state"),
        _ => at("/action"),
    };
    let kind = match event {
        "issues" => "issue",
        other => other,
    };
    let source = match event {
        "issue_comment" => at("/issue/url"),
        "commit_comment" => at("/comment/url")
            .zip(at("/comment/commit_id"))
            .map(|(url, id)| format!("{url}/{id}")),
        "pull_request_review" | "pull_request_review_comment" | "pull_request_review_thread" => {
            at("/pull_request/url")
        }
        "deployment_status" => at("/deployment/url"),
        "membership" => at("/team/url"),
        "organization" | "org_block" => at("/organization/url"),
        "repository" | "repository_dispatch" | "public" | "repository_import" => at("/repository/owner/url"),
        "installation" | "installation_repositories" => at("/installation/account/url"),
        "github_app_authorization" => at("/sender/url"),
        "security_advisory" => Some("github.com".to_owned()),
        _ => None,
    };
    let subject = match event {
        "issues" => at("/issue/number"),
        "pull_request" => at("/pull_request/number").or_else(|| at("/number")),
        "push" | "create" | "delete" => at("/ref"),
        "issue_comment" | "commit_comment" | "pull_request_review_comment" => at("/comment/id"),
        "pull_request_review" => at("/review/id"),
        "check_run" | "check_suite" | "release" | "deployment" | "installation" => {
            at(&format!("/{event}/id"))
        }
        "deployment_status" => at("/deployment_status/url"),
        "fork" => at("/forkee/url"),
        "label" => at("/label/name"),
        "workflow_run" => at("/workflow/name"),
        "workflow_job" => at("/workflow_job/name"),
        "status" => at("/sha"),
        _ => None,
    };
    let object = match event {
        "issues" => "issue",
        "issue_comment" | "commit_comment" | "pull_request_review_comment" => "comment",
        other => other,
    };
    let time = ["updated_at", "completed_at", "started_at", "created_at"];
    let time = time
        .iter()
        .find_map(|name| timestamp(body, &format!("/{object}/{name}")));
    Ok(Named {
        id: Some(delivery.to_owned()),
        ty: match suffix {
            Some(suffix) => format!("com.github.{kind}.{suffix}"),
            None => format!("com.github.{kind}"),
        },
        source: source
            .or_else(|| at("/repository/url"))
            .or_else(|| at("/organization/url"))
            .or_else(|| Some("https://github.com".to_owned())),
        subject,
        time,
    })
}
