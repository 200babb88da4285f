//! Bad requests to the hub's REST API, and what the command line says of the same.

use anyhow::Result;
use serde_json::{Value, json};

use crate::raw::exchange;
use crate::stage::{Stage, Table, told};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_about_a_resource_names_what_is_wrong_with_it() -> Result<()> {
    let stage = Stage::start().await?;
    let fine = json!({"name": "f", "image": "python3", "source": "eA=="});
    let with = |more: Value| {
        let mut body = fine.clone();
        crate::stage::merge(&mut body, more);
        body
    };
    let long = "x".repeat(129);
    let rows: Vec<(&str, Value, u16, &str)> = vec![
        ("GET /v2/function", Value::Null, 404, "resource does not exist"),
        ("GET /v1/nothing", Value::Null, 404, "resource does not exist"),
        (
            "GET /v1/iam/policy",
            Value::Null,
            501,
            "not implemented in this version",
        ),
        ("PATCH /v1/function/f", Value::Null, 405, "method is not allowed"),
        ("DELETE /v1/function", Value::Null, 405, "method is not allowed"),
        ("GET /v1/function/nobody", Value::Null, 404, "nobody"),
        ("GET /v1/function/..%2f..%2fetc", Value::Null, 404, "../../etc"),
        ("GET /v1/function/%ff", Value::Null, 400, ""),
        ("GET /v1/function/%00", Value::Null, 404, ""),
        ("PUT /v1/function/nobody", fine.clone(), 404, "nobody"),
        (
            "GET /v1/runs/not-a-run",
            Value::Null,
            404,
            "run not-a-run not found",
        ),
        ("GET /v1/runs?limit=-1", Value::Null, 400, "limit"),
        ("GET /v1/runs?since=yesterday", Value::Null, 400, "since"),
        (
            "GET /v1/runs?status=DONE",
            Value::Null,
            400,
            "must be INITIALIZED, CREATING, READY or ERROR",
        ),
        ("GET /v1/runs?after=x", Value::Null, 400, "after: is \"x\""),
        ("GET /v1/function?tags=colour=red", Value::Null, 400, "tags"),
        ("POST /v1/runs", json!({}), 400, "No function specified"),
        (
            "POST /v1/runs?functionName=nobody",
            json!({}),
            404,
            "function nobody not found",
        ),
        (
            "POST /v1/runs?functionName=f",
            json!({"input": 1, "colour": 2}),
            400,
            "colour",
        ),
        ("POST /v1/function", json!([]), 422, "expected struct Function"),
        (
            "POST /v1/function",
            json!({"image": "python3"}),
            422,
            "missing field `name`",
        ),
        (
            "POST /v1/function",
            with(json!({"colour": 1})),
            422,
            "unknown field `colour`, expected one of `name`",
        ),
        (
            "POST /v1/function",
            with(json!({"timeout": "5s"})),
            422,
            "timeout: invalid type: string \"5s\"",
        ),
        (
            "POST /v1/function",
            with(json!({"timeout": -1})),
            400,
            "timeout must be 0 to 3600000 (milliseconds), not -1",
        ),
        (
            "POST /v1/function",
            with(json!({"name": "../x"})),
            400,
            "name should start with letter or number",
        ),
        (
            "POST /v1/function",
            with(json!({"name": ""})),
            400,
            "name is required",
        ),
        (
            "POST /v1/function",
            with(json!({"name": long})),
            400,
            "name has 129 characters; at most 128 are allowed",
        ),
        (
            "POST /v1/function",
            with(json!({"image": "a b"})),
            400,
            "image may only contain",
        ),
        (
            "POST /v1/function",
            with(json!({"secrets": ["a/b"]})),
            400,
            "secrets may only contain",
        ),
        (
            "POST /v1/function",
            with(json!({"kind": "Image"})),
            400,
            "kind must be Function, not \"Image\"",
        ),
        (
            "POST /v1/function",
            with(json!({"source": "%"})),
            400,
            "source: is not base64",
        ),
        (
            "POST /v1/function",
            with(json!({"source": ""})),
            400,
            "either source or sourceURL must be specified",
        ),
        (
            "POST /v1/function",
            with(json!({"source": null, "sourceURL": "ftp://x"})),
            400,
            "sourceURL must begin with http://",
        ),
        (
            "POST /v1/function",
            with(json!({"network": true})),
            400,
            "--function-network",
        ),
        (
            "POST /v1/function",
            with(json!({"limits": {"memory": 1_u64 << 50}})),
            400,
            "limits.memory: must be at most",
        ),
        (
            "POST /v1/function",
            with(json!({"services": ["db"]})),
            400,
            "services are not supported",
        ),
        (
            "POST /v1/function",
            with(json!({"handler": "x".repeat(257)})),
            400,
            "handler has 257 characters",
        ),
        (
            "POST /v1/secret",
            json!({"name": "s", "secrets": {"a": 1}}),
            422,
            "secrets",
        ),
        (
            "POST /v1/image",
            json!({"name": "i", "baseImageName": "nobody"}),
            400,
            "Error fetching base image nobody",
        ),
    ];

    let mut table = Table::new("request | status | what came back");
    for (request, body, status, wanted) in rows {
        let answer = stage.rest(request, &body).await?;
        let said = answer.said();
        table.row(request, answer.status, status, &said, wanted);
        assert_eq!(answer.body["code"], answer.status, "{request}: {}", answer.body);
    }
    let post = || stage.http.post(stage.hub.url() + "/v1/function");
    let json = "application/json";
    for (what, request, status, wanted) in [
        (
            "no content type",
            post().body("{}"),
            415,
            "Content-Type: application/json",
        ),
        (
            "text",
            post().header("content-type", "text/plain").body("{}"),
            415,
            "Content-Type: application/json",
        ),
        (
            "no JSON",
            post().header("content-type", json).body("{"),
            400,
            "line 1 column 1",
        ),
        ("no body", post().header("content-type", json), 400, "EOF"),
        (
            "17 MB",
            post().header("content-type", json).body(" ".repeat(17 << 20)),
            413,
            "length limit",
        ),
        (
            "an organization that is none",
            post().header("x-dispatch-org", "a/b").json(&fine),
            400,
            "X-Dispatch-Org in header should match",
        ),
    ] {
        let answer = told(request).await?;
        table.row(what, answer.status, status, &answer.said(), wanted);
    }
    let port = stage.hub.port();
    for (what, bytes, expected) in [
        ("no request at all", &b"GARBAGE\r\n\r\n"[..], "400"),
        (
            "a NUL in a header",
            b"GET /v1/function HTTP/1.1\r\nhost: a\r\nx: \0\r\n\r\n",
            "400",
        ),
        (
            "two lengths",
            b"POST /v1/function HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}",
            "400",
        ),
    ] {
        let answers = exchange(port, bytes).await?;
        table.row(what, answers.in_short(), expected.to_owned(), answers.body(), "");
    }
    table.done()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_says_what_to_change() -> Result<()> {
    let stage = Stage::start().await?;
    let code = stage.file("a.py", "def handle(context, payload): return 1\n")?;
    let text = stage.file("no.json", "{")?;
    let folder = stage.hub.scratch().join("folder");
    std::fs::create_dir(&folder)?;
    let folder = folder.to_string_lossy().into_owned();
    let yaml = stage.file(
        "a.yaml",
        "kind: Function\nname: f\nimage: python3\nsourcePath: /nowhere.py\n",
    )?;
    let unknown = stage.file("b.yaml", "kind: Funktion\nname: f\n")?;
    let broken = stage.file("c.yaml", "kind: [\n")?;
    let none = stage.file("d.yaml", "")?;
    let function = ["create", "function", "f"];
    let rows: Vec<(Vec<&str>, &str)> = vec![
        (
            [&function[..], &["--image", "python3", "/nowhere.py"]].concat(),
            "/nowhere.py",
        ),
        (
            [&function[..], &["--image", "python3", &folder]].concat(),
            "handler is required",
        ),
        (
            [
                &function[..],
                &["--image", "python3", &folder, "--handler", "a.handle"],
            ]
            .concat(),
            "holds no files",
        ),
        (
            [&function[..], &["--image", "no image", &code]].concat(),
            "[Code: 400] image may only contain",
        ),
        (
            [
                &function[..],
                &["--image", "python3", &code, "--schema-in", &text],
            ]
            .concat(),
            "no.json",
        ),
        (
            [
                &function[..],
                &["--image", "python3", &code, "--schema-in", "/nowhere.json"],
            ]
            .concat(),
            "/nowhere.json",
        ),
        (
            [&function[..], &["--image", "python3", &code, "--memory", "much"]].concat(),
            "much",
        ),
        (
            [&function[..], &["--image", "python3", &code, "--timeout", "-1"]].concat(),
            "-1",
        ),
        (vec!["create", "-f", &yaml], "/nowhere.py"),
        (vec!["create", "-f", &unknown], "Funktion"),
        (vec!["create", "-f", &broken], "c.yaml"),
        (vec!["create", "-f", &none], ""),
        (vec!["get", "function", "nobody"], "[Code: 404]"),
        (vec!["delete", "function", "nobody"], "[Code: 404]"),
        (vec!["exec", "nobody"], "[Code: 404] function nobody not found"),
        (vec!["exec", "nobody", "--input", "{"], "input"),
        (vec!["get", "run", "nobody", "x"], "[Code: 404] run x not found"),
        (vec!["log", "nobody"], ""),
        (vec!["rerun", "x"], "[Code: 404]"),
        (vec!["cancel", "x"], "[Code: 404]"),
    ];

    let mut table = Table::new("command | ends with | what it said");
    for (args, wanted) in rows {
        let output = stage.hub.cli(&args)?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let scratch = stage.hub.scratch().to_string_lossy().into_owned();
        let line = args.join(" ").replace(&scratch, ".");
        table.row(
            &line,
            output.status.code().unwrap_or(-1),
            1,
            &said.replace(&scratch, "."),
            wanted,
        );
    }
    table.done()
}
