//! A call is an event: others hear of it, its run is one too, and what was promised outlives a crash.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::{PATIENCE, Stage, told, until_noted};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_can_be_subscribed_to_and_is_followed_by_its_run() -> Result<()> {
    let stage = Stage::with(&["hello", "debug"]).await?;
    stage.api("hello hello --method POST --path /hello")?;
    let subscribe = [
        "create",
        "subscription",
        "debug",
        "--name",
        "calls",
        "--event-type",
        "dispatch.api.called",
    ];
    stage.hub.ok(&subscribe)?;

    for blocking in ["true", "false"] {
        let request = stage
            .ask("POST /dispatch/hello")
            .header("x-dispatch-blocking", blocking);
        let answer = told(request.json(&json!({"name": blocking}))).await?;
        ensure!(answer.status == 200 || answer.status == 202, "{answer:?}");
    }

    let by = |runs: &Value, name: &str| {
        let all = runs.as_array().cloned().unwrap_or_default();
        all.into_iter()
            .filter(|run| run["functionName"] == name && run["status"] == "READY")
            .collect::<Vec<_>>()
    };
    stage
        .hub
        .until("both calls are heard of, and run once", PATIENCE, |hub| {
            let runs = hub.json(&["get", "runs"])?;
            Ok(by(&runs, "debug").len() == 2 && by(&runs, "hello").len() == 2)
        })
        .await?;
    let runs = stage.hub.json(&["get", "runs"])?;
    for run in by(&runs, "debug") {
        assert_eq!(run["input"]["api"], "hello");
        assert_eq!(run["input"]["httpContext"]["method"], "POST");
        assert_eq!(run["event"]["eventType"], "dispatch.api.called");
    }
    // Two of each function: a run is READY a moment before its event is in the journal.
    until_noted(&stage, "dispatch.run.succeeded", 4).await?;
    let events = stage
        .hub
        .json(&["get", "events", "--type", "dispatch.run.succeeded"])?;
    let of_hello = events
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["subject"] == "hello");
    assert_eq!(of_hello.count(), 2, "each call has one run: {events}");
    assert_eq!(by(&stage.hub.json(&["get", "runs"])?, "hello").len(), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_with_202_runs_also_after_a_crash() -> Result<()> {
    let mut stage = Stage::with(&["moody"]).await?;
    stage.api("moody moody --method POST --path /moody")?;
    let mut places = Vec::new();
    for n in 0..20 {
        let request = stage
            .ask("POST /dispatch/moody")
            .header("x-dispatch-blocking", "false");
        let taken = request.json(&json!({"mood": n})).send().await?;
        assert_eq!(taken.status(), 202);
        places.push(taken.headers()["dispatch-run"].to_str()?.to_owned());
    }

    stage.hub.kill()?;
    stage.hub.run().await?;

    stage
        .hub
        .until("every run has ended well", PATIENCE, |hub| {
            let runs = hub.json(&["get", "runs", "moody"])?;
            let ended = |name: &String| {
                let mut all = runs.as_array().into_iter().flatten();
                all.any(|run| run["name"] == **name && run["status"] == "READY")
            };
            Ok(places.iter().all(ended))
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_lets_calls_that_are_under_way_end() -> Result<()> {
    let mut stage = Stage::with(&[]).await?;
    stage.write(
        "wait.py",
        "import time\n\ndef handle(ctx, payload):\n    time.sleep(1)\n    return \"done\"\n",
    )?;
    stage
        .hub
        .ok(&["create", "function", "wait", "./wait.py", "--image", "python3"])?;
    stage.api("wait wait --method POST --path /wait")?;
    stage
        .hub
        .until("the function is READY", PATIENCE, |hub| {
            Ok(hub.json(&["get", "function", "wait"])?["status"] == "READY")
        })
        .await?;
    let request = stage.ask("POST /dispatch/wait").json(&json!({}));

    let call = tokio::spawn(told(request));
    stage
        .hub
        .until("the call is under way", PATIENCE, |hub| {
            let runs = hub.json(&["get", "runs", "wait"])?;
            Ok(runs.as_array().is_some_and(|runs| !runs.is_empty()))
        })
        .await?;
    let (status, log) = stage.hub.stop(Duration::from_secs(30)).await?;

    ensure!(status.success(), "{log}");
    let answer = call.await??;
    assert_eq!((answer.status, answer.body), (200, json!("done")));
    Ok(())
}
