//! Any program as a function: started for each call, or listening on a port.

mod stage;

use std::time::{Duration, Instant};

use dispatch_contract::{Faas, FaasError, FunctionErrorKind, InvocationError};
use serde_json::json;
use stage::{Stage, alive, error, eventually, invocation, within};

/// Speaks the function message on its standard streams.
const STDIO: &str = r#"#!/usr/bin/env python3
import json, os, subprocess, sys, time
message = json.load(sys.stdin)
payload = message["payload"]
print("about", payload, file=sys.stderr)
if payload == "group":
    answer = os.getpgrp()
elif payload == "secret":
    answer = message["context"]["secrets"]["password"]
elif payload == "fails":
    sys.exit("no such thing")
elif payload == "input":
    print(json.dumps({"context": {"error": {"type": "InputError", "message": "not that"}, "logs": {"stdout": ["own"]}}}))
    sys.exit()
elif payload == "words":
    print("hello")
    sys.exit()
elif payload == "much":
    sys.stdout.write('"' + "x" * (2 << 20))
    answer = 0
elif payload == "child":
    subprocess.Popen(["sleep", "600"])
    answer = os.getpgrp()
elif payload == "hangs":
    print("group", os.getpgrp(), file=sys.stderr, flush=True)
    os.close(1)
    time.sleep(600)
else:
    answer = payload
print(json.dumps({"payload": answer}))
"#;

/// Speaks it over HTTP.
const HTTP: &str = r#"#!/usr/bin/env python3
import json, os, time
from http.server import BaseHTTPRequestHandler, HTTPServer

class Function(BaseHTTPRequestHandler):
    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        payload = message["payload"]
        print("about", payload, flush=True)
        if payload == "dies":
            os._exit(4)
        if payload == "hangs":
            time.sleep(600)
        status, answer = 200, {"context": {}, "payload": payload}
        if payload == "pid":
            answer["payload"] = os.getpid()
        if payload == "deadline":
            answer["payload"] = self.headers["dispatch-deadline"]
        if payload == "error":
            answer = {"context": {"error": {"type": "FunctionError", "message": "oh", "stacktrace": ["here"]}}}
        if payload == 418:
            status, answer = 418, "teapot"
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b"words" if payload == "words" else json.dumps(answer).encode())
    def log_message(self, *_):
        pass

HTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Function).serve_forever()
"#;

#[tokio::test]
async fn a_program_is_asked_on_its_standard_input_and_answers_on_its_standard_output() {
    let stage = Stage::new();
    let files = [("bin/hello", STDIO), ("README", "not a program")];
    let revision = stage.deploy("exec", &files, "bin/hello").await.unwrap();

    let answered = stage.call(revision, json!({"ü": [1.5, null]})).await;
    assert_eq!(answered.logs.stderr.len(), 1);
    let output: serde_json::Value = serde_json::from_slice(&answered.result.unwrap()).unwrap();
    assert_eq!(output, json!({"ü": [1.5, null]}));
    let large = json!("x".repeat(900_000));
    assert_eq!(stage.output(revision, large.clone()).await, large);
    let mut call = invocation(revision, json!("secret"), None);
    call.secrets.insert("password".into(), "OpenSesame".into());
    assert_eq!(
        within(20, stage.engine.invoke(call)).await.result.unwrap(),
        "\"OpenSesame\""
    );

    use FunctionErrorKind::{Function, Input};
    for (payload, kind, message) in [
        (
            "fails",
            Function,
            "the program failed (exit status: 1): no such thing",
        ),
        ("input", Input, "not that"),
        ("words", Function, "is no function message"),
        ("much", Function, "a result has at most"),
    ] {
        let error = error(stage.call(revision, json!(payload)).await);
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(message), "{payload}: {error}");
    }
    let own = stage.call(revision, json!("input")).await.logs;
    assert_eq!(own.stdout, ["own"]);
}

#[tokio::test]
async fn a_program_and_what_it_started_are_gone_after_the_call() {
    let stage = Stage::new();
    let revision = stage.deploy("exec", &[("hello", STDIO)], "").await.unwrap();

    let group = stage.output(revision, json!("child")).await.as_i64().unwrap();
    eventually("the child is gone", || alive(group) == 0).await;

    let start = Instant::now();
    let hung = stage
        .call_within(revision, json!("hangs"), Duration::from_secs(3))
        .await;
    assert!(start.elapsed() < Duration::from_secs(5));
    // It closed its standard output and said nothing: no answer, whether the end or the time came first.
    assert!(hung.result.is_err());
    let group = hung.logs.stderr[1].trim_start_matches("group ").parse().unwrap();
    eventually("what hung is gone", || alive(group) == 0).await;
}

#[tokio::test]
async fn a_program_that_listens_is_started_once_and_asked_over_http() {
    let stage = Stage::with(|s| s.max_workers = 1);
    let revision = stage
        .deploy("exec", &[("serve", HTTP), ("x", "")], "serve::http")
        .await
        .unwrap();

    let answered = stage.call(revision, json!({"a": "ü"})).await;
    assert_eq!(answered.logs.stdout, ["about {'a': 'ü'}"]);
    assert_eq!(answered.result.unwrap(), "{\"a\": \"\\u00fc\"}");
    let pid = stage.output(revision, json!("pid")).await;
    assert_eq!(stage.output(revision, json!("pid")).await, pid);
    let deadline = stage.output(revision, json!("deadline")).await;
    assert!(deadline.as_str().unwrap().ends_with('Z'), "{deadline}");

    use FunctionErrorKind::{Function, System};
    for (payload, kind, message) in [
        (json!("error"), Function, "oh"),
        (
            json!(418),
            System,
            "Server returned unexpected status code: 418 - \"teapot\"",
        ),
        (json!("words"), System, "cannot JSON-parse result"),
        (json!("dies"), System, "exit status: 4"),
    ] {
        let error = error(stage.call(revision, payload).await);
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(message), "{error}");
    }
    let second = stage.output(revision, json!("pid")).await;
    assert_ne!(second, pid);
    let late = stage
        .call_within(revision, json!("hangs"), Duration::from_millis(500))
        .await;
    assert!(matches!(late.result, Err(InvocationError::Timeout)));
    assert_ne!(stage.output(revision, json!("pid")).await, second);
}

#[tokio::test]
async fn what_is_no_program_says_why_at_deploy() {
    let stage = Stage::with(|s| s.load = Duration::from_secs(5));
    let table = [
        (
            vec![("a", "plain text")],
            "a",
            "neither an executable nor a script that begins with #!",
        ),
        (vec![("a", STDIO)], "b", "there is no file b"),
        (vec![("a", STDIO)], "../a", "is not inside the function's folder"),
        (
            vec![("a", STDIO)],
            "/bin/sh",
            "is not inside the function's folder",
        ),
        (vec![("a", STDIO), ("b", "")], "", "Exactly 1 source file needed"),
        (vec![("a", "#!/bin/sh\nexit 3\n")], "a::http", "exit status: 3"),
        (
            vec![("a", "#!/bin/sh\nsleep 600\n")],
            "a::http",
            "it did not load within 5 s",
        ),
    ];
    for (files, handler, wanted) in table {
        let Err(FaasError::Invalid(reason)) = stage.deploy("exec", &files, handler).await else {
            panic!("{handler:?} was deployed");
        };
        assert!(reason.contains(wanted), "{handler:?}: {reason}");
    }
}
