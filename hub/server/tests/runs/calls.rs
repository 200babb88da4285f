//! Runs: listed in pages, cancelled, made once more.

use std::time::Instant;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Hub, PATIENCE, config, event};
use crate::{ECHO, create, exec, names, path, seeded, send, subscribe};

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
async fn a_run_that_ended_before_a_start_is_found_however_far_behind_the_read_model_was() {
    let hub = seeded().await;
    create(&hub, "echo", ECHO, json!({})).await;
    let mut runs = Vec::new();
    for n in 0..3 {
        runs.push(exec(&hub, "echo", json!({"input": n, "blocking": true})).await);
    }

    // As a kill leaves it, at the worst.
    let folder = hub.stop().await;
    let data = config(folder.path()).data;
    let store = dispatch_store::Store::open(&data).unwrap();
    store.reset_read_models().await.unwrap();
    store.close().await;
    let hub = Hub::start_in(folder).await;

    for run in &runs {
        assert_eq!(hub.get(&path(run)).await["output"], run["output"]);
    }
    assert_eq!(hub.get("/v1/runs").await.as_array().unwrap().len(), 3);
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
    let time = |name: &str| first[name].as_i64().unwrap();
    assert!(time("executedTime") <= time("startedTime") && time("startedTime") <= time("finishedTime"));
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
