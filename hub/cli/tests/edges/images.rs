//! Base images and images that cannot be: refused when they are made, or ERROR with one reason.

use anyhow::{Result, ensure};
use dispatch_fixtures::process::until;
use serde_json::{Value, json};

use crate::stage::{PATIENCE, Stage, Table, reason};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_base_image_says_what_is_wrong_with_it() -> Result<()> {
    let stage = Stage::start().await?;
    let digest = format!("a/b@sha256:{}", "0".repeat(63));
    let rows: Vec<(&str, Value, u16, &str)> = vec![
        (
            "no container image",
            json!({"language": "python3"}),
            422,
            "missing field `dockerUrl`",
        ),
        (
            "an empty one",
            json!({"dockerUrl": "", "language": "python3"}),
            400,
            "dockerUrl is required",
        ),
        (
            "no language",
            json!({"dockerUrl": "a/b"}),
            422,
            "missing field `language`",
        ),
        (
            "capitals",
            json!({"dockerUrl": "Any/Thing", "language": "python3"}),
            400,
            "\"Any\" is no part of a name",
        ),
        (
            "an address",
            json!({"dockerUrl": "https://registry.example.org/a", "language": "python3"}),
            400,
            "has no scheme such as https://",
        ),
        (
            "a blank",
            json!({"dockerUrl": "a b", "language": "python3"}),
            400,
            "\"a b\" is no part of a name",
        ),
        (
            "a path",
            json!({"dockerUrl": "../../etc/passwd", "language": "python3"}),
            400,
            "\"..\" is no registry",
        ),
        (
            "an empty tag",
            json!({"dockerUrl": "a/b:", "language": "python3"}),
            400,
            "\"\" is no tag",
        ),
        (
            "a port that is none",
            json!({"dockerUrl": "a.org:x/b", "language": "python3"}),
            400,
            "\"a.org:x\" is no registry",
        ),
        (
            "half a digest",
            json!({"dockerUrl": digest, "language": "python3"}),
            400,
            "is no digest: that is sha256: and 64",
        ),
        (
            "an argument",
            json!({"dockerUrl": "--privileged", "language": "python3"}),
            400,
            "is no part of a name",
        ),
    ];

    let mut table = Table::new("base image | status | what came back");
    for (what, more, status, wanted) in rows {
        let mut body = json!({"name": "bad"});
        crate::stage::merge(&mut body, more);
        let answer = stage.rest("POST /v1/baseimage", &body).await?;
        table.row(what, answer.status, status, &answer.said(), wanted);
    }
    let whole = format!(
        "registry.example.org:5000/team/python3:1.0@sha256:{}",
        "0a".repeat(32)
    );
    stage
        .hub
        .ok(&["create", "base-image", "whole", &whole, "--language", "python3"])?;
    let shown = stage.settled("base-image", "whole").await?;
    table.row(
        "a whole reference",
        shown["dockerUrl"].as_str().unwrap_or_default(),
        &whole,
        shown["status"].as_str().unwrap_or_default(),
        "READY",
    );
    for (name, language, wanted) in [
        (
            "cobol",
            "cobol",
            "the language \"cobol\" is not known: use python3, nodejs",
        ),
        ("capital", "Python3", "the language \"Python3\" is not known"),
        ("path", "../python3", "is not known"),
    ] {
        stage
            .hub
            .ok(&["create", "base-image", name, "a/b", "--language", language])?;
        let base = stage.settled("base-image", name).await?;
        table.row(
            &format!("language {language}"),
            base["status"].as_str().unwrap_or_default(),
            "ERROR",
            &reason(&base)?,
            wanted,
        );
    }
    let said = stage.refused(&["create", "base-image", "empty", "a/b"])?;
    table.row(
        "no language, by the command line",
        1,
        1,
        &said,
        "language is required",
    );
    table.done()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_cannot_be_built_says_why_and_what_else_was_said_is_in_its_log() -> Result<()> {
    let stage = Stage::start().await?;
    stage
        .hub
        .ok(&["create", "base-image", "cobol", "a/b", "--language", "cobol"])?;
    stage.settled("base-image", "cobol").await?;
    let manifest = |text: &str| json!({"runtimeDependencies": {"manifest": text}});
    let large = "x".repeat((1 << 20) + 1);
    let mut table = Table::new("image | status | what came back");
    for (what, more, status, wanted) in [
        (
            "no base image",
            json!({"baseImageName": ""}),
            400,
            "baseImageName is required",
        ),
        (
            "one that is not there",
            json!({"baseImageName": "nobody"}),
            400,
            "Error fetching base image nobody",
        ),
        (
            "one that is a path",
            json!({"baseImageName": "../py"}),
            400,
            "baseImageName may only contain",
        ),
        (
            "a manifest of 1 MiB and a byte",
            manifest(&large),
            400,
            "runtimeDependencies.manifest has 1048577 bytes; at most 1048576",
        ),
        (
            "a package without a name",
            json!({"systemDependencies": {"packages": [{"name": ""}]}}),
            400,
            "systemDependencies.packages[0].name is required",
        ),
        (
            "a package that is a text",
            json!({"systemDependencies": {"packages": ["curl"]}}),
            422,
            "systemDependencies.packages[0]: invalid type",
        ),
    ] {
        let mut body = json!({"name": "bad", "baseImageName": "py"});
        crate::stage::merge(&mut body, more);
        let answer = stage.rest("POST /v1/image", &body).await?;
        table.row(what, answer.status, status, &answer.said(), wanted);
    }
    let rows = [
        (
            "a base image in ERROR",
            "cobol",
            Value::Null,
            "base image cobol is in ERROR: the language \"cobol\" is not known",
        ),
        (
            "a package of the system",
            "py",
            json!({"systemDependencies": {"packages": [{"name": "curl"}]}}),
            "install curl on this machine",
        ),
        (
            "a requirement that is none",
            "py",
            manifest("not a requirement !!"),
            "Invalid requirement",
        ),
        (
            "a package that is not there",
            "py",
            manifest("dispatch-no-such-package-4f1c==1.0"),
            "No matching distribution found",
        ),
        (
            "a file of this machine",
            "py",
            manifest("requests\n-r /etc/passwd\n"),
            "line 2 of the manifest is \"-r /etc/passwd\"",
        ),
        (
            "bounds in a file of this machine",
            "py",
            manifest("--constraint=/etc/passwd"),
            "line 1 of the manifest",
        ),
        (
            "an option that is none",
            "py",
            manifest("--no-such-option"),
            "no such option",
        ),
        (
            "a folder that is not there",
            "py",
            manifest("./nowhere"),
            "nowhere",
        ),
    ];
    for (at, (what, base, more, wanted)) in rows.into_iter().enumerate() {
        let name = format!("bad-{at}");
        let mut body = json!({"name": name, "baseImageName": base});
        crate::stage::merge(&mut body, more);
        let made = stage.rest("POST /v1/image", &body).await?;
        ensure!(made.status == 201, "{what}: {made:?}");
        let image = stage.settled("image", &name).await?;
        let why = reason(&image)?;
        table.row(
            what,
            image["status"].as_str().unwrap_or_default(),
            "ERROR",
            &why,
            wanted,
        );
        let log = stage.hub.ok(&["get", "image", &name, "--log"])?;
        assert!(
            log.contains("ERROR: ") && !log.contains("root:x:0"),
            "{what}: {log}"
        );
        let function = json!({"name": name, "image": name, "source": "eA=="});
        let told = stage.rest("POST /v1/function", &function).await?;
        ensure!(told.status == 201, "{what}: {told:?}");
        let function = stage.settled("function", &name).await?;
        table.row(
            "… a function of it",
            function["status"].as_str().unwrap_or_default(),
            "ERROR",
            &reason(&function)?,
            &format!("image {name} is in ERROR"),
        );
    }
    table.done()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_that_is_given_up_leaves_nothing_behind() -> Result<()> {
    let stage = Stage::start().await?;
    // A server that takes connections and never says anything: pip waits.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let held = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.push(stream);
        }
    });
    let manifest = format!("x @ http://127.0.0.1:{port}/x-1.0.tar.gz");
    let body = json!({"name": "slow", "baseImageName": "py", "runtimeDependencies": {"manifest": manifest}});
    let made = stage.rest("POST /v1/image", &body).await?;
    ensure!(made.status == 201, "{made:?}");
    let folder = stage.hub.data().join("images").to_string_lossy().into_owned();
    until("pip is at work", PATIENCE, async || {
        Ok(dispatch_fixtures::process::runs_from(&folder))
    })
    .await?;

    let deleted = stage.rest("DELETE /v1/image/slow", &Value::Null).await?;

    ensure!(deleted.status == 200, "{deleted:?}");
    until("pip is gone", PATIENCE, async || {
        Ok(!dispatch_fixtures::process::runs_from(&folder))
    })
    .await?;
    ensure!(stage.rest("GET /v1/image/slow", &Value::Null).await?.status == 404);
    let partial = || -> Result<bool> {
        let entries = std::fs::read_dir(&folder)?.flatten();
        Ok(entries
            .into_iter()
            .any(|entry| entry.file_name().to_string_lossy().starts_with("partial-")))
    };
    until("its folder is gone", PATIENCE, async || Ok(!partial()?)).await?;
    held.abort();
    Ok(())
}
