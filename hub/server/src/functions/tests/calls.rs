//! Calls by `exec`: how they fail and what they are given.

use super::*;

#[tokio::test]
async fn a_call_by_exec_that_fails_is_a_run_and_no_dead_letter() {
    let folder = TempDir::new().unwrap();
    let stage = Stage::new(folder.path()).await;
    stage.seed().await;
    let slow = Function {
        timeout: 200,
        ..function(
            "slow",
            "import time\ndef handle(ctx, payload):\n    print(ctx['deadline'])\n    time.sleep(60)\n",
        )
    };
    stage.functions.create("dispatch", slow).await.unwrap();
    stage.settled("slow").await;
    let picky = stage
        .create("picky", "def handle(ctx, payload): raise ValueError('no')\n")
        .await;

    for (name, ty, message) in [
        ("picky", "InputError", "no"),
        ("slow", "FunctionError", "Function execution exceeded the timeout"),
    ] {
        let run = stage.exec(name, json!({"blocking": true})).await;
        assert_eq!(run.status, Some(Status::Error));
        let error = run.error.clone().unwrap();
        assert_eq!((error.ty.as_str(), error.message.as_str()), (ty, message));
        assert_eq!(
            run.reason,
            Some(vec![format!("error running function: {name}: {message}")])
        );
    }

    stage.told("dispatch.run.failed", 2).await;
    let lane = stage.router.status(SubscriptionId(picky.id)).await.unwrap();
    assert_eq!((lane.delivered, lane.dead_lettered), (1, 0));
    stage.stop().await;
}

#[tokio::test]
async fn secrets_of_the_function_and_of_the_call_are_merged() {
    let folder = TempDir::new().unwrap();
    let stage = Stage::new(folder.path()).await;
    stage.seed().await;
    for (name, values) in [("one", json!({"a": "1", "b": "1"})), ("two", json!({"b": "2"}))] {
        let secret: Secret = serde_json::from_value(json!({"name": name, "secrets": values})).unwrap();
        stage.store.create("dispatch", &secret).await.unwrap();
    }
    let with_secret = Function {
        secrets: vec!["one".into()],
        ..function("f", "def handle(ctx, payload): return ctx['secrets']\n")
    };
    stage.functions.create("dispatch", with_secret).await.unwrap();
    stage.settled("f").await;

    let run = stage
        .exec("f", json!({"blocking": true, "secrets": ["two"]}))
        .await;
    assert_eq!(output(&run), json!({"a": "1", "b": "2"}));
    assert_eq!(run.secrets, ["one", "two"]);
    let run = stage
        .exec("f", json!({"blocking": true, "secrets": ["none"]}))
        .await;
    let error = run.error.clone().unwrap();
    assert_eq!(error.ty, "InputError");
    assert_eq!(
        error.message,
        "error when retrieving secrets from secret store: secret none not found"
    );
    stage.stop().await;
}
