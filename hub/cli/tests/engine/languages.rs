//! A function in each language: by `exec` and by event, its logs, its errors, its secrets.

use anyhow::Result;
use dispatch_fixtures::process::runs_from;
use serde_json::{Value, json};

use crate::bench::Bench;

const JAVA: &str = r#"
package io.dispatchframework.examples;
import java.util.Map;
import java.util.function.BiFunction;
public class Hello implements BiFunction<Map<String, Object>, Map<String, Object>, Object> {
    public Object apply(Map<String, Object> context, Map<String, Object> payload) {
        System.out.println("out");
        System.err.println("err");
        if (payload.get("name") == null) throw new IllegalArgumentException("who?");
        Map<?, ?> secrets = (Map<?, ?>) context.get("secrets");
        return Map.of("myField", "Hello, " + payload.get("name"), "secret", String.valueOf(secrets.get("password")),
            "event", context.containsKey("event"));
    }
}
"#;
const CLOJURE: &str = r#"
(ns hello)
(defn handle [context payload]
  (println "out")
  (binding [*out* *err*] (println "err"))
  (when-not (:name payload) (throw (IllegalArgumentException. "who?")))
  {:myField (str "Hello, " (:name payload))
   :secret (str (get-in context [:secrets :password]))
   :event (contains? context :event)})
"#;
const POWERSHELL: &str = r#"
function handle($context, $payload) {
    [Console]::Out.WriteLine("out")
    [Console]::Error.WriteLine("err")
    if (-not $payload.name) { throw [System.ArgumentException]::new("who?") }
    return @{ myField = "Hello, $($payload.name)"; secret = "$($context.secrets.password)"; event = $null -ne $context.event }
}
"#;
const PYTHON: &str = r#"
import sys
def handle(context, payload):
    print("out")
    print("err", file=sys.stderr)
    if not payload.get("name"):
        raise ValueError("who?")
    return {"myField": "Hello, " + payload["name"], "secret": context["secrets"].get("password"), "event": "event" in context}
"#;
const NODE: &str = r#"
module.exports = (context, payload) => {
  console.log('out');
  console.error('err');
  if (!payload.name) throw new TypeError('who?');
  return { myField: `Hello, ${payload.name}`, secret: context.secrets.password, event: 'event' in context };
};
"#;
/// In the shell, for a shell is everywhere; it answers with what it was asked.
const EXEC: &str = r##"#!/usr/bin/env python3
import json, sys
message = json.load(sys.stdin)
context, payload = message["context"], message["payload"]
print("err", file=sys.stderr)
if not payload.get("name"):
    error = {"type": "InputError", "message": "who?", "stacktrace": ["hello: line 7"]}
    print(json.dumps({"context": {"error": error, "logs": {"stdout": ["out"]}}}))
    sys.exit()
answer = {"myField": "Hello, " + payload["name"], "secret": context["secrets"].get("password"), "event": "event" in context}
print(json.dumps({"context": {"logs": {"stdout": ["out"]}}, "payload": answer}))
"##;

async fn a_function_in(language: &str, file: &str, text: &str, handler: &str) -> Result<()> {
    let bench = Bench::start().await?;
    if bench.image(language, "").await?.is_none() {
        return Ok(());
    }
    let path = bench.file(&format!("code/{file}"), text)?;
    bench.hub.ok(&[
        "create",
        "secret",
        "open-sesame",
        &bench.file("secret.json", r#"{"password": "OpenSesame"}"#)?,
    ])?;
    bench
        .function(
            "hello",
            language,
            &path,
            &["--handler", handler, "--secret", "open-sesame"],
        )
        .await?;

    let run = bench.exec("hello", r#"{"name": "Jön"}"#, &[])?;
    let answer = |event: bool| json!({"myField": "Hello, Jön", "secret": "OpenSesame", "event": event});
    assert_eq!(
        (&run["status"], &run["output"]),
        (&json!("READY"), &answer(false)),
        "{run}"
    );
    assert_eq!(
        (&run["logs"]["stdout"], &run["logs"]["stderr"]),
        (&json!(["out"]), &json!(["err"])),
        "{run}"
    );

    let failed = bench.exec("hello", "{}", &[])?;
    assert_eq!(failed["status"], "ERROR");
    assert_eq!(
        (&failed["error"]["type"], &failed["error"]["message"]),
        (&json!("InputError"), &json!("who?")),
        "{failed}"
    );
    assert!(
        failed["error"]["stacktrace"].to_string().contains("ello"),
        "{failed}"
    );

    let run = bench.run_by_event("hello", r#"{"name": "Jön"}"#).await?;
    assert_eq!(
        (&run["status"], &run["output"]),
        (&json!("READY"), &answer(true)),
        "{run}"
    );

    // Neither the handler nor the single file's default is there.
    let wrong = bench
        .tried(
            "wrong",
            language,
            &path,
            &["--handler", &handler.replace("ello", "othing")],
        )
        .await?;
    assert_eq!(
        (&wrong["status"], wrong["reason"].as_array().map(Vec::len)),
        (&json!("ERROR"), Some(1)),
        "{wrong}"
    );
    assert!(
        wrong["reason"][0]
            .as_str()
            .is_some_and(|r| r.contains("Invalid function file or handler")),
        "{wrong}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_java_function_runs() -> Result<()> {
    a_function_in("java", "Hello.java", JAVA, "io.dispatchframework.examples.Hello").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clojure_function_runs() -> Result<()> {
    a_function_in("clojure", "hello.clj", CLOJURE, "hello/handle").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_function_runs() -> Result<()> {
    a_function_in("python3", "hello.py", PYTHON, "hello.handle").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_function_runs() -> Result<()> {
    a_function_in("nodejs", "hello.js", NODE, "./hello.js").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_program_runs() -> Result<()> {
    a_function_in("exec", "hello", EXEC, "./hello").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_powershell_function_runs_or_its_image_says_what_is_missing() -> Result<()> {
    let bench = Bench::start().await?;
    bench.hub.ok(&[
        "create",
        "base-image",
        "powershell",
        "x/y:1",
        "--language",
        "powershell",
    ])?;
    let base = bench.settled("base-image", "powershell").await?;
    if base["status"] == "READY" {
        return a_function_in("powershell", "hello.ps1", POWERSHELL, "hello.ps1::handle").await;
    }

    assert_eq!(base["reason"], json!(["no `pwsh` on PATH"]));
    bench.hub.ok(&["create", "image", "powershell", "powershell"])?;
    let image = bench.settled("image", "powershell").await?;
    assert_eq!(image["status"], "ERROR");
    let path = bench.file("hello.ps1", POWERSHELL)?;
    let function = bench.tried("hello", "powershell", &path, &[]).await?;
    let reason = "image powershell is in ERROR: base image powershell is in ERROR: no `pwsh` on PATH";
    assert_eq!(
        (&function["status"], &function["reason"]),
        (&json!("ERROR"), &json!([reason]))
    );
    let refused = bench.hub.cli(&["exec", "hello", "--wait"])?;
    assert_eq!(refused.status.code(), Some(1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_holds_several_handlers_and_a_change_leaves_no_worker_behind() -> Result<()> {
    let bench = Bench::start().await?;
    bench.image("python3", "").await?;
    // Inside it has a number of its own; its folder names it from outside as well.
    let two = "import os\nFOLDER = os.path.dirname(os.path.dirname(__file__))\ndef first(c, p): return ['first', FOLDER]\ndef second(c, p): return ['second', FOLDER]\n";
    bench.file("folder/two.py", two)?;
    bench.file("folder/other.py", "")?;
    let folder = bench.hub.scratch().join("folder");
    let folder = folder.to_string_lossy();
    for name in ["first", "second"] {
        bench
            .function(name, "python3", &folder, &["--handler", &format!("two.{name}")])
            .await?;
        assert_eq!(bench.exec(name, "{}", &[])?["output"][0], name);
    }
    let folder_of = |run: &Value| run["output"][1].as_str().unwrap_or_default().to_owned();
    let before = folder_of(&bench.exec("first", "{}", &[])?);
    assert!(runs_from(&before), "{before}");

    let described = format!(
        "kind: Function\nname: first\nimage: python3\nhandler: two.second\nsourcePath: {folder}\nscale: {{maxWorkers: 1, idleTimeout: 500}}\ntags: [{{key: role, value: changed}}]\n"
    );
    bench
        .hub
        .ok(&["update", "-f", &bench.file("first.yaml", &described)?])?;
    let changed = bench.settled("function", "first").await?;
    assert_eq!(
        (&changed["tags"][0]["value"], &changed["scale"]["maxWorkers"]),
        (&json!("changed"), &json!(1))
    );
    let run = bench.exec("first", "{}", &[])?;
    assert_eq!(run["output"][0], "second");

    let gone = |folder: String| move |_: &dispatch_fixtures::hub::Hub| Ok(!runs_from(&folder));
    let patience = std::time::Duration::from_secs(30);
    bench
        .hub
        .until(
            "the worker of the former revision is gone",
            patience,
            gone(before),
        )
        .await?;
    // The new one goes when nobody calls for half a second, and a call brings another.
    bench
        .hub
        .until("the idle worker is gone", patience, gone(folder_of(&run)))
        .await?;
    assert_eq!(bench.exec("first", "{}", &[])?["output"][0], "second");
    bench.hub.ok(&["delete", "function", "first"])?;
    assert_eq!(
        bench
            .hub
            .json(&["get", "runs", "first"])
            .map(|r| r.as_array().map_or(0, Vec::len))
            .unwrap_or(0),
        0
    );
    Ok(())
}
