//! What no engine can run: each is ERROR with exactly one reason that says what to change.

use anyhow::Result;
use serde_json::json;

use crate::bench::Bench;

const FINE: &str = "def handle(context, payload): return payload\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_handler_or_file_is_an_error_with_one_reason() -> Result<()> {
    let bench = Bench::start().await?;
    for language in [
        "python3",
        "nodejs",
        "java",
        "clojure",
        "exec",
        "lambda-provided",
        "functions-framework-python3",
        "lambda-python3",
    ] {
        bench.image(language, "").await?;
    }
    let table = [
        (
            "python3",
            "a.py",
            FINE,
            "a.nothing",
            "module 'a' has no 'nothing'",
        ),
        ("python3", "a.py", FINE, "b.handle", "No module named 'b'"),
        (
            "python3",
            "a.py",
            FINE,
            "handle",
            "is not of the form module.function",
        ),
        ("python3", "a.py", "def handle(:", "", "SyntaxError"),
        (
            "python3",
            "a.py",
            "raise RuntimeError('at import')",
            "",
            "at import",
        ),
        ("python3", "a.py", "import os; os._exit(9)", "", "exit status: 9"),
        (
            "nodejs",
            "a.js",
            "module.exports = 3;",
            "./a.js",
            "does not export a function",
        ),
        (
            "nodejs",
            "a.js",
            "module.exports = () => 1;",
            "./b.js",
            "Cannot find module",
        ),
        (
            "nodejs",
            "a.js",
            "module.exports = () => 1;",
            "../../worker.js",
            "outside the function's folder",
        ),
        ("java", "A.java", "public class A {", "A", "A.java:1: error"),
        ("java", "A.java", "public class A {}", "B", "there is no class B"),
        (
            "java",
            "A.java",
            "public class A {}",
            "A",
            "neither a java.util.function.BiFunction",
        ),
        ("clojure", "a.clj", "(ns a)", "a/handle", "has no function handle"),
        ("clojure", "a.clj", "(ns a", "a/handle", "EOF while reading"),
        (
            "exec",
            "a",
            "plain text",
            "./a",
            "neither an executable nor a script",
        ),
        (
            "exec",
            "a",
            "#!/bin/sh\n",
            "/bin/sh",
            "is not inside the function's folder",
        ),
        ("exec", "a", "#!/bin/sh\nexit 4\n", "a::http", "exit status: 4"),
        (
            "lambda-provided",
            "other",
            "#!/bin/sh\n",
            "x",
            "there is no file bootstrap",
        ),
        (
            "lambda-provided",
            "bootstrap",
            "#!/bin/sh\nexit 6\n",
            "x",
            "exit status: 6",
        ),
        (
            "lambda-python3",
            "a.py",
            FINE,
            "a.handle",
            "the image has no awslambdaric",
        ),
        (
            "functions-framework-python3",
            "main.py",
            FINE,
            "handle",
            "the image has no functions-framework",
        ),
        (
            "functions-framework-python3",
            "main.py",
            FINE,
            "handle:soap",
            "is no signature: use http, cloudevent, event",
        ),
    ];

    println!("| language | file | handler | reason |\n|---|---|---|---|");
    for (n, (language, file, text, handler, wanted)) in table.into_iter().enumerate() {
        if bench.hub.json(&["get", "image", language])?["status"] != "READY" {
            continue;
        }
        let path = bench.file(&format!("{n}/{file}"), text)?;
        let function = bench
            .tried(&format!("bad-{n}"), language, &path, &["--handler", handler])
            .await?;
        let reasons = function["reason"].as_array().cloned().unwrap_or_default();
        assert_eq!(
            (&function["status"], reasons.len()),
            (&json!("ERROR"), 1),
            "{language} {handler}: {function}"
        );
        let reason = reasons[0].as_str().unwrap_or_default();
        assert!(reason.contains(wanted), "{language} {handler}: {reason}");
        println!(
            "| {language} | `{file}` | `{handler}` | {} |",
            reason.replace('\n', " ⏎ ")
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_manifest_is_an_error_with_one_reason_and_a_log() -> Result<()> {
    let bench = Bench::start().await?;
    let languages = ["python3", "nodejs", "java", "exec"];
    for language in languages {
        bench.image(language, "").await?;
    }
    let table = [
        ("python3", "this is no requirement !!", "Invalid requirement"),
        ("python3", "./nowhere", "Invalid requirement"),
        ("nodejs", "left-pad", "must be a package.json"),
        (
            "nodejs",
            r#"{"dependencies": {"no such name": "1.0.0"}}"#,
            "`npm` failed",
        ),
        ("java", "junit", "must be a pom.xml"),
        ("exec", "curl", "images of exec have no packages"),
    ];

    println!("| language | manifest | reason |\n|---|---|---|");
    for (n, (language, manifest, wanted)) in table.into_iter().enumerate() {
        if bench.hub.json(&["get", "image", language])?["status"] != "READY" {
            continue;
        }
        let (name, path) = (format!("bad-{n}"), bench.file("manifest", manifest)?);
        bench
            .hub
            .ok(&["create", "image", &name, language, "--runtime-deps", &path])?;
        let image = bench.settled("image", &name).await?;
        let reasons = image["reason"].as_array().cloned().unwrap_or_default();
        assert_eq!((&image["status"], reasons.len()), (&json!("ERROR"), 1), "{image}");
        let reason = reasons[0].as_str().unwrap_or_default();
        assert!(reason.contains(wanted), "{language} {manifest}: {reason}");
        assert!(
            bench
                .hub
                .ok(&["get", "image", &name, "--log"])?
                .contains("ERROR: ")
        );
        println!("| {language} | `{manifest}` | {} |", reason.replace('\n', " ⏎ "));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scale_that_cannot_be_is_refused_with_its_field() -> Result<()> {
    let bench = Bench::start().await?;
    bench.image("python3", "").await?;
    let path = bench.file("a.py", FINE)?;
    for (flags, wanted) in [
        (
            vec!["--max-workers", "0"],
            "scale.maxWorkers must be 1 to 1000, not 0",
        ),
        (
            vec!["--min-workers", "3", "--max-workers", "2"],
            "scale.minWorkers must be at most scale.maxWorkers, 2, not 3",
        ),
        (
            vec!["--concurrency", "5000"],
            "scale.concurrency must be 1 to 1000, not 5000",
        ),
        (
            vec!["--idle-timeout", "86400001"],
            "scale.idleTimeout must be 0 to 86400000",
        ),
    ] {
        let mut args = vec!["create", "function", "bad", "--image", "python3", &path];
        args.extend(flags);
        let refused = bench.hub.cli(&args)?;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            refused.status.code() == Some(1) && said.contains(wanted),
            "{said}"
        );
    }
    Ok(())
}
