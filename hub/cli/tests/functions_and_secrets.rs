//! What the first Dispatch's own suite asked of functions and secrets, from outside, by the command line.
// Helpers outside #[test] functions may unwrap here: a panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use anyhow::{Result, ensure};
use dispatch_fixtures::hub::Hub;
use dispatch_fixtures::process::runs_from;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

const HELLO_JS: &str = "module.exports = (context, params) => {\n  const name = (params && params.name) || 'Noone', place = (params && params.place) || 'Nowhere';\n  return { myField: `Hello, ${name} from ${place}` };\n};\n";
const SECRET_JS: &str = "module.exports = (context) => context.secrets.password === undefined ? { message: 'I know nothing' } : { message: `The password is ${context.secrets.password}` };\n";
const HELLO_PY: &str = "def handle(ctx, payload):\n    name, place = 'Noone', 'Nowhere'\n    if payload:\n        name, place = payload.get('name', name), payload.get('place', place)\n    return {'myField': 'Hello, %s from %s' % (name, place)}\n";
const HTTP_PY: &str = "def handle(ctx, payload):\n    return {'status': 200}\n";
const LOG_PY: &str = "import sys\ndef handle(ctx, payload):\n    print('this goes to stdout')\n    print('this goes to stderr', file=sys.stderr)\n";

/// A hub with the images `nodejs` and `python3`, READY.
async fn seeded() -> Result<Hub> {
    let hub = Hub::start(env!("CARGO_BIN_EXE_dispatch")).await?;
    for language in ["nodejs", "python3"] {
        let base = format!("{language}-base");
        hub.ok(&["create", "base-image", &base, "x/y:1", "--language", language])?;
        hub.ok(&["create", "image", language, &base])?;
        hub.until("the image is READY", PATIENCE, |hub| {
            Ok(hub.json(&["get", "image", language])?["status"] == "READY")
        })
        .await?;
    }
    Ok(hub)
}

fn write(hub: &Hub, name: &str, text: &str) -> Result<()> {
    Ok(std::fs::write(hub.scratch().join(name), text)?)
}

/// Creates a function of a file and waits until it has one of these statuses.
async fn create(hub: &Hub, name: &str, file: &str, image: &str, more: &[&str]) -> Result<Value> {
    let mut args = vec!["create", "function", name, file, "--image", image];
    args.extend(more);
    assert_eq!(hub.ok(&args)?, format!("Created function: {name}\n"));
    settled(hub, name).await
}

async fn settled(hub: &Hub, name: &str) -> Result<Value> {
    hub.until("the function is READY or ERROR", PATIENCE, |hub| {
        let status = hub.json(&["get", "function", name])?["status"].clone();
        Ok(status == "READY" || status == "ERROR")
    })
    .await?;
    hub.json(&["get", "function", name])
}

fn exec(hub: &Hub, name: &str, more: &[&str]) -> Result<Value> {
    let mut args = vec!["exec", name, "--wait"];
    args.extend(more);
    hub.json(&args)
}

fn count(hub: &Hub, args: &[&str]) -> Result<usize> {
    Ok(hub.json(args)?.as_array().map_or(0, Vec::len))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_are_created_called_changed_and_deleted() -> Result<()> {
    let hub = seeded().await?;
    write(&hub, "hello.js", HELLO_JS)?;
    write(&hub, "hello.py", HELLO_PY)?;
    write(&hub, "http_func.py", HTTP_PY)?;
    write(&hub, "logging.py", LOG_PY)?;

    // By handler, by a single file without one, in both languages
    for (name, file, image, more) in [
        ("js", "hello.js", "nodejs", &["--handler", "./hello.js"][..]),
        ("js-alone", "hello.js", "nodejs", &[]),
        ("py", "hello.py", "python3", &["--handler", "hello.handle"]),
        ("py-alone", "hello.py", "python3", &[]),
    ] {
        let function = create(&hub, name, file, image, more).await?;
        ensure!(function["status"] == "READY", "{function}");
        let run = exec(
            &hub,
            name,
            &["--input", r#"{"name": "Jon", "place": "Winterfell"}"#],
        )?;
        assert_eq!(run["output"]["myField"], "Hello, Jon from Winterfell", "{name}");
    }
    assert_eq!(
        exec(&hub, "js", &[])?["output"]["myField"],
        "Hello, Noone from Nowhere"
    );
    create(&hub, "http", "http_func.py", "python3", &[]).await?;
    assert_eq!(exec(&hub, "http", &[])?["output"]["status"], 200);
    assert_eq!(exec(&hub, "http", &["--input", "42"])?["output"]["status"], 200);

    // A name is taken once
    let twice = hub.cli(&["create", "function", "js", "hello.js", "--image", "nodejs"])?;
    assert_eq!(twice.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(twice.stderr)?,
        "[Code: 409] function js already exists\n"
    );

    // A handler that is not there is an ERROR with one reason
    let bad = create(
        &hub,
        "bad",
        "hello.py",
        "python3",
        &["--handler", "hello.nothing"],
    )
    .await?;
    ensure!(
        bad["status"] == "ERROR" && bad["reason"].as_array().is_some_and(|r| r.len() == 1),
        "{bad}"
    );

    // What is printed is in the run
    create(&hub, "talks", "logging.py", "python3", &[]).await?;
    let logs = exec(&hub, "talks", &[])?["logs"].clone();
    assert_eq!(
        logs,
        json!({"stdout": ["this goes to stdout"], "stderr": ["this goes to stderr"]})
    );

    // A change by file: READY again, with its new tags and its new code, and the old workers go
    let before = hub.json(&["get", "function", "py"])?;
    write(
        &hub,
        "changed.py",
        "import os\ndef handle(ctx, payload): return os.path.dirname(__file__)\n",
    )?;
    let yaml = "kind: Function\nname: py\nimage: python3\nhandler: changed.handle\nsourcePath: changed.py\ntags: [{key: role, value: updated}]\n";
    write(&hub, "update.yaml", yaml)?;
    assert_eq!(
        hub.ok(&["update", "-f", "update.yaml"])?,
        "Updated Function: py\n"
    );
    let after = settled(&hub, "py").await?;
    assert_eq!(
        (&after["status"], &after["tags"][0]["value"]),
        (&json!("READY"), &json!("updated"))
    );
    ensure!(after["faasId"] != before["faasId"], "{after}");
    // Its own number says nothing outside its sandbox; its folder is in its command line.
    let answered = exec(&hub, "py", &[])?["output"].clone();
    let source = std::path::Path::new(answered.as_str().unwrap_or_default());
    let folder = source.parent().unwrap_or(source).to_string_lossy();
    ensure!(runs_from(&folder), "{folder}");

    // Its runs go with a function, and its processes
    ensure!(count(&hub, &["get", "runs", "py"])? == 2);
    hub.ok(&["delete", "function", "py"])?;
    assert_eq!(count(&hub, &["get", "runs", "py"])?, 0);
    hub.until("its worker is gone", PATIENCE, |_| Ok(!runs_from(&folder)))
        .await?;
    // Nor do those come back that the read model had not written yet.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(count(&hub, &["get", "runs", "py"])?, 0);
    let gone = hub.cli(&["exec", "py"])?;
    assert_eq!(
        String::from_utf8(gone.stderr)?,
        "[Code: 404] function py not found\n"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_input_must_fit_the_schema() -> Result<()> {
    let hub = seeded().await?;
    write(&hub, "hello.py", HELLO_PY)?;
    write(
        &hub,
        "in.json",
        r#"{"type": "object", "properties": {"name": {"type": "string"}, "place": {"type": "string"}}, "required": ["name"]}"#,
    )?;
    write(
        &hub,
        "out.json",
        r#"{"type": "object", "properties": {"myField": {"type": "string"}}, "required": ["myField"]}"#,
    )?;
    write(
        &hub,
        "bad.json",
        r#"{"type": "object", "properties": {"name": {"type": "text"}}}"#,
    )?;
    create(
        &hub,
        "f",
        "hello.py",
        "python3",
        &["--schema-in", "in.json", "--schema-out", "out.json"],
    )
    .await?;

    let fine = exec(
        &hub,
        "f",
        &["--input", r#"{"name": "Jon", "place": "Winterfell"}"#],
    )?;
    let missing = exec(&hub, "f", &["--input", r#"{"place": "Winterfell"}"#])?;
    let bad = hub.cli(&[
        "create",
        "function",
        "g",
        "hello.py",
        "--image",
        "python3",
        "--schema-in",
        "bad.json",
    ])?;

    assert_eq!(fine["output"]["myField"], "Hello, Jon from Winterfell");
    assert_eq!(
        (&missing["status"], &missing["error"]["type"]),
        (&json!("ERROR"), &json!("InputError"))
    );
    let said = String::from_utf8(bad.stderr)?;
    ensure!(
        said.starts_with("[Code: 400] schema.in: is not a JSON Schema at /properties/name/type"),
        "{said}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_reach_functions_by_default_and_by_call() -> Result<()> {
    let hub = seeded().await?;
    write(&hub, "i-have-a-secret.js", SECRET_JS)?;
    write(&hub, "secret.json", r#"{"password": "OpenSesame"}"#)?;
    assert_eq!(
        hub.ok(&["create", "secret", "open-sesame", "secret.json"])?,
        "Created secret: open-sesame\n"
    );
    create(
        &hub,
        "has",
        "i-have-a-secret.js",
        "nodejs",
        &["--secret", "open-sesame"],
    )
    .await?;
    create(&hub, "has-not", "i-have-a-secret.js", "nodejs", &[]).await?;
    let message = |run: Value| run["output"]["message"].clone();

    assert_eq!(message(exec(&hub, "has", &[])?), "The password is OpenSesame");
    assert_eq!(message(exec(&hub, "has-not", &[])?), "I know nothing");
    assert_eq!(
        message(exec(&hub, "has-not", &["--secret", "open-sesame"])?),
        "The password is OpenSesame"
    );

    write(
        &hub,
        "update.yaml",
        "kind: Secret\nname: open-sesame\nsecrets: {password: OpenSesameStreet}\n",
    )?;
    hub.ok(&["update", "-f", "update.yaml"])?;
    assert_eq!(
        hub.json(&["get", "secret", "open-sesame"])?["secrets"]["password"],
        "OpenSesameStreet"
    );
    assert_eq!(
        message(exec(&hub, "has", &[])?),
        "The password is OpenSesameStreet"
    );

    assert_eq!(
        hub.ok(&["delete", "secret", "open-sesame"])?,
        "Deleted secret: open-sesame\n"
    );
    assert_eq!(count(&hub, &["get", "secrets"])?, 0);
    let without = exec(&hub, "has", &[])?;
    assert_eq!(
        (&without["status"], &without["error"]["type"]),
        (&json!("ERROR"), &json!("InputError"))
    );
    Ok(())
}
