//! What subscriptions promise: from when on, by which filters, until when.
// A test's helper may unwrap.
#![allow(clippy::unwrap_used)]

mod support;

use dispatch_fixtures::target::Target;
use reqwest::StatusCode;
use serde_json::{Value, json};
use support::{Hub, answer, event, until};

const ALL: &str = "/v1/event/subscriptions";
const ONE: &str = "/v1/event/subscriptions/s";

async fn put(hub: &Hub, body: &Value) -> (StatusCode, Value) {
    answer(hub.client.put(hub.url(ONE)).json(body).send().await.unwrap()).await
}

fn arrived(target: &Target) -> Vec<String> {
    target.accepted().into_keys().collect()
}

#[tokio::test]
async fn a_subscription_gets_what_comes_after_it_was_made_and_what_its_filters_say() {
    let (hub, target) = (Hub::start().await, Target::start().await.unwrap());
    hub.event(&event("before", "vm.on")).await;
    let subscription = json!({
        "name": "s",
        "filters": [{"prefix": {"type": "vm."}}, {"not": {"exact": {"source": "/other"}}}],
        "sink": {"uri": target.url(), "mode": "structured"}
    });

    let (status, created) = hub.post_json(ALL, &subscription).await;
    for (id, ty) in [("a", "vm.on"), ("b", "host.on"), ("c", "vm.off")] {
        hub.event(&event(id, ty)).await;
    }

    assert_eq!(
        (status, &created["status"]),
        (StatusCode::CREATED, &json!("READY"))
    );
    assert_eq!(created["kind"], "Subscription");
    assert!(created.get("history").is_none(), "{created}");
    until("c", || target.accepted().contains_key("c")).await;
    assert_eq!(arrived(&target), ["a", "c"]);
    assert_eq!(hub.get(ALL).await, json!([created]));
    hub.stop().await;
}

#[tokio::test]
async fn an_event_is_judged_by_the_filters_of_its_time_even_across_a_restart() {
    let (hub, target) = (Hub::start().await, Target::start().await.unwrap());
    target.answer(503);
    let subscription = |ty: &str| {
        let delivery = json!({"backoffDelay": "PT0.1S", "backoffPolicy": "linear", "retry": 100});
        json!({"name": "s", "eventType": ty, "sink": {"uri": target.url()}, "delivery": delivery})
    };
    hub.post_json(ALL, &subscription("old")).await;
    hub.event(&event("old-before", "old")).await;
    hub.event(&event("new-before", "new")).await;

    let (status, updated) = put(&hub, &subscription("new")).await;
    hub.event(&event("old-after", "old")).await;
    hub.event(&event("new-after", "new")).await;
    let hub = hub.restart().await;
    target.answer(204);

    assert_eq!((status, &updated["eventType"]), (StatusCode::OK, &json!("new")));
    until("both", || target.accepted().len() == 2).await;
    assert_eq!(arrived(&target), ["new-after", "old-before"]);
    hub.until("/v1/deliveries", |owed| {
        owed.as_array().is_some_and(Vec::is_empty)
    })
    .await;
    assert_eq!(arrived(&target), ["new-after", "old-before"]);
    hub.stop().await;
}

#[tokio::test]
async fn a_deleted_subscription_gets_nothing_more_and_one_of_its_name_begins_anew() {
    let (hub, target) = (Hub::start().await, Target::start().await.unwrap());
    target.answer(503);
    hub.subscribe(
        "s",
        "t",
        &target.url(),
        json!({"backoffDelay": "10ms", "retry": 1000}),
    )
    .await;
    hub.event(&event("owed", "t")).await;
    until("a try", || !target.arrivals().is_empty()).await;

    let gone = hub.client.delete(hub.url(ONE)).send().await.unwrap().status();
    target.answer(204);
    hub.subscribe("s", "t", &target.url(), json!({})).await;
    hub.event(&event("new", "t")).await;

    assert_eq!(gone, StatusCode::OK);
    until("the new one", || target.accepted().contains_key("new")).await;
    let hub = hub.restart().await;
    hub.event(&event("last", "t")).await;
    until("the last one", || target.accepted().contains_key("last")).await;
    assert_eq!(arrived(&target), ["last", "new"]);
    hub.stop().await;
}

#[tokio::test]
async fn a_mistake_is_named_by_its_place() {
    let hub = Hub::start().await;
    let with = |more: Value| {
        let mut body = json!({"name": "s", "eventType": "t", "sink": {"uri": "http://x"}});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let table = [
        (
            with(json!({"filters": [{"any": [{"exact": {"Type": "x"}}]}]})),
            "filters[0].any[0].exact",
        ),
        (with(json!({"function": "f"})), "function and sink"),
        (with(json!({"sink": {"uri": "ftp://x"}})), "sink.uri"),
        (with(json!({"sink": {"uri": "http://u:p@x"}})), "sink.uri"),
        (with(json!({"delivery": {"retry": -1}})), "delivery.retry"),
        (with(json!({"delivery": {"timeout": "soon"}})), "delivery.timeout"),
        (
            with(json!({"delivery": {"deadLetterSink": {"uri": "x"}}})),
            "delivery.deadLetterSink.uri",
        ),
        (
            json!({"name": "s", "sink": {"uri": "http://x"}}),
            "eventType or filters",
        ),
    ];
    for (body, place) in table {
        let (status, answer) = hub.post_json(ALL, &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(
            answer["message"].as_str().unwrap().starts_with(place),
            "{place}: {answer}"
        );
    }
    assert_eq!(put(&hub, &with(json!({}))).await.0, StatusCode::NOT_FOUND);
    assert_eq!(hub.get(ALL).await, json!([]));
    hub.stop().await;
}
