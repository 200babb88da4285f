//! WebAssembly: the documentation's program by clang and wasi-libc, and how calls of such functions fail.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use dispatch_fixtures::wasm;
use serde_json::{Value, json};

use crate::bench::Bench;
use crate::by_api::Caller;

const DOCUMENTATION: &str = include_str!("../../../../docs/functions.md");
/// What a function has.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How much later its call may end, with a command line and a machine that does other things.
const AROUND: Duration = Duration::from_secs(6);

/// Sleeps a minute in the hands of the host, which no deadline of the program's own ends.
const SLEEPS: &str = r#"(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (i32.store (i32.const 16) (i32.const 1))
    (i64.store (i32.const 24) (i64.const 60000000000))
    (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))"#;
const LOOPS: &str =
    r#"(module (memory (export "memory") 1) (func (export "_start") (loop $ever (br $ever))))"#;
const TRAPS: &str = r#"(module (memory (export "memory") 1)
  (func $divide (param i32) (result i32) (i32.div_u (i32.const 1) (local.get 0)))
  (func (export "_start") (drop (call $divide (i32.const 0)))))"#;
const GROWS: &str = r#"(module (memory (export "memory") 1)
  (func (export "_start") (loop $more (drop (memory.grow (i32.const 16))) (br $more))))"#;

fn written(bench: &Bench, name: &str, bytes: &[u8]) -> Result<String> {
    let path = bench.hub.scratch().join(name);
    std::fs::write(&path, bytes)?;
    Ok(path.to_string_lossy().into_owned())
}

/// The documentation's C program, compiled.
fn program(folder: &Path) -> Result<Option<Vec<u8>>> {
    let text = DOCUMENTATION
        .split_once("```c\n")
        .and_then(|(_, rest)| rest.split_once("```"))
        .context("docs/functions.md has a program in C")?;
    let module = wasm::from_c(folder, "hello", text.0)?;
    Ok(module.map(std::fs::read).transpose()?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documentations_program_runs_as_a_module_and_as_a_component() -> Result<()> {
    let bench = Bench::start().await?;
    let Some(module) = program(bench.hub.scratch())? else {
        return Ok(());
    };
    if bench.image("wasm", "").await?.is_none() {
        return Ok(());
    }
    let component = wasm::component(&module)?;
    for (name, bytes) in [("module", module), ("component", component)] {
        let path = written(&bench, &format!("{name}.wasm"), &bytes)?;
        bench.function(name, "wasm", &path, &[]).await?;

        let run = bench.exec(name, r#"{"name": "Jön"}"#, &[])?;
        assert_eq!(
            (&run["status"], &run["output"]),
            (&json!("READY"), &json!({"greeting": "Hello, Jön"})),
            "{run}"
        );
        assert_eq!(run["logs"]["stderr"], json!(["greeting Jön"]), "{run}");

        let failed = bench.exec(name, "{}", &[])?;
        assert_eq!(
            (&failed["error"]["type"], &failed["error"]["message"]),
            (&json!("InputError"), &json!("who?")),
            "{failed}"
        );

        let run = bench.run_by_event(name, r#"{"name": "Ada"}"#).await?;
        assert_eq!(run["output"], json!({"greeting": "Hello, Ada"}), "{run}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http_handler_is_called_by_event_and_answers_its_api() -> Result<()> {
    let bench = Bench::start().await?;
    let Some(component) = wasm::handler(bench.hub.scratch())? else {
        return Ok(());
    };
    if bench.image("wasm", "").await?.is_none() {
        return Ok(());
    }
    let path = written(&bench, "handler.wasm", &component)?;
    bench.function("site", "wasm", &path, &[]).await?;

    // An event is a request to its root.
    let run = bench.run_by_event("site", r#"{"name": "Ada"}"#).await?;
    let wanted = json!({
        "method": "POST", "target": "/", "mine": "-", "type": "application/json", "event": "happened.site", "calls": 1,
        "body": {"name": "Ada"},
    });
    assert_eq!(run["output"], wanted, "{run}");
    let printed = &run["logs"]["stderr"];
    assert_eq!(printed, &json!(["asked for /"]), "{run}");

    // A request through an API is itself.
    let caller = Caller::of(&bench, "site", "/site")?;
    let request = caller.ask("PUT /users/7?a=1")?.header("x-mine", "seen");
    let answer = request.json(&json!({"n": 1})).send().await?;
    assert_eq!(answer.status(), 200);
    let told: Value = answer.json().await?;
    let wanted = json!({
        "method": "PUT", "target": "/site/users/7?a=1", "mine": "seen", "type": "application/json",
        "event": "dispatch.api.called", "calls": 1, "body": {"n": 1},
    });
    assert_eq!(told, wanted);

    // So is its answer, whatever the status.
    let teapot = caller.ask("GET /teapot")?.send().await?;
    let cookies = teapot.headers().get_all("set-cookie").iter();
    let cookies: Vec<&str> = cookies.filter_map(|cookie| cookie.to_str().ok()).collect();
    assert_eq!((teapot.status().as_u16(), cookies), (418, vec!["a=1", "b=2"]));
    assert_eq!(teapot.headers()["x-mood"], "teapot");
    assert_eq!(caller.run("site", &teapot)?["status"], "READY");
    assert_eq!(teapot.text().await?, "short and stout");

    // But a handler that fails is a failed call, and one that asks others is told no.
    for path in ["/crash", "/silent", "/refuses", "/flood"] {
        let failed = caller.ask(&format!("GET {path}"))?.send().await?;
        let run = caller.run("site", &failed)?;
        assert_eq!(
            (failed.status().as_u16(), &run["error"]["type"]),
            (502, &json!("FunctionError")),
            "{path}: {run}"
        );
        println!("{path}: 502, {}", run["error"]["message"]);
    }
    let denied = caller.ask("GET /outside")?.send().await?;
    let run = caller.run("site", &denied)?;
    assert_eq!(denied.text().await?, "15", "HTTP-request-denied");
    ensure!(
        run["logs"]["stderr"].to_string().contains("reach no network"),
        "{run}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wasm_function_that_fails_ends_in_time_and_says_how() -> Result<()> {
    let bench = Bench::start().await?;
    if bench.image("wasm", "").await?.is_none() {
        return Ok(());
    }
    let late = "Function execution exceeded the timeout";
    let table = [
        ("loops", LOOPS, "FunctionError", late),
        ("sleeps", SLEEPS, "FunctionError", late),
        (
            "traps",
            TRAPS,
            "FunctionError",
            "the program trapped (integer divide by zero)",
        ),
        (
            "grows",
            GROWS,
            "SystemError",
            "the program was ended during the call: it needs more memory than the 96 MiB it may have",
        ),
        (
            "spends",
            LOOPS,
            "FunctionError",
            "the program was ended during the call: it spent its 1000000 units of fuel",
        ),
    ];

    println!("| function | type | message | seconds |\n|---|---|---|---|");
    for (name, text, ty, message) in table {
        let path = written(&bench, &format!("{name}.wasm"), &wasm::from_text(text)?)?;
        let mut flags = vec!["--timeout", "2000", "--memory", "128Mi"];
        if name == "spends" {
            flags.extend(["--fuel", "1000000"]);
        }
        bench.function(name, "wasm", &path, &flags).await?;
        for _ in 0..2 {
            let began = Instant::now();
            let run = bench.exec(name, "{}", &[])?;
            let took = began.elapsed();
            assert_eq!(
                (&run["error"]["type"], &run["error"]["message"]),
                (&json!(ty), &json!(message)),
                "{run}"
            );
            ensure!(took < TIMEOUT + AROUND, "{name}: {took:?}");
            println!("| {name} | {ty} | {message} | {:.1} |", took.as_secs_f64());
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fuel_for_a_language_that_counts_none_is_refused_with_what_to_say_instead() -> Result<()> {
    let bench = Bench::start().await?;
    if bench.image("exec", "").await?.is_none() {
        return Ok(());
    }
    let path = written(&bench, "program", b"#!/bin/sh\ncat\n")?;

    let function = bench.tried("program", "exec", &path, &["--fuel", "1000"]).await?;

    let reason = "limits.fuel: exec counts no fuel (wasm does): bound its calls with timeout and limits.cpu";
    assert_eq!(function["reason"], json!([reason]), "{function}");
    assert_eq!(function["limits"], json!({"fuel": 1000}), "{function}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_program_of_webassembly_is_an_error_with_one_reason() -> Result<()> {
    let bench = Bench::start().await?;
    if bench.image("wasm", "").await?.is_none() {
        return Ok(());
    }
    let library = wasm::from_text(r#"(module (func (export "add")))"#)?;
    let imports = r#"(module (import "env" "open_socket" (func)) (func (export "_start")))"#;
    let table = [
        (
            "text",
            b"print('hello')".to_vec(),
            "",
            "text.wasm is no WebAssembly",
        ),
        ("library", library, "", "exports no function `_start`"),
        (
            "imports",
            wasm::from_text(imports)?,
            "",
            "imports what is not there: env.open_socket",
        ),
        (
            "elsewhere",
            wasm::from_text(LOOPS)?,
            "other.wasm",
            "there is no file other.wasm",
        ),
    ];
    for (name, bytes, handler, wanted) in table {
        let path = written(&bench, &format!("{name}.wasm"), &bytes)?;
        let flags = match handler {
            "" => vec![],
            handler => vec!["--handler", handler],
        };
        let function = bench.tried(name, "wasm", &path, &flags).await?;
        let reason = function["reason"][0].as_str().unwrap_or_default();
        assert_eq!(function["status"], "ERROR", "{function}");
        assert!(
            reason.starts_with("Invalid function file or handler: ") && reason.contains(wanted),
            "{name}: {reason}"
        );
    }

    let manifest = bench.file("packages", "anything\n")?;
    let more = ["create", "image", "more", "wasm", "--runtime-deps", &manifest];
    bench.hub.ok(&more)?;
    let image = bench.settled("image", "more").await?;
    let reason = image["reason"].to_string();
    assert!(reason.contains("images of wasm have no packages"), "{image}");
    Ok(())
}
