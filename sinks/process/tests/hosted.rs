//! What was written for other systems, unchanged, under their own runtimes from PyPI and npm.
// Helpers outside #[test] functions may unwrap here: a panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod stage;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use dispatch_contract::{Faas, FaasError, FunctionErrorKind, InvocationError};
use dispatch_fixtures::wheels;
use dispatch_sink_process::{BuildLog, InstallError, Installer};
use serde_json::{Value, json};
use stage::{Stage, error, invocation, is_here, within};
use uuid::Uuid;

/// A manifest's packages; `None`, visibly, where the registries cannot be reached.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
async fn packages(stage: &Stage, language: &str, manifest: &str) -> Option<PathBuf> {
    if !is_here(stage, language).await {
        return None;
    }
    let installer = Installer::open(stage.folder.path().join("images")).unwrap();
    match within(150, installer.install(language, manifest, &BuildLog::nowhere())).await {
        Ok(folder) => folder,
        Err(InstallError::Failed(reason) | InstallError::Unavailable(reason)) => {
            assert_ne!(
                std::env::var("CI").as_deref(),
                Ok("true"),
                "not to be skipped here: {reason}"
            );
            eprintln!("SKIPPED: {reason}");
            None
        }
    }
}

/// Calls with an event and a secret in the context.
async fn by_event(stage: &Stage, revision: Uuid, payload: Value) -> Value {
    let mut call = invocation(revision, payload, Some(Duration::from_secs(30)));
    call.context = Bytes::from_static(
        br#"{"event":{"specversion":"1.0","id":"7","source":"/vc","type":"vm.powered.on","subject":"vm 1","eventType":"x"}}"#,
    );
    call.secrets.insert("password".into(), "OpenSesame".into());
    let answered = within(40, stage.engine.invoke(call)).await;
    serde_json::from_slice(&answered.result.unwrap()).unwrap()
}

const FF_PYTHON: &str = r#"
import json
import functions_framework

@functions_framework.http
def hello(request):
    payload = request.get_json(silent=True)
    print("called with", payload)
    if payload == "crash":
        raise RuntimeError("boom")
    if payload == "missing":
        return "no such vm", 404
    if payload == "text":
        return "just text"
    context = json.loads(request.headers.get("dispatch-context", "{}"))
    return {"payload": payload, "type": request.headers["ce-type"], "secrets": context.get("secrets")}

@functions_framework.cloud_event
def on_event(event):
    print("event", event["id"], event["type"], event.data)
    if event.data == "crash":
        raise ValueError("bad event")

def plain(request):
    return {"plain": request.get_json()}
"#;

#[tokio::test]
async fn a_functions_framework_app_in_python_runs_unchanged() {
    let stage = Stage::with(|s| s.max_workers = 1);
    let language = "functions-framework-python3";
    let manifest = wheels::manifest("functions-framework==3.10.2").unwrap();
    let Some(folder) = packages(&stage, language, &manifest).await else {
        return;
    };
    let files = [("main.py", FF_PYTHON), ("other.txt", "")];
    let deploy = |handler| stage.deploy_with(language, Some(folder.clone()), &files, handler);
    let hello = deploy("hello").await.unwrap();

    assert_eq!(
        by_event(&stage, hello, json!({"a": "ü"})).await,
        json!({"payload": {"a": "ü"}, "type": "vm.powered.on", "secrets": {"password": "OpenSesame"}})
    );
    assert_eq!(stage.output(hello, json!("text")).await, json!("just text"));
    assert_eq!(stage.output(hello, json!([1])).await["type"], "dispatch.exec");
    let crashed = stage.call(hello, json!("crash")).await;
    assert!(
        crashed.logs.stdout.contains(&"called with crash".to_owned()),
        "{:?}",
        crashed.logs
    );
    let crashed = error(crashed);
    assert_eq!(
        (crashed.kind, &*crashed.message),
        (
            FunctionErrorKind::Function,
            "the function answered 500: RuntimeError: boom"
        )
    );
    assert!(
        crashed.stacktrace.iter().any(|l| l.contains("main.py")),
        "{:?}",
        crashed.stacktrace
    );
    let missing = error(stage.call(hello, json!("missing")).await);
    assert_eq!(missing.kind, FunctionErrorKind::Input);
    assert!(missing.message.contains("no such vm"), "{missing}");

    let on_event = deploy("on_event").await.unwrap();
    let mut call = invocation(on_event, json!({"n": 1}), Some(Duration::from_secs(30)));
    call.context =
        Bytes::from_static(br#"{"event":{"specversion":"1.0","id":"7","source":"/vc","type":"vm"}}"#);
    let answered = within(40, stage.engine.invoke(call)).await;
    assert!(answered.result.is_ok(), "{answered:?}");
    assert!(
        answered.logs.stdout.contains(&"event 7 vm {'n': 1}".to_owned()),
        "{:?}",
        answered.logs
    );
    assert_eq!(
        error(stage.call(on_event, json!("crash")).await).kind,
        FunctionErrorKind::Function
    );

    let plain = deploy("plain:http").await.unwrap();
    assert_eq!(stage.output(plain, json!(1)).await, json!({"plain": 1}));
    for (handler, wanted) in [("nothing", "nothing"), ("plain:grpc", "is no signature")] {
        let Err(FaasError::Invalid(reason)) = deploy(handler).await else {
            panic!("{handler} was deployed")
        };
        assert!(reason.contains(wanted), "{reason}");
    }
    let none = stage.deploy(language, &files, "hello").await;
    let Err(FaasError::Invalid(reason)) = none else {
        panic!("deployed without the framework")
    };
    assert!(
        reason.contains("the image has no functions-framework"),
        "{reason}"
    );
}

const FF_NODE: &str = r#"
const functions = require('@google-cloud/functions-framework');
functions.http('hello', (req, res) => {
  console.log('called with', JSON.stringify(req.body));
  if (req.body.crash) throw new Error('boom');
  res.json({ payload: req.body, type: req.headers['ce-type'], at: req.socket.server.address().address });
});
functions.cloudEvent('onEvent', (event) => ({ id: event.id, data: event.data }));
"#;

#[tokio::test]
async fn a_functions_framework_app_in_node_runs_unchanged_and_listens_on_this_machine_only() {
    let stage = Stage::with(|s| s.max_workers = 1);
    let language = "functions-framework-nodejs";
    let manifest = r#"{"dependencies": {"@google-cloud/functions-framework": "5.0.5"}}"#;
    let Some(folder) = packages(&stage, language, manifest).await else {
        return;
    };
    let files = [("hello.js", FF_NODE)];
    let deploy = |handler| stage.deploy_with(language, Some(folder.clone()), &files, handler);
    let hello = deploy("hello").await.unwrap();

    let output = by_event(&stage, hello, json!({"a": "ü"})).await;
    assert_eq!(
        output,
        json!({"payload": {"a": "ü"}, "type": "vm.powered.on", "at": "127.0.0.1"})
    );
    let crashed = stage.call(hello, json!({"crash": 1})).await;
    assert_eq!(crashed.logs.stdout[0], "called with {\"crash\":1}");
    let crashed = error(crashed);
    assert_eq!(crashed.kind, FunctionErrorKind::Function);
    assert!(
        crashed.stacktrace.iter().any(|l| l.contains("boom")),
        "{crashed:?}"
    );

    let on_event = deploy("onEvent").await.unwrap();
    assert_eq!(
        by_event(&stage, on_event, json!([1])).await,
        json!({"id": "7", "data": [1]})
    );
}

const LAMBDA: &str = r#"
import time
def handle(event, context):
    print("called with", event)
    if event == "crash":
        raise RuntimeError("boom")
    if event == "late":
        time.sleep(600)
    if event == "set":
        return {1, 2}
    if event == "exit":
        import os
        os._exit(5)
    custom = context.client_context.custom
    return {"event": event, "name": context.function_name, "left": context.get_remaining_time_in_millis(),
            "type": (custom.get("event") or {}).get("type"), "secrets": custom["secrets"], "id": context.aws_request_id}
"#;

#[tokio::test]
async fn a_lambda_handler_in_python_runs_unchanged() {
    let stage = Stage::with(|s| s.max_workers = 1);
    let language = "lambda-python3";
    let manifest = wheels::manifest("awslambdaric==4.2.2").unwrap();
    let Some(folder) = packages(&stage, language, &manifest).await else {
        return;
    };
    let files = [("app.py", LAMBDA), ("broken.py", "raise KeyError('at import')")];
    let deploy = |handler| stage.deploy_with(language, Some(folder.clone()), &files, handler);
    let revision = deploy("app.handle").await.unwrap();

    let output = by_event(&stage, revision, json!({"a": "ü"})).await;
    let left = output["left"].as_i64().unwrap();
    assert!((1..=30_000).contains(&left), "{left}");
    assert_eq!(
        (&output["event"], &output["name"], &output["type"]),
        (&json!({"a": "ü"}), &json!("test"), &json!("vm.powered.on"))
    );
    assert_eq!(output["secrets"], json!({"password": "OpenSesame"}));
    let again = stage.output(revision, json!(1)).await;
    assert_ne!(again["id"], output["id"]);

    let crashed = stage.call(revision, json!("crash")).await;
    assert!(
        crashed.logs.stdout.contains(&"called with crash".to_owned()),
        "{:?}",
        crashed.logs
    );
    let crashed = error(crashed);
    assert_eq!(
        (crashed.kind, &*crashed.message),
        (FunctionErrorKind::Function, "boom")
    );
    assert!(
        crashed.stacktrace.iter().any(|l| l.contains("app.py")),
        "{crashed:?}"
    );
    assert_eq!(crashed.stacktrace.last().unwrap(), "RuntimeError: boom");
    let set = error(stage.call(revision, json!("set")).await);
    assert!(set.message.contains("Unable to marshal response"), "{set}");
    let gone = error(stage.call(revision, json!("exit")).await);
    assert!(
        gone.kind == FunctionErrorKind::System && gone.message.contains("exit status: 5"),
        "{gone}"
    );
    let late = stage
        .call_within(revision, json!("late"), Duration::from_millis(500))
        .await;
    assert!(matches!(late.result, Err(InvocationError::Timeout)));
    assert_eq!(stage.output(revision, json!(2)).await["event"], 2);

    for (handler, wanted) in [
        ("app.nothing", "nothing"),
        ("missing.handle", "missing"),
        ("broken.handle", "at import"),
    ] {
        let Err(FaasError::Invalid(reason)) = deploy(handler).await else {
            panic!("{handler} was deployed")
        };
        assert!(reason.contains(wanted), "{handler}: {reason}");
    }
    let Err(FaasError::Invalid(reason)) = stage.deploy(language, &files, "app.handle").await else {
        panic!("deployed without the runtime client");
    };
    assert!(reason.contains("the image has no awslambdaric"), "{reason}");
}

/// A runtime of its own, in the shell: what AWS' documentation shows.
const BOOTSTRAP: &str = r#"#!/bin/sh
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime"
if [ "$_HANDLER" = broken ]; then
  curl -s -d '{"errorMessage":"no such handler","errorType":"Runtime.NoHandler"}' "$api/init/error" >/dev/null
  exit 1
fi
while :; do
  event=$(curl -s -D headers "$api/invocation/next")
  id=$(grep -i lambda-runtime-aws-request-id headers | tr -d '\r' | cut -d' ' -f2)
  case $event in
    '"wrong"') curl -s -o wrong -d '{}' "$api/invocation/other/response"; curl -s -d "@wrong" "$api/invocation/$id/response" ;;
    '"error"') curl -s -d '{"errorMessage":"oh","errorType":"Own"}' "$api/invocation/$id/error" ;;
    '"forgets"') ;;
    *) curl -s -d "{\"handler\":\"$_HANDLER\",\"event\":$event}" "$api/invocation/$id/response" ;;
  esac >/dev/null
done
"#;

#[tokio::test]
async fn a_lambda_bootstrap_speaks_the_runtime_api() {
    let stage = Stage::with(|s| s.max_workers = 1);
    let files = [("bootstrap", BOOTSTRAP)];
    let revision = stage
        .deploy("lambda-provided", &files, "my.handler")
        .await
        .unwrap();

    for n in 0..3 {
        assert_eq!(
            stage.output(revision, json!(n)).await,
            json!({"handler": "my.handler", "event": n})
        );
    }
    let wrong = stage.output(revision, json!("wrong")).await;
    assert_eq!(wrong["errorType"], "InvalidRequestID");
    assert_eq!(
        error(stage.call(revision, json!("error")).await).stacktrace,
        ["Own: oh"]
    );
    let forgets = error(stage.call(revision, json!("forgets")).await);
    assert_eq!(forgets.kind, FunctionErrorKind::System);
    assert_eq!(stage.output(revision, json!(9)).await["event"], 9);

    for (files, handler, wanted) in [
        (vec![("bootstrap", BOOTSTRAP)], "broken", "no such handler"),
        (vec![("boot", BOOTSTRAP)], "x", "there is no file bootstrap"),
        (vec![("bootstrap", "#!/bin/sh\nexit 7")], "x", "exit status: 7"),
    ] {
        let Err(FaasError::Invalid(reason)) = stage.deploy("lambda-provided", &files, handler).await else {
            panic!("{handler} was deployed");
        };
        assert!(reason.contains(wanted), "{reason}");
    }
}
