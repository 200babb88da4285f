//! What was written for other systems, called through an API: the request as it came, the answer as it was given.

use anyhow::{Context as _, Result, ensure};
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

use crate::bench::Bench;

/// A web app for Functions Framework, as people write them: routes, forms, files, cookies, statuses.
pub(crate) const PYTHON: &str = r#"
import functions_framework
from flask import Response, jsonify, make_response, redirect

@functions_framework.http
def site(request):
    if request.path == "/site/crash":
        raise RuntimeError("inside of the function")
    if request.path == "/site/teapot":
        return "short and stout", 418, {"X-Mood": "teapot"}
    if request.path == "/site/busy":
        return "come back", 503, {"Retry-After": "7"}
    if request.path == "/site/bytes":
        return Response(bytes([0, 255, 10]), content_type="application/x-own")
    if request.path == "/site/login":
        response = make_response(redirect("/dispatch/site/home"))
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")
        return response
    data = request.get_data()
    return jsonify(
        method=request.method, path=request.path, query=request.args.to_dict(flat=False), mine=request.headers.get("X-Mine"),
        type=request.content_type, data=data.decode("latin-1"), json=request.get_json(silent=True),
        form=request.form.to_dict(flat=False), files={name: list(file.read()) for name, file in request.files.items()},
        url=request.url, forged=request.headers.get("dispatch-forged"))

@functions_framework.cloud_event
def on_event(event):
    print(event["type"], event["source"], event.data)
"#;

/// The same for Node.js.
pub(crate) const NODE: &str = r#"
const functions = require('@google-cloud/functions-framework');
functions.http('site', (request, response) => {
  if (request.path === '/site/crash') throw new Error('inside of the function');
  if (request.path === '/site/teapot') return response.status(418).set('X-Mood', 'teapot').send('short and stout');
  if (request.path === '/site/busy') return response.status(503).set('Retry-After', '7').send('come back');
  if (request.path === '/site/bytes') return response.type('application/x-own').send(Buffer.from([0, 255, 10]));
  if (request.path === '/site/login') return response.cookie('a', '1').cookie('b', '2').redirect('/dispatch/site/home');
  response.json({ method: request.method, path: request.path, query: request.query, mine: request.get('X-Mine'),
    type: request.get('Content-Type'), data: request.rawBody ? request.rawBody.toString('latin1') : '', body: request.body,
    forged: request.get('dispatch-forged') });
});
functions.cloudEvent('onEvent', (event) => { console.log(event.type, event.source, JSON.stringify(event.data)); });
"#;

const FORM: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data; boundary=X";
const PARTS: &[u8] = b"--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--X\r\nContent-Disposition: form-data; name=\"f\"; \
    filename=\"x.bin\"\r\nContent-Type: image/png\r\n\r\n\x00\xff\r\n--X--\r\n";

/// A caller of a function's API.
pub(crate) struct Caller<'a> {
    bench: &'a Bench,
    http: reqwest::Client,
    below: String,
}

impl<'a> Caller<'a> {
    /// Makes the API of a function: all below a path, and a path with a parameter.
    pub(crate) fn of(bench: &'a Bench, function: &str, below: &str) -> Result<Self> {
        let name = format!("api-{function}");
        let paths = format!("{below}/*,{below}/users/{{id}}");
        let args = ["create", "api", &name, function, "--path", &paths, "--method"];
        bench
            .hub
            .ok(&[&args[..], &["GET,POST,PUT,PATCH,DELETE"]].concat())?;
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(std::time::Duration::from_secs(60));
        dispatch_fixtures::crypto();
        Ok(Self {
            bench,
            http: http.build()?,
            below: format!("{}/dispatch{below}", bench.hub.gateway()),
        })
    }

    /// `POST /users/7`.
    pub(crate) fn ask(&self, request: &str) -> Result<RequestBuilder> {
        let (method, path) = request.split_once(' ').context("METHOD PATH")?;
        let url = format!("{}{path}", self.below);
        Ok(self.http.request(method.parse()?, url))
    }

    async fn told(&self, request: &str, content_type: &str, body: &[u8]) -> Result<Value> {
        let asked = self
            .ask(request)?
            .header("x-mine", "seen")
            .header("dispatch-forged", "1");
        let asked = asked.header("content-type", content_type).body(body.to_vec());
        let answer = asked.send().await?;
        ensure!(answer.status() == 200, "{request}: {answer:?}");
        Ok(answer.json().await?)
    }

    /// The run that an answer names.
    pub(crate) fn run(&self, function: &str, answer: &Response) -> Result<Value> {
        let name = answer.headers()["dispatch-run"].to_str()?;
        self.bench.hub.json(&["get", "run", function, name])
    }
}

/// Method, path, query, headers and bodies of every kind reach a web app as they came.
pub(crate) async fn requests_pass(caller: &Caller<'_>) -> Result<()> {
    let table: [(&str, &str, &[u8], &[u8]); 6] = [
        (
            "POST /users/7?a=1&a=2&b=x%20y",
            "application/json",
            b"{ \"n\": 1.0 }",
            b"{ \"n\": 1.0 }",
        ),
        (
            "PUT /users/7",
            "text/plain",
            "ü \"x\"".as_bytes(),
            "ü \"x\"".as_bytes(),
        ),
        ("PATCH /a/b%20c", "application/octet-stream", &[0, 255], &[0, 255]),
        ("DELETE /users/7", "application/xml", b"<a/>", b"<a/>"),
        ("POST /form", FORM, b"b=2%263&a=1&a=x+y", b"b=2%263&a=1&a=x+y"),
        ("POST /parts", MULTIPART, PARTS, PARTS),
    ];
    for (request, content_type, sent, came) in table {
        let told = caller.told(request, content_type, sent).await?;
        let (method, target) = request.split_once(' ').context("METHOD PATH")?;
        let path = target.split('?').next().unwrap_or_default().replace("%20", " ");
        let decoded = told["path"].as_str().unwrap_or_default().replace("%20", " ");
        assert_eq!(
            (&told["method"], decoded),
            (&json!(method), format!("/site{path}"))
        );
        assert_eq!(
            (&told["mine"], &told["type"]),
            (&json!("seen"), &json!(content_type))
        );
        let latin: String = came.iter().map(|byte| char::from(*byte)).collect();
        // Flask has read a form's parts by then.
        if content_type != MULTIPART || told["data"] != "" {
            assert_eq!(told["data"], latin, "{request}");
        }
        assert_eq!(told["forged"], Value::Null, "only the hub says dispatch-…");
    }
    let got = caller.ask("GET /users/7?a=1")?.send().await?;
    let got: Value = got.json().await?;
    assert_eq!((&got["method"], &got["data"]), (&json!("GET"), &json!("")));
    Ok(())
}

/// Status, headers and body of a web app reach the caller as they were given; a crash is a failed call.
pub(crate) async fn answers_pass(caller: &Caller<'_>, function: &str) -> Result<()> {
    let teapot = caller.ask("GET /teapot")?.send().await?;
    assert_eq!(
        (teapot.status().as_u16(), &teapot.headers()["x-mood"]),
        (418, &"teapot".parse()?)
    );
    assert_eq!(caller.run(function, &teapot)?["status"], "READY");
    assert_eq!(teapot.text().await?, "short and stout");

    let busy = caller.ask("GET /busy")?.send().await?;
    assert_eq!(
        (busy.status().as_u16(), &busy.headers()["retry-after"]),
        (503, &"7".parse()?)
    );
    assert_eq!(busy.text().await?, "come back");

    let bytes = caller.ask("GET /bytes")?.send().await?;
    assert_eq!(bytes.headers()["content-type"], "application/x-own");
    assert_eq!(bytes.bytes().await?.as_ref(), [0, 255, 10]);

    let login = caller.ask("GET /login")?.send().await?;
    assert_eq!(login.status(), 302);
    assert_eq!(login.headers()["location"], "/dispatch/site/home");
    let cookies: Vec<_> = login.headers().get_all("set-cookie").iter().collect();
    ensure!(cookies.len() == 2, "{cookies:?}");

    let head = caller.ask("HEAD /teapot")?.send().await?;
    assert_eq!(head.status(), 418);
    assert_eq!(head.text().await?, "");

    let crash = caller
        .ask("POST /crash")?
        .body("{}")
        .header("content-type", "application/json")
        .send()
        .await?;
    assert_eq!(crash.status(), 502);
    let run = caller.run(function, &crash)?;
    assert_eq!(
        (&run["status"], &run["error"]["type"]),
        (&json!("ERROR"), &json!("FunctionError"))
    );
    ensure!(
        run["error"]["stacktrace"]
            .to_string()
            .contains("inside of the function"),
        "{run}"
    );
    let said = crash.text().await?;
    assert_eq!(
        said,
        format!(r#"{{"code":502,"message":"function {function} failed"}}"#)
    );

    // Nobody waits: the request passes all the same
    let later = caller
        .ask("POST /users/7")?
        .header("x-dispatch-blocking", "false")
        .json(&json!({"n": 1}));
    let later = later.send().await?;
    assert_eq!(later.status(), 202);
    let name = later.headers()["dispatch-run"].to_str()?.to_owned();
    let get = ["get", "run", function, &name];
    let hub = &caller.bench.hub;
    hub.until("the run has ended", std::time::Duration::from_secs(60), |hub| {
        Ok(hub.json(&get)?["finishedTime"].is_i64())
    })
    .await?;
    let run = hub.json(&get)?;
    assert_eq!(run["output"]["statusCode"], 200, "{run}");
    ensure!(
        run["output"]["body"]
            .as_str()
            .is_some_and(|body| body.contains("/site/users/7")),
        "{run}"
    );
    Ok(())
}

/// A function of events gets what is posted to its API: an event as it is, anything else as the event of the call.
pub(crate) async fn events_pass(bench: &Bench, function: &str) -> Result<()> {
    let caller = Caller::of(bench, function, "/events")?;
    let structured = json!({"specversion": "1.0", "id": "7", "source": "/theirs", "type": "order.placed", "data": {"n": 1}});
    let event = caller
        .ask("POST /new")?
        .header("content-type", "application/cloudevents+json");
    let binary = caller.ask("POST /new")?.json(&json!({"n": 1}));
    let binary = [
        "ce-specversion: 1.0",
        "ce-id: 8",
        "ce-source: /theirs",
        "ce-type: order.paid",
    ]
    .iter()
    .filter_map(|line| line.split_once(": "))
    .fold(binary, |request, (name, value)| request.header(name, value));
    let plain = caller.ask("POST /new")?.json(&json!({"n": 1}));
    let called = format!("dispatch.api.called /dispatch/apis/api-{function}");
    for (request, wanted) in [
        (event.body(structured.to_string()), "order.placed /theirs"),
        (binary, "order.paid /theirs"),
        (plain, called.as_str()),
    ] {
        let answer = request.send().await?;
        ensure!(answer.status().is_success(), "{answer:?}");
        let run = caller.run(function, &answer)?;
        let line = run["logs"]["stdout"][0].as_str().unwrap_or_default();
        ensure!(line.starts_with(wanted) && line.contains('1'), "{wanted}: {run}");
    }
    Ok(())
}

/// What is only in Python's app: forms and files, read by the app's own framework.
pub(crate) async fn forms_are_read(caller: &Caller<'_>) -> Result<()> {
    let form = caller.told("POST /form", FORM, b"b=2%263&a=1&a=x+y").await?;
    assert_eq!(form["form"], json!({"a": ["1", "x y"], "b": ["2&3"]}));
    let parts = caller.told("POST /parts", MULTIPART, PARTS).await?;
    assert_eq!(
        (&parts["form"], &parts["files"]),
        (&json!({"a": ["1"]}), &json!({"f": [0, 255]}))
    );
    let json = caller
        .told("POST /json?a=1&a=2&b=", "application/json", b"[1]")
        .await?;
    assert_eq!(
        (&json["json"], &json["query"]),
        (&json!([1]), &json!({"a": ["1", "2"], "b": [""]}))
    );
    Ok(())
}

/// A handler made for API Gateway, and a web app behind a third party's reader of its events.
pub(crate) const LAMBDA: &str = r#"
import base64, json
from mangum import Mangum

def lambda_handler(event, context):
    http = event["requestContext"]["http"]
    if event["rawPath"] == "/site/crash":
        raise RuntimeError("inside of the function")
    if event["rawPath"] == "/site/plain":
        return {"greeting": "Hello"}
    body = event.get("body")
    if event["isBase64Encoded"]:
        body = base64.b64decode(body).decode("latin-1")
    seen = {"version": event["version"], "route": event["routeKey"], "path": event["rawPath"], "query": event["rawQueryString"],
            "parameters": event.get("pathParameters"), "values": event.get("queryStringParameters"), "method": http["method"],
            "mine": event["headers"].get("x-mine"), "body": body, "ip": http["sourceIp"], "encoded": event["isBase64Encoded"]}
    return {"statusCode": "201", "headers": {"X-Mood": "made", "Content-Type": "application/json"},
            "cookies": ["a=1", "b=2"], "body": json.dumps(seen)}

async def app(scope, receive, send):
    message = await receive()
    said = "%s %s %s %s" % (scope["method"], scope["path"], scope["query_string"].decode(), message["body"].decode())
    await send({"type": "http.response.start", "status": 203, "headers": [(b"content-type", b"text/plain"), (b"x-by", b"asgi")]})
    await send({"type": "http.response.body", "body": said.encode()})

web = Mangum(app, lifespan="off")
"#;

/// A Lambda function behind an API gets the event that API Gateway makes, and its answer is read as there.
pub(crate) async fn proxy_events(bench: &Bench) -> Result<()> {
    let caller = Caller::of(bench, "proxy", "/site")?;
    let asked = caller
        .ask("POST /users/7?a=1&a=2&b=x%20y")?
        .header("x-mine", "seen");
    let answer = asked
        .header("content-type", "application/json")
        .body("{ \"n\": 1.0 }")
        .send()
        .await?;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["x-mood"]),
        (201, &"made".parse()?)
    );
    assert_eq!(answer.headers().get_all("set-cookie").iter().count(), 2);
    let seen: Value = answer.json().await?;
    assert_eq!(
        seen,
        json!({
            "version": "2.0", "route": "POST /site/users/{id}", "path": "/site/users/7", "query": "a=1&a=2&b=x%20y",
            "parameters": {"id": "7"}, "values": {"a": "1,2", "b": "x y"}, "method": "POST", "mine": "seen",
            "body": "{ \"n\": 1.0 }", "ip": "127.0.0.1", "encoded": false,
        })
    );
    let bytes = caller
        .ask("PUT /a/b")?
        .header("content-type", "application/octet-stream")
        .body(vec![0, 255]);
    let seen: Value = bytes.send().await?.json().await?;
    assert_eq!(
        (&seen["body"], &seen["encoded"]),
        (&json!("\u{0}\u{ff}"), &json!(true))
    );
    assert_eq!(
        (&seen["route"], &seen["parameters"]),
        (&json!("PUT /site/{proxy+}"), &json!({"proxy": "a/b"}))
    );
    let none: Value = caller.ask("GET /users/7")?.send().await?.json().await?;
    assert_eq!((&none["body"], &none["values"]), (&Value::Null, &Value::Null));

    let plain = caller.ask("GET /plain")?.send().await?;
    assert_eq!(
        (plain.status().as_u16(), plain.text().await?.as_str()),
        (200, r#"{"greeting":"Hello"}"#)
    );
    let crash = caller.ask("GET /crash")?.send().await?;
    assert_eq!(crash.status(), 502);
    let run = caller.run("proxy", &crash)?;
    assert_eq!(
        (&run["error"]["type"], &run["error"]["message"]),
        (&json!("FunctionError"), &json!("inside of the function"))
    );

    let web = Caller::of(bench, "web", "/web")?;
    let web = web
        .ask("POST /x%20y?a=1")?
        .header("content-type", "text/plain")
        .body("hi")
        .send()
        .await?;
    assert_eq!(
        (web.status().as_u16(), &web.headers()["x-by"]),
        (203, &"asgi".parse()?)
    );
    assert_eq!(web.text().await?, "POST /web/x y a=1 hi");
    Ok(())
}
