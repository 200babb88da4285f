//! Calls through an API that were made before: heard of by a subscription that came later, and made once more.

use anyhow::{Result, ensure};
use dispatch_fixtures::hub::Hub;
use serde_json::{Value, json};

use crate::{PATIENCE, Stage, told, until_noted};

/// Runs of a function that have ended, newest first.
fn ended(stage: &Stage, function: &str, status: &str) -> Result<Vec<Value>> {
    let runs = stage.hub.json(&["get", "runs", function])?;
    let all = runs.as_array().into_iter().flatten();
    Ok(all.filter(|run| run["status"] == status).cloned().collect())
}

async fn until_ended(stage: &Stage, function: &str, status: &str, count: usize) -> Result<Vec<Value>> {
    let what = format!("{count} runs of {function} in {status}");
    stage
        .hub
        .until(&what, PATIENCE, |_| {
            Ok(ended(stage, function, status)?.len() >= count)
        })
        .await?;
    let all = ended(stage, function, status)?;
    ensure!(all.len() == count, "{} runs of {function}: {all:?}", all.len());
    Ok(all)
}

/// The people of such runs, sorted.
fn people(runs: &[Value], at: &str) -> Vec<String> {
    let name = |run: &Value| {
        run.pointer(at)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let mut all: Vec<String> = runs.iter().map(name).collect();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_a_function_that_failed_are_made_once_more_when_it_is_mended() -> Result<()> {
    let stage = Stage::with(&["debug"]).await?;
    stage.write(
        "greet.py",
        "def handle(ctx, payload):\n    raise RuntimeError('not yet')\n",
    )?;
    stage
        .hub
        .ok(&["create", "function", "greet", "./greet.py", "--image", "python3"])?;
    let ready = |hub: &Hub| Ok(hub.json(&["get", "function", "greet"])?["status"] == "READY");
    stage.hub.until("greet is READY", PATIENCE, ready).await?;
    stage.api("greet greet --method POST --path /greet/{name}")?;
    stage.api("other debug --method POST --path /other")?;
    for name in ["Arya", "Bran", "Jon"] {
        let call = stage.ask(&format!("POST /dispatch/greet/{name}?loud=1"));
        assert_eq!(told(call.json(&json!({"place": name}))).await?.status, 502);
    }
    assert_eq!(told(stage.ask("POST /dispatch/other")).await?.status, 200);
    until_noted(&stage, "dispatch.api.called", 4).await?;
    until_ended(&stage, "greet", "ERROR", 3).await?;

    stage.write(
        "greet.py",
        "def handle(ctx, payload):\n    http = ctx['httpContext']\n    return {'name': http['params']['name'], 'query': http['query'], 'place': payload['place']}\n",
    )?;
    stage.write(
        "greet.yaml",
        "kind: Function\nname: greet\nimage: python3\nsourcePath: greet.py\n",
    )?;
    stage.hub.ok(&["update", "-f", "greet.yaml"])?;
    stage.hub.until("greet is READY again", PATIENCE, ready).await?;

    // All that came through this API and nothing else, as it came
    let replay = ["replay", "--api", "greet", "--since", "1h"];
    assert_eq!(stage.hub.ok(&replay)?, "replayed: 3\n");
    let again = until_ended(&stage, "greet", "READY", 3).await?;
    assert_eq!(people(&again, "/output/name"), ["Arya", "Bran", "Jon"]);
    assert_eq!(people(&again, "/output/place"), ["Arya", "Bran", "Jon"]);
    ensure!(
        again
            .iter()
            .all(|run| run["output"]["query"] == json!({"loud": "1"}))
    );
    ensure!(again.iter().all(|run| run["httpContext"]["method"] == "POST"));
    assert_eq!(ended(&stage, "debug", "READY")?.len(), 1);

    // What was replayed is not a call of anybody's: it is not replayed again, however often
    let some = stage.hub.ok(&[&replay[..], &["--limit", "2"]].concat())?;
    assert_eq!(some, "replayed: 2\n");
    until_ended(&stage, "greet", "READY", 5).await?;
    let early = stage.hub.ok(&[&replay[..], &["--until", "30m"]].concat())?;
    assert_eq!(early, "replayed: 0\n");
    assert_eq!(ended(&stage, "greet", "ERROR")?.len(), 3);

    // One call a request, from where the one before says
    let url = format!("{}/v1/api/greet/replay", stage.hub.url());
    let mut body = json!({"since": "2026-01-01T00:00:00Z", "limit": 1});
    let mut requests = 0;
    loop {
        let answer = told(stage.http.post(&url).json(&body)).await?;
        ensure!(answer.status == 200, "{answer:?}");
        requests += answer.body["replayed"].as_u64().unwrap_or_default();
        match answer.body["next"].as_u64() {
            Some(next) => body["after"] = json!(next),
            None => break,
        }
    }
    assert_eq!(requests, 3);
    until_ended(&stage, "greet", "READY", 8).await?;

    for (args, said) in [
        (&["--api", "nobody"][..], "[Code: 404] api nobody not found"),
        (&["nobody"], "[Code: 404] subscription nobody not found"),
        (
            &["--api", "greet", "--until", "2h"],
            "[Code: 400] until: is before since",
        ),
    ] {
        let refused = stage.hub.cli(&[&["replay", "--since", "1h"], args].concat())?;
        assert_eq!(refused.status.code(), Some(1));
        assert_eq!(String::from_utf8(refused.stderr)?.trim(), said);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_gets_calls_as_they_come_and_those_of_before_it_was_made() -> Result<()> {
    let stage = Stage::with(&["hello", "debug"]).await?;
    stage.api("hello hello --method POST --path /hello")?;
    stage.api("other hello --method POST --path /other")?;
    let call = async |path: &str, name: &str| {
        let answer = told(
            stage
                .ask(&format!("POST /dispatch{path}"))
                .json(&json!({"name": name})),
        )
        .await?;
        ensure!(answer.status == 200, "{answer:?}");
        anyhow::Ok(())
    };
    call("/hello", "Arya").await?;
    call("/other", "Nobody").await?;
    call("/hello", "Bran").await?;
    stage.hub.ok(&[
        "emit",
        "order.placed",
        "--data",
        "{}",
        "--content-type",
        "application/json",
    ])?;
    until_noted(&stage, "dispatch.api.called", 3).await?;
    let subscribe = [
        "create",
        "subscription",
        "debug",
        "--name=audit",
        "--event-type=dispatch.api.called",
        "--filter=exact:source=/dispatch/apis/hello",
    ];
    stage.hub.ok(&subscribe)?;

    // Live, and nothing of what came before
    call("/hello", "Jon").await?;
    call("/other", "Nobody").await?;
    let live = until_ended(&stage, "debug", "READY", 1).await?;
    assert_eq!(people(&live, "/output/params/input/name"), ["Jon"]);
    assert_eq!(live[0]["output"]["params"]["api"], "hello");
    assert_eq!(live[0]["event"]["eventType"], "dispatch.api.called");

    // Replayed: what its filters want, once for each time it is asked for, and the function of the API is not called
    until_noted(&stage, "dispatch.api.called", 5).await?;
    let hellos = until_ended(&stage, "hello", "READY", 5).await?.len();
    assert_eq!(
        stage.hub.ok(&["replay", "audit", "--since", "1h"])?,
        "replayed: 3\n"
    );
    let all = until_ended(&stage, "debug", "READY", 4).await?;
    assert_eq!(
        people(&all, "/output/params/input/name"),
        ["Arya", "Bran", "Jon", "Jon"]
    );
    let json = stage.hub.json(&["replay", "audit", "--since", "1h"])?;
    assert_eq!(json, json!({"replayed": 3}));
    until_ended(&stage, "debug", "READY", 7).await?;
    assert_eq!(ended(&stage, "hello", "READY")?.len(), hellos);

    // After a crash, too: what was said to be replayed is on disk
    let mut stage = stage;
    assert_eq!(
        stage.hub.ok(&["replay", "audit", "--since", "1h"])?,
        "replayed: 3\n"
    );
    stage.hub.kill()?;
    stage.hub.run().await?;
    stage
        .hub
        .until("the replayed calls are heard of after a crash", PATIENCE, |_| {
            Ok(ended(&stage, "debug", "READY")?.len() >= 10)
        })
        .await
}
