//! What runs promise to those who use the API: listed in pages, cancelled, made once more, and events themselves.
// A test's helper may unwrap.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Hub, PATIENCE, answer, event, until};

const ECHO: &str = "def handle(ctx, payload): return [payload, ctx.get('event', {}).get('id')]\n";

/// A hub with the image `python3`, READY.
async fn seeded() -> Hub {
    let hub = Hub::start().await;
    let base = json!({"name": "python3-base", "dockerUrl": "x/y:1", "language": "python3"});
    hub.post_json("/v1/baseimage", &base).await;
    let image = json!({"name": "python3", "baseImageName": "python3-base"});
    hub.post_json("/v1/image", &image).await;
    hub.until("/v1/image/python3", |image| image["status"] == "READY")
        .await;
    hub
}

async fn create(hub: &Hub, name: &str, source: &str, more: Value) {
    let mut function = json!({"name": name, "image": "python3", "source": STANDARD.encode(source)});
    function
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let (status, answer) = hub.post_json("/v1/function", &function).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    hub.until(&format!("/v1/function/{name}"), |f| f["status"] == "READY")
        .await;
}

async fn subscribe(hub: &Hub, ty: &str, function: &str, delivery: Value) {
    let subscription = json!({"name": format!("{function}-on-{}", ty.replace('.', "-")), "eventType": ty, "function": function, "delivery": delivery});
    let (status, answer) = hub.post_json("/v1/event/subscriptions", &subscription).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
}

async fn exec(hub: &Hub, function: &str, call: Value) -> Value {
    let (status, run) = hub
        .post_json(&format!("/v1/runs?functionName={function}"), &call)
        .await;
    assert!(status.is_success(), "{run}");
    run
}

async fn send(hub: &Hub, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
    let request = hub.client.request(method, hub.url(path)).json(&body);
    answer(request.send().await.unwrap()).await
}

fn path(run: &Value) -> String {
    format!("/v1/runs/{}", run["name"].as_str().unwrap())
}

fn names(runs: &Value) -> Vec<&str> {
    runs.as_array()
        .unwrap()
        .iter()
        .map(|run| run["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn runs_are_narrowed_and_read_page_by_page() {
    let hub = seeded().await;
    create(
        &hub,
        "fussy",
        "def handle(ctx, payload): return 1 / payload\n",
        json!({}),
    )
    .await;
    let mut all = Vec::new();
    for n in 0..7 {
        let shop = if n < 3 {
            json!([{"key": "Application", "value": "shop"}])
        } else {
            json!([])
        };
        let run = exec(
            &hub,
            "fussy",
            json!({"blocking": true, "input": n % 2, "tags": shop}),
        )
        .await;
        all.insert(0, run["name"].as_str().unwrap().to_owned());
    }

    for (query, count) in [
        ("status=READY", 3),
        ("status=error", 4),
        ("status=CREATING", 0),
        ("tags=application=shop", 3),
        ("tags=app=shop&status=READY", 1),
        ("functionName=fussy&limit=2", 2),
    ] {
        assert_eq!(
            names(&hub.get(&format!("/v1/runs?{query}")).await).len(),
            count,
            "{query}"
        );
    }
    let mut seen: Vec<String> = Vec::new();
    let mut next = Some("/v1/runs?limit=3&functionName=fussy".to_owned());
    while let Some(page) = next {
        let response = hub.client.get(hub.url(&page)).send().await.unwrap();
        let link = response
            .headers()
            .get("link")
            .map(|link| link.to_str().unwrap().to_owned());
        next = link.map(|link| link.split(['<', '>']).nth(1).unwrap().to_owned());
        let runs: Value = response.json().await.unwrap();
        seen.extend(names(&runs).into_iter().map(str::to_owned));
    }
    assert_eq!(seen, all);
    for (query, problem) in [
        (
            "status=DELETING",
            "status: is \"DELETING\"; must be INITIALIZED, CREATING, READY or ERROR",
        ),
        (
            "after=yesterday",
            "after: is \"yesterday\"; must be <executedTime>-<name> of the last run of the page before",
        ),
    ] {
        let (status, body) = send(&hub, Method::GET, &format!("/v1/runs?{query}"), Value::Null).await;
        assert_eq!(
            (status, &body["message"]),
            (StatusCode::BAD_REQUEST, &json!(problem))
        );
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_run_under_way_ends_when_it_is_cancelled_and_the_next_call_is_fine() {
    let hub = seeded().await;
    create(
        &hub,
        "slow",
        "import time\ndef handle(ctx, payload): time.sleep(payload)\n",
        json!({}),
    )
    .await;
    let taken = exec(&hub, "slow", json!({"input": 300})).await;
    hub.until(&path(&taken), |run| run["status"] == "CREATING").await;
    let began = Instant::now();

    let (status, cancelled) = send(&hub, Method::DELETE, &path(&taken), Value::Null).await;

    assert_eq!((status, &cancelled["status"]), (StatusCode::OK, &json!("ERROR")));
    assert_eq!(
        cancelled["reason"],
        json!(["error running function: slow: the run was cancelled"])
    );
    assert!(cancelled["finishedTime"].is_i64() && began.elapsed() < PATIENCE);
    let (status, body) = send(&hub, Method::DELETE, &path(&taken), Value::Null).await;
    assert_eq!(status, StatusCode::CONFLICT, "{body}");
    let fine = exec(&hub, "slow", json!({"input": 0, "blocking": true})).await;
    assert_eq!(fine["status"], "READY");
    hub.stop().await;
}

#[tokio::test]
async fn a_run_that_waits_and_is_cancelled_is_never_made_also_after_a_restart() {
    let hub = seeded().await;
    let calls = tempfile::NamedTempFile::new().unwrap();
    let source = format!(
        "def handle(ctx, payload):\n    open({:?}, 'a').write('x')\n    raise RuntimeError('no')\n",
        calls.path()
    );
    create(&hub, "failing", &source, json!({})).await;
    subscribe(
        &hub,
        "t",
        "failing",
        json!({"retry": 5, "backoffPolicy": "linear", "backoffDelay": "PT600S"}),
    )
    .await;
    hub.event(&event("1", "t")).await;
    let waiting = hub
        .until("/v1/runs", |runs| runs[0]["nextAttempt"].is_i64())
        .await;

    let (status, cancelled) = send(&hub, Method::DELETE, &path(&waiting[0]), Value::Null).await;

    assert_eq!((status, cancelled.get("nextAttempt")), (StatusCode::OK, None));
    // The next start tries what is owed at once, but for this one; which it settles.
    let hub = hub.restart().await;
    hub.until("/v1/deliveries", |owed| *owed == json!([])).await;
    let run = hub.get(&path(&waiting[0])).await;
    assert_eq!(run["error"]["message"], "the run was cancelled");
    assert_eq!(
        std::fs::read_to_string(calls.path()).unwrap(),
        "x",
        "it was called once"
    );
    assert_eq!(hub.get("/v1/deadletters").await, json!([]));
    hub.stop().await;
}

#[tokio::test]
async fn a_run_is_made_once_more_as_it_was_or_with_another_input() {
    let hub = seeded().await;
    create(&hub, "echo", ECHO, json!({})).await;
    subscribe(&hub, "t", "echo", json!({})).await;
    hub.event(&event("the-event", "t")).await;
    let runs = hub.until("/v1/runs", |runs| runs[0]["status"] == "READY").await;
    let first = &runs[0];
    assert_eq!(first["output"], json!([{"n": 1}, "the-event"]));
    let again = async |body: Value| {
        let (status, run) = send(&hub, Method::POST, &format!("{}/rerun", path(first)), body).await;
        assert!(status.is_success(), "{run}");
        run
    };

    let same = again(json!({"blocking": true})).await;
    let other = again(json!({"blocking": true, "input": {"n": 2}})).await;
    let later = again(json!({})).await;

    assert_eq!(
        (&same["output"], &same["rerunOf"]),
        (&first["output"], &first["name"])
    );
    assert_eq!(other["output"], json!([{"n": 2}, "the-event"]));
    assert_ne!(same["name"], first["name"]);
    let ended = hub.until(&path(&later), |run| run["status"] == "READY").await;
    assert_eq!(ended["rerunOf"], first["name"]);
    let nobody = "/v1/runs/00000000-0000-0000-0000-000000000000/rerun";
    assert_eq!(
        send(&hub, Method::POST, nobody, json!({})).await.0,
        StatusCode::NOT_FOUND
    );
    hub.stop().await;
}

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

#[tokio::test]
async fn payloads_that_do_not_fit_their_schemas_are_somebody_s_fault() {
    let hub = seeded().await;
    let schema = json!({"schema": {
        "in": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
        "out": {"type": "string"}}});
    create(
        &hub,
        "greet",
        "def handle(ctx, payload): return 7 if payload['name'] == 'seven' else payload['name']\n",
        schema.clone(),
    )
    .await;

    let call = |input: Value| exec(&hub, "greet", json!({"blocking": true, "input": input}));
    let fine = call(json!({"name": "Jon"})).await;
    let missing = call(json!({})).await;
    let wrong = call(json!({"name": "seven"})).await;

    assert_eq!(
        (&fine["status"], &fine["output"]),
        (&json!("READY"), &json!("Jon"))
    );
    assert_eq!(
        (&missing["error"]["type"], &missing["error"]["message"]),
        (
            &json!("InputError"),
            &json!("Input invalid against schema: validation failure list: \"name\" is a required property")
        )
    );
    assert_eq!(wrong["error"]["type"], "FunctionError");
    let bad = json!({"name": "bad", "image": "python3", "source": STANDARD.encode(ECHO), "schema": {"in": {"type": "objct"}}});
    let (status, body) = hub.post_json("/v1/function", &bad).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(
        body["message"]
            .as_str()
            .unwrap()
            .starts_with("schema.in: is not a JSON Schema at /type"),
        "{body}"
    );
    // And they are still known after a restart.
    let hub = hub.restart().await;
    hub.until("/v1/function/greet", |f| {
        f["status"] == "READY" && f["schema"] == schema["schema"]
    })
    .await;
    let missing = exec(&hub, "greet", json!({"blocking": true})).await;
    assert_eq!(missing["error"]["type"], "InputError");
    hub.stop().await;
}

#[tokio::test]
async fn an_application_is_a_label_over_all_kinds() {
    let hub = seeded().await;
    let (status, shop) = hub.post_json("/v1/application/", &json!({"name": "shop"})).await;
    assert_eq!(
        (status, &shop["status"], &shop["kind"]),
        (StatusCode::OK, &json!("READY"), &json!("Application"))
    );
    let tags = json!([{"key": "Application", "value": "shop"}]);
    create(&hub, "f", ECHO, json!({"tags": tags})).await;
    create(&hub, "g", ECHO, json!({})).await;
    let secret = json!({"name": "s", "secrets": {"a": "b"}, "tags": tags});
    hub.post_json("/v1/secret/", &secret).await;
    let subscription = json!({"name": "sub", "eventType": "t", "function": "f", "tags": tags});
    hub.post_json("/v1/event/subscriptions", &subscription).await;

    for (list, count) in [
        ("function", 1),
        ("secret/", 1),
        ("event/subscriptions", 1),
        ("image", 0),
        ("event/drivers", 0),
    ] {
        let found = hub.get(&format!("/v1/{list}?tags=application=shop")).await;
        assert_eq!(found.as_array().unwrap().len(), count, "{list}");
    }
    let (status, gone) = send(&hub, Method::DELETE, "/v1/application/shop", Value::Null).await;
    assert_eq!((status, &gone["name"]), (StatusCode::OK, &json!("shop")));
    assert_eq!(
        hub.get("/v1/function?tags=app=shop").await[0]["name"],
        "f",
        "what belonged to it stays"
    );
    assert_eq!(hub.get("/v1/application").await, json!([]));
    hub.stop().await;
}

#[tokio::test]
async fn the_secret_key_is_rotated_while_functions_use_their_secrets() {
    let hub = seeded().await;
    hub.post_json(
        "/v1/secret/",
        &json!({"name": "s", "secrets": {"password": "OpenSesame"}}),
    )
    .await;
    create(
        &hub,
        "f",
        "def handle(ctx, payload): return ctx['secrets']['password']\n",
        json!({"secrets": ["s"]}),
    )
    .await;
    let key = hub.data().join("secret.key");
    let before = std::fs::read_to_string(&key).unwrap();

    let (status, rotated) = hub.post_json("/v1/secretkey/rotate", &Value::Null).await;

    assert_eq!(
        (status, &rotated["wrapped"]),
        (StatusCode::OK, &json!(1)),
        "{rotated}"
    );
    assert_ne!(std::fs::read_to_string(&key).unwrap(), before);
    assert_eq!(
        exec(&hub, "f", json!({"blocking": true})).await["output"],
        "OpenSesame"
    );
    let hub = hub.restart().await;
    assert_eq!(
        exec(&hub, "f", json!({"blocking": true})).await["output"],
        "OpenSesame"
    );
    until("the key's file is whole", || key.exists()).await;
    hub.stop().await;
}
