//! APIs from outside: made by the command line, called over HTTP and HTTPS, as their callers see them.
// Helpers outside #[test] functions may unwrap here: a panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod certificates;
mod graph;
mod guards;
mod published;
mod refusals;
mod replay;
mod requests;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use dispatch_fixtures::hub::{self, Hub};
use reqwest::{Certificate, Client, RequestBuilder, Response};
use serde_json::Value;

/// More than anything here should take.
const PATIENCE: Duration = Duration::from_secs(60);

const IMAGES: &str = "kind: BaseImage\nname: python3-base\ndockerUrl: dispatchframework/python3-base:0.0.13\n\
                      language: python3\n---\nkind: Image\nname: python3\nbaseImageName: python3-base\n";

/// Functions of the original's examples, and one with moods.
const FUNCTIONS: [(&str, &str); 3] = [
    (
        "hello",
        r#"
def handle(ctx, payload):
    payload = payload or {}
    return {"myField": "Hello, %s from %s" % (payload.get("name", "Noone"), payload.get("place", "Nowhere"))}
"#,
    ),
    (
        "debug",
        r#"
def handle(ctx, payload):
    return {"context": {"httpContext": ctx.get("httpContext"), "event": ctx.get("event")}, "params": payload}
"#,
    ),
    (
        "moody",
        r#"
import time

def handle(ctx, payload):
    mood = payload.get("mood")
    if mood == "input":
        raise ValueError("there is no such mood")
    if mood == "fail":
        raise RuntimeError("inside of the function")
    if mood == "slow":
        time.sleep(20)
    if mood == "nothing":
        return None
    if mood == "answer":
        return {"statusCode": 418, "headers": {"x-mood": "teapot", "content-type": "text/plain"}, "body": "short"}
    return {"mood": mood}
"#,
    ),
];

/// A hub with functions.
struct Stage {
    hub: Hub,
    http: Client,
}

impl Stage {
    /// With these functions of [`FUNCTIONS`].
    async fn with(functions: &[&str]) -> Result<Self> {
        Self::with_flags(functions, &[]).await
    }

    async fn with_flags(functions: &[&str], flags: &[&str]) -> Result<Self> {
        let hub = Hub::start_with(env!("CARGO_BIN_EXE_dispatch"), flags).await?;
        let stage = Self {
            hub,
            http: hub::client()?,
        };
        stage.write("images.yaml", IMAGES)?;
        stage.hub.ok(&["create", "-f", "images.yaml"])?;
        for (name, code) in FUNCTIONS.iter().filter(|(name, _)| functions.contains(name)) {
            stage.write(&format!("{name}.py"), code)?;
            let file = format!("./{name}.py");
            stage
                .hub
                .ok(&["create", "function", name, &file, "--image", "python3"])?;
        }
        stage
            .hub
            .until("the functions are READY", PATIENCE, |hub| {
                let functions = hub.json(&["get", "functions"])?;
                Ok(functions
                    .as_array()
                    .is_some_and(|all| all.iter().all(|f| f["status"] == "READY")))
            })
            .await?;
        Ok(stage)
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        Ok(std::fs::write(self.hub.scratch().join(file), text)?)
    }

    /// `dispatch create api`, with spaces between the words.
    fn api(&self, line: &str) -> Result<String> {
        let mut args = vec!["create", "api"];
        args.extend(line.split_whitespace());
        self.hub.ok(&args)
    }

    /// The same, expected to fail: what it said.
    fn refused(&self, line: &str) -> Result<String> {
        let mut args = vec!["create", "api"];
        args.extend(line.split_whitespace());
        let output = self.hub.cli(&args)?;
        ensure!(output.status.code() == Some(1), "{line}: {output:?}");
        Ok(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }

    /// A request to the gateway: `POST /dispatch/hello`.
    fn ask(&self, request: &str) -> RequestBuilder {
        let (method, path) = request.split_once(' ').unwrap();
        let url = format!("{}{path}", self.hub.gateway());
        self.http.request(method.parse().unwrap(), url)
    }

    /// A client that trusts the hub's own certificate.
    fn https(&self) -> Result<Client> {
        let certificate = std::fs::read(self.hub.data().join("gateway/certificate.pem"))?;
        dispatch_fixtures::crypto();
        Ok(Client::builder()
            .timeout(PATIENCE)
            .tls_certs_only([Certificate::from_pem(&certificate)?])
            .build()?)
    }
}

/// What came back, in short.
#[derive(Debug, PartialEq)]
struct Told {
    status: u16,
    body: Value,
}

/// The status and the body, as JSON if it is.
async fn told(request: RequestBuilder) -> Result<Told> {
    read(request.send().await?).await
}

async fn read(response: Response) -> Result<Told> {
    let status = response.status().as_u16();
    let text = response.text().await?;
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Ok(Told { status, body })
}

/// Asks again until the answer is as wanted.
async fn until(
    what: &str,
    request: impl Fn() -> RequestBuilder,
    wanted: impl Fn(&Told) -> bool,
) -> Result<Told> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let told = told(request()).await?;
        if wanted(&told) {
            return Ok(told);
        }
        ensure!(Instant::now() < deadline, "not in time: {what}: {told:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until so many events of this type are in the journal: those of calls that were waited for come there a moment later.
async fn until_noted(stage: &Stage, ty: &str, count: usize) -> Result<()> {
    let what = format!("{count} events {ty} are noted");
    let check = |hub: &Hub| {
        let events = hub.json(&["get", "events", "--type", ty])?;
        Ok(events.as_array().map_or(0, Vec::len) == count)
    };
    stage.hub.until(&what, PATIENCE, check).await
}
