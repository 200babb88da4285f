//! What a function gets of a request, and what its caller gets of the function.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::{Stage, Told, told, until};

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_queries_and_headers_reach_the_function() -> Result<()> {
    let stage = Stage::with(&["debug", "hello"]).await?;
    stage.api("debug debug --method GET,PUT,POST --path /debug,/users/{id},/files/* --cors")?;
    stage.api("hello hello --method GET,POST,PUT --path /hello")?;

    let hello = |told: Told| (told.status, told.body["myField"].clone());
    let noone = (200, json!("Hello, Noone from Nowhere"));
    assert_eq!(hello(told(stage.ask("PUT /dispatch/hello")).await?), noone);
    assert_eq!(hello(told(stage.ask("GET /dispatch/hello")).await?), noone);
    let jon = (200, json!("Hello, Jon from Winterfell"));
    let query = stage.ask("GET /dispatch/hello?name=Jon&place=Winterfell");
    assert_eq!(hello(told(query).await?), jon);
    let form = stage
        .ask("POST /dispatch/hello")
        .header("content-type", "application/x-www-form-urlencoded")
        .body("name=Jon&place=Winterfell");
    assert_eq!(hello(told(form).await?), jon);

    let params = |told: Told| told.body["params"].clone();
    for (ty, body, expected) in [
        (Some("text/plain"), &b"some text"[..], json!("some text")),
        (Some("application/octet-stream"), &[0, 255], json!("AP8=")),
        (Some("application/xml"), b"<a/>", json!("<a/>")),
        (
            Some("application/cloudevents+json"),
            b"{\"id\":\"1\"}",
            json!({"id": "1"}),
        ),
        (None, b"raw", json!("cmF3")),
    ] {
        let mut request = stage.ask("POST /dispatch/debug").body(body.to_vec());
        if let Some(ty) = ty {
            request = request.header("content-type", ty);
        }
        assert_eq!(params(told(request).await?), expected, "{ty:?}");
    }

    let request = stage
        .ask("PUT /dispatch/users/a%20b?x=1&x=2")
        .header("x-mine", "seen")
        .header("authorization", "Bearer of-a-secret")
        .header("cookie", "session=secret")
        .header("x-dispatch-org", "invalid")
        .send()
        .await?;
    assert_eq!(request.headers()["access-control-allow-origin"], "*");
    ensure!(request.headers().contains_key("dispatch-run"));
    let http = crate::read(request).await?.body["context"]["httpContext"].clone();
    for (key, value) in [
        ("method", json!("PUT")),
        ("uri", json!("/dispatch/users/a%20b")),
        ("request_uri", json!("/dispatch/users/a%20b?x=1&x=2")),
        ("args", json!("x=1&x=2")),
        ("query", json!({"x": ["1", "2"]})),
        ("params", json!({"id": "a b"})),
        ("scheme", json!("http")),
        ("server_protocol", json!("HTTP/1.1")),
        ("api", json!("debug")),
        ("remoteAddr", json!("127.0.0.1")),
    ] {
        assert_eq!(http[key], value, "{key}");
    }
    assert_eq!(http["headers"]["x-mine"], "seen");
    let text = http.to_string();
    ensure!(!text.contains("secret") && !text.contains("invalid"), "{text}");
    let below = told(stage.ask("GET /dispatch/files/a/b.txt")).await?;
    assert_eq!(
        below.body["context"]["httpContext"]["params"],
        json!({"*": "a/b.txt"})
    );
    assert_eq!(below.body["context"]["event"], Value::Null);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_has_the_status_of_its_cause_and_a_function_may_choose_its_answer() -> Result<()> {
    let stage = Stage::with(&["moody"]).await?;
    stage.api("moody moody --method POST --path /moody")?;
    stage.api("hasty moody --method POST --path /hasty --timeout 1000")?;
    stage.api("nobody nobody --method POST --path /nobody")?;
    stage.write("broken.py", "def handle(:\n")?;
    stage.hub.ok(&[
        "create",
        "function",
        "broken",
        "./broken.py",
        "--image",
        "python3",
    ])?;
    stage.api("broken broken --method POST --path /broken")?;
    stage
        .hub
        .until("the broken function is in ERROR", crate::PATIENCE, |hub| {
            Ok(hub.json(&["get", "function", "broken"])?["status"] == "ERROR")
        })
        .await?;

    let table = [
        ("/moody", "fine", 200, json!({"mood": "fine"})),
        ("/moody", "nothing", 200, json!("")),
        ("/moody", "answer", 418, json!("short")),
        (
            "/moody",
            "input",
            400,
            json!({"code": 400, "message": "there is no such mood"}),
        ),
        (
            "/moody",
            "fail",
            502,
            json!({"code": 502, "message": "function moody failed"}),
        ),
        (
            "/hasty",
            "slow",
            504,
            json!({"code": 504, "message": "function moody did not answer in time"}),
        ),
        (
            "/nobody",
            "any",
            404,
            json!({"code": 404, "message": "function nobody not found"}),
        ),
        (
            "/broken",
            "any",
            503,
            json!({"code": 503, "message": "function broken is not READY"}),
        ),
    ];
    for (path, mood, status, body) in table {
        let request = stage.ask(&format!("POST /dispatch{path}"));
        let answer = told(request.json(&json!({"mood": mood}))).await?;
        println!("{path} {mood}: {} {}", answer.status, answer.body);
        assert_eq!(answer, Told { status, body }, "{path} {mood}");
    }

    let chosen = stage
        .ask("POST /dispatch/moody")
        .json(&json!({"mood": "answer"}))
        .send()
        .await?;
    assert_eq!(chosen.headers()["x-mood"], "teapot");
    assert_eq!(chosen.headers()["content-type"], "text/plain");
    let name = chosen.headers()["dispatch-run"].to_str()?.to_owned();
    let run = stage.hub.json(&["get", "run", "moody", &name])?;
    assert_eq!(
        (&run["status"], &run["blocking"]),
        (&json!("READY"), &json!(true))
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_wait_gets_the_place_of_the_run_and_no_body() -> Result<()> {
    let stage = Stage::with(&["hello"]).await?;
    stage.api("hello hello --method POST --path /hello")?;

    let request = stage
        .ask("POST /dispatch/hello")
        .header("x-dispatch-blocking", "false");
    let taken = request.json(&json!({"name": "Jon"})).send().await?;

    assert_eq!(taken.status(), 202);
    let place = taken.headers()["location"].to_str()?.to_owned();
    assert_eq!(taken.text().await?, "");
    let ended = |told: &Told| told.body["finishedTime"].is_i64();
    let run = until("the run has ended", || stage.http.get(&place), ended)
        .await?
        .body;
    assert_eq!(run["output"]["myField"], "Hello, Jon from Nowhere");
    assert_eq!(run["httpContext"]["uri"], "/dispatch/hello");
    ensure!(run.get("blocking").is_none(), "{run}");
    let maybe = stage
        .ask("POST /dispatch/hello")
        .header("x-dispatch-blocking", "maybe");
    assert_eq!(told(maybe.header(JSON.0, JSON.1)).await?.status, 400);
    Ok(())
}
