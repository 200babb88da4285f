//! A hub with an image for Python, asked by HTTP and by its command line; and tables of what came back.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dispatch_fixtures::hub::{self, Hub};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_dispatch");
/// More than anything here should take on a machine that does other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(150);
const LONGEST: usize = 220;

pub(crate) struct Stage {
    pub(crate) hub: Hub,
    pub(crate) http: reqwest::Client,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) headers: reqwest::header::HeaderMap,
}

/// Rows that are printed as they come; those that are not as expected fail all of them at the end.
pub(crate) struct Table {
    wrong: Vec<String>,
}

impl Stage {
    /// With images and functions for Python.
    pub(crate) async fn start() -> Result<Self> {
        Self::with(&[]).await
    }

    /// The same with more flags of `dispatch server`.
    pub(crate) async fn with(flags: &[&str]) -> Result<Self> {
        let stage = Self {
            hub: Hub::start_with(BINARY, flags).await?,
            http: hub::client()?,
        };
        stage.hub.ok(&[
            "create",
            "base-image",
            "py",
            "any/python3:1",
            "--language",
            "python3",
        ])?;
        stage.hub.ok(&["create", "image", "python3", "py"])?;
        stage.settled("image", "python3").await?;
        Ok(stage)
    }

    /// A function of one file, with more of its body; as it came to be.
    pub(crate) async fn function(&self, name: &str, code: &str, more: Value) -> Result<Value> {
        let mut body = json!({"name": name, "image": "python3", "source": STANDARD.encode(code)});
        merge(&mut body, more);
        let told = self.rest("POST /v1/function", &body).await?;
        ensure!(told.status == 201, "{name}: {told:?}");
        self.settled("function", name).await
    }

    /// The same, which must be READY.
    pub(crate) async fn ready(&self, name: &str, code: &str, more: Value) -> Result<()> {
        let made = self.function(name, code, more).await?;
        ensure!(made["status"] == "READY", "{made}");
        Ok(())
    }

    /// A resource once it is READY or in ERROR.
    pub(crate) async fn settled(&self, kind: &str, name: &str) -> Result<Value> {
        let mut found = Value::Null;
        let what = format!("{kind} {name} is READY or in ERROR");
        let check = |hub: &Hub| {
            found = hub.json(&["get", kind, name])?;
            Ok(found["status"] == "READY" || found["status"] == "ERROR")
        };
        self.hub.until(&what, PATIENCE, check).await?;
        Ok(found)
    }

    /// Asks the REST API: `POST /v1/function`.
    pub(crate) async fn rest(&self, request: &str, body: &Value) -> Result<Told> {
        let request = self.request(&self.hub.url(), request);
        told(match body {
            Value::Null => request,
            body => request.json(body),
        })
        .await
    }

    /// A request to an API: `POST /dispatch/hello`.
    pub(crate) fn ask(&self, request: &str) -> RequestBuilder {
        self.request(&self.hub.gateway(), request)
    }

    fn request(&self, base: &str, request: &str) -> RequestBuilder {
        let (method, path) = request.split_once(' ').unwrap();
        self.http
            .request(method.parse().unwrap(), format!("{base}{path}"))
    }

    /// `dispatch create api`, with spaces between the words.
    pub(crate) fn api(&self, line: &str) -> Result<String> {
        let mut args = vec!["create", "api"];
        args.extend(line.split(' '));
        self.hub.ok(&args)
    }

    /// Writes a file of the test's own; its path.
    pub(crate) fn file(&self, name: &str, text: impl AsRef<[u8]>) -> Result<String> {
        let path = self.hub.scratch().join(name);
        std::fs::write(&path, text)?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// Runs the command line, which must fail; what it said.
    pub(crate) fn refused(&self, args: &[&str]) -> Result<String> {
        let output = self.hub.cli(args)?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        ensure!(
            output.status.code() == Some(1),
            "dispatch {}: {output:?}",
            args.join(" ")
        );
        Ok(said)
    }
}

/// The same with APIs for a function that answers with what it gets.
pub(crate) async fn echoing() -> Result<Stage> {
    const ECHO: &str = "def handle(context, payload):\n    return {'payload': payload, 'params': context['httpContext']['params']}\n";
    let stage = Stage::start().await?;
    stage.ready("echo", ECHO, json!({})).await?;
    for line in [
        "hello echo --method POST --path /hello --max-body-bytes 1000",
        "get echo --method GET --path /get",
        "files echo --method GET --path /files/*",
        "hosted echo --method GET --path /h --domain api.example.org",
    ] {
        stage.api(line)?;
    }
    Ok(stage)
}

impl Told {
    /// `message` of a refusal, or the whole body.
    pub(crate) fn said(&self) -> String {
        match self.body["message"].as_str() {
            Some(message) => message.to_owned(),
            None => self.body.to_string(),
        }
    }
}

pub(crate) async fn told(request: RequestBuilder) -> Result<Told> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await?;
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Ok(Told {
        status,
        body,
        headers,
    })
}

impl Table {
    pub(crate) fn new(columns: &str) -> Self {
        let lines = columns.matches('|').count() + 1;
        println!("\n| {columns} |\n|{}", "---|".repeat(lines));
        Self { wrong: Vec::new() }
    }

    /// A row; `said` must have `wanted` in it, and what was found must be what was expected.
    pub(crate) fn row<T: PartialEq + std::fmt::Display>(
        &mut self,
        what: &str,
        found: T,
        expected: T,
        said: &str,
        wanted: &str,
    ) {
        let one_line = said.replace('\n', " ⏎ ");
        let short: String = one_line.chars().take(LONGEST).collect();
        println!("| {what} | {found} | {short} |");
        if found != expected || !said.contains(wanted) {
            self.wrong.push(format!(
                "{what}: {found}, not {expected}; {wanted:?} in {one_line:?}"
            ));
        }
    }

    /// Fails with all rows that were not as expected.
    pub(crate) fn done(self) -> Result<()> {
        ensure!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
        Ok(())
    }
}

pub(crate) fn merge(into: &mut Value, more: Value) {
    if let (Some(into), Value::Object(more)) = (into.as_object_mut(), more) {
        into.extend(more);
    }
}

/// The one reason a resource in ERROR has.
pub(crate) fn reason(resource: &Value) -> Result<String> {
    let reasons = resource["reason"].as_array().context("reasons")?;
    ensure!(resource["status"] == "ERROR" && reasons.len() == 1, "{resource}");
    Ok(reasons[0].as_str().unwrap_or_default().to_owned())
}
