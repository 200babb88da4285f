//! Results of functions are events: they chain, and a loop ends.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::event;
use crate::{create, exec, names, seeded, subscribe};

#[tokio::test]
async fn functions_chain_by_the_events_they_return_and_by_the_ends_of_their_runs() {
    let hub = seeded().await;
    let returns = |ty: &str| {
        format!(
            "def handle(ctx, payload): return {{'specversion': '1.0', 'type': '{ty}', 'data': payload['n'] + 1 if isinstance(payload, dict) else payload + 1}}\n"
        )
    };
    create(&hub, "first", &returns("second.please"), json!({})).await;
    create(&hub, "second", &returns("third.please"), json!({})).await;
    create(
        &hub,
        "third",
        "def handle(ctx, payload): return {'got': payload, 'event': ctx['event']}\n",
        json!({}),
    )
    .await;
    create(
        &hub,
        "auditor",
        "def handle(ctx, payload): return payload['functionName']\n",
        json!({}),
    )
    .await;
    subscribe(&hub, "first.please", "first", json!({})).await;
    subscribe(&hub, "second.please", "second", json!({})).await;
    subscribe(&hub, "third.please", "third", json!({})).await;
    // Only who names an internal type gets it; one that hears of all runs hears of its own too.
    let of_third = json!({"name": "audit", "function": "auditor", "filters": [{"all": [
        {"exact": {"type": "dispatch.run.succeeded"}}, {"exact": {"subject": "third"}}]}]});
    let (status, body) = hub.post_json("/v1/event/subscriptions", &of_third).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");

    hub.event(&event("start", "first.please")).await;

    let ended = |runs: &Value| runs[0]["status"] == "READY";
    let third = hub.until("/v1/runs?functionName=third", ended).await;
    let (got, context) = (&third[0]["output"]["got"], &third[0]["output"]["event"]);
    assert_eq!(got, &json!(3), "1, and one more for each function");
    assert_eq!(context["source"], "/dispatch/functions/second");
    assert_eq!(
        (&context["correlationid"], &context["dispatchhops"]),
        (&json!("start"), &json!(2))
    );
    let second = hub.get("/v1/runs?functionName=second").await;
    assert_eq!(second[0]["event"]["eventID"], context["causationid"]);
    let audited = hub.until("/v1/runs?functionName=auditor", ended).await;
    assert_eq!(audited[0]["output"], "third");
    assert_eq!(
        names(&hub.get("/v1/runs").await).len(),
        4,
        "nobody else heard of runs"
    );
    hub.stop().await;
}

#[tokio::test]
async fn a_loop_of_functions_ends_as_a_dead_letter_that_says_so() {
    let hub = seeded().await;
    create(
        &hub,
        "loop",
        "def handle(ctx, payload): return {'specversion': '1.0', 'type': 'again'}\n",
        json!({}),
    )
    .await;
    subscribe(&hub, "again", "loop", json!({})).await;

    hub.event(&event("start", "again")).await;

    let letters = hub
        .until("/v1/deadletters", |letters| letters[0].is_object())
        .await;
    let reason = letters[0]["reason"].as_str().unwrap();
    assert!(reason.contains("16"), "{reason}");
    assert_eq!(letters[0]["event"]["dispatchhops"], 16);
    assert_eq!(names(&hub.get("/v1/runs").await).len(), 16);
    hub.stop().await;
}

#[tokio::test]
async fn an_event_that_cannot_be_published_is_told_by_its_run() {
    let hub = seeded().await;
    create(
        &hub,
        "cheat",
        "def handle(ctx, payload): return {'specversion': '1.0', 'type': 'dispatch.run.failed'}\n",
        json!({}),
    )
    .await;

    let run = exec(&hub, "cheat", json!({"blocking": true})).await;

    assert_eq!(run["status"], "READY");
    let reason = run["reason"][0].as_str().unwrap();
    assert!(
        reason.starts_with("the events it returned are not published: type: "),
        "{reason}"
    );
    hub.stop().await;
}
