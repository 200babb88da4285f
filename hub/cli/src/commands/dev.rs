//! `dispatch dev`: runs a function on this machine while it is written.
//!
//! A hub of its own, on this machine only and with data that go with it, has the function; each time a file changes it
//! is deployed and called again with the sample, and its answer and what it printed are shown. What it needs
//! (`requirements.txt`, `package.json`) is installed as for an image.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use dispatch_server::ServerConfig;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{exec, log};
use crate::args::global::Settings;
use crate::client::{Client, Route};
use crate::output::{self, Format};
use crate::resource::text;
use crate::{out, source};

/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(300);
/// How long installing, deploying or a run may take.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
const NAME: &str = "dev";

/// What to run, and with what.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// File or folder of the function's code
    path: PathBuf,
    /// Which function of the code, in the language's notation; a folder needs it
    #[arg(long, value_name = "HANDLER", default_value = "", hide_default_value = true)]
    handler: String,
    /// Language of the code; by the names of its files unless given
    #[arg(long, value_name = "LANG")]
    language: Option<String>,
    /// What the function gets, JSON
    #[arg(long, value_name = "JSON", value_parser = exec::json, conflicts_with = "event")]
    input: Option<Value>,
    /// File with the event the function gets: a CloudEvent as JSON, or only its data
    #[arg(long, value_name = "FILE")]
    event: Option<PathBuf>,
    /// JSON file with values of secrets: an object of texts
    #[arg(long, value_name = "FILE")]
    secret: Option<PathBuf>,
    /// File with the JSON schema of what it gets
    #[arg(long, value_name = "FILE")]
    schema_in: Option<PathBuf>,
    /// File with the JSON schema of what it returns
    #[arg(long, value_name = "FILE")]
    schema_out: Option<PathBuf>,
    /// How long one run may take, milliseconds; 0 leaves it to the hub
    #[arg(long, value_name = "MS", default_value_t = 0)]
    timeout: u32,
    /// Run it once and end: with exit code 1 if it failed
    #[arg(long)]
    once: bool,
}

/// Runs until Ctrl-C.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let data = tempfile::tempdir().context("cannot make a folder for the data")?;
    let config = ServerConfig {
        data: data.path().join("data"),
        port: 0,
        gateway_port: 0,
        ..ServerConfig::default()
    };
    let server = dispatch_server::start(config)
        .await
        .context("cannot start a hub")?;
    let client = Client::new(&Settings {
        base: format!("http://{}", server.address()),
        organization: None,
        insecure: false,
        token: None,
        format: Format::Table,
    })?;
    let workshop = Workshop { client, args };
    let worked = tokio::select! {
        worked = workshop.work() => worked,
        interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| ExitCode::SUCCESS).map_err(Into::into),
    };
    server.stop().await;
    worked
}

struct Workshop {
    client: Client,
    args: Args,
}

impl Workshop {
    async fn work(&self) -> anyhow::Result<ExitCode> {
        self.prepare().await?;
        let mut stamps = Vec::new();
        for turn in 0u64.. {
            stamps = self.changed(stamps).await;
            let fine = match self.turn(turn).await {
                Ok(fine) => fine,
                Err(error) if self.args.once => return Err(error),
                Err(error) => {
                    out::note(format_args!("{error:#}"));
                    false
                }
            };
            if self.args.once {
                return Ok(match fine {
                    true => ExitCode::SUCCESS,
                    false => ExitCode::FAILURE,
                });
            }
            out::note(format_args!(
                "waiting for changes in {}",
                self.args.path.display()
            ));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The image and the secret.
    async fn prepare(&self) -> anyhow::Result<()> {
        let path = &self.args.path;
        let language = match &self.args.language {
            Some(language) => language.clone(),
            None => language_of(path)?.to_owned(),
        };
        let base = json!({"name": NAME, "dockerUrl": "local", "language": language});
        self.client.post(Route::to("/v1/baseimage"), &base).await?;
        let mut image = json!({"name": NAME, "baseImageName": NAME});
        let manifests = ["requirements.txt", "package.json"].map(|name| path.join(name));
        if let Some(manifest) = manifests.iter().find(|manifest| manifest.is_file()) {
            image["runtimeDependencies"] = json!({"manifest": read(manifest)?});
            out::note(format_args!("installing {}", manifest.display()));
        }
        self.client.post(Route::to("/v1/image"), &image).await?;
        self.settled("/v1/image").await?;
        if let Some(file) = &self.args.secret {
            // What is wrong with it is said without its values.
            let values: Value = serde_json::from_str(&read(file)?)
                .map_err(|_| anyhow::anyhow!("{} is not a JSON object of texts", file.display()))?;
            let secret = json!({"name": NAME, "secrets": values});
            self.client.post(Route::to("/v1/secret"), &secret).await?;
        }
        Ok(())
    }

    /// Deploys and runs once; whether that went well.
    async fn turn(&self, turn: u64) -> anyhow::Result<bool> {
        let function = self.function()?;
        match turn_is_first(&self.client).await? {
            true => self.client.post(Route::to("/v1/function"), &function).await?,
            false => {
                self.client
                    .put(Route::to("/v1/function").named(NAME), &function)
                    .await?
            }
        };
        self.settled("/v1/function").await?;
        let began = Instant::now();
        let run = match &self.args.event {
            Some(file) => self.deliver(file, turn).await?,
            None => {
                let input = self.args.input.clone().unwrap_or_else(|| json!({}));
                let call = json!({"functionName": NAME, "blocking": true, "input": input});
                self.client.post(Route::to("/v1/runs"), &call).await?
            }
        };
        let took = began.elapsed();
        out::text(&log::lines(&run))?;
        if let Some(output) = run.get("output") {
            out::line(output::json(output)?)?;
        }
        let status = text(&run, "status");
        out::note(format_args!("{status} in {:.1} ms", took.as_secs_f64() * 1000.0));
        Ok(status == "READY")
    }

    fn function(&self) -> anyhow::Result<Value> {
        let args = &self.args;
        if args.handler.is_empty() && args.path.is_dir() {
            bail!("--handler is required: {} is a directory", args.path.display());
        }
        let mut function = json!({
            "name": NAME,
            "image": NAME,
            "handler": args.handler,
            "source": source::pack(&args.path)?,
            "timeout": args.timeout,
        });
        if args.secret.is_some() {
            function["secrets"] = json!([NAME]);
        }
        for (key, file) in [("in", &args.schema_in), ("out", &args.schema_out)] {
            if let Some(file) = file {
                let schema: Value = serde_json::from_str(&read(file)?)
                    .with_context(|| format!("{} is not JSON", file.display()))?;
                function["schema"][key] = schema;
            }
        }
        Ok(function)
    }

    /// Sends the event and waits for its run.
    async fn deliver(&self, file: &Path, turn: u64) -> anyhow::Result<Value> {
        let sample: Value =
            serde_json::from_str(&read(file)?).with_context(|| format!("{} is not JSON", file.display()))?;
        let mut event = match sample.get("specversion") {
            Some(_) => sample,
            None => {
                json!({"specversion": "1.0", "source": "/dispatch/dev", "type": "dev.sample", "data": sample})
            }
        };
        // New each time, or the hub would take it for the one before.
        let id = format!("{}#{turn}", text(&event, "id"));
        event["id"] = json!(id);
        let subscription =
            json!({"name": NAME, "eventType": event["type"], "function": NAME, "delivery": {"retry": 0}});
        let place = Route::to("/v1/event/subscriptions");
        match self.client.put(place.clone().named(NAME), &subscription).await {
            Err(error) if error.is_not_found() => self.client.post(place, &subscription).await?,
            answer => answer?,
        };
        self.client.post_event(Route::to("/v1/events"), &event).await?;
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let runs = self.client.get(Route::to("/v1/runs").with("limit", "10")).await?;
            let of_it = |run: &&Value| run["event"]["eventID"] == id && run.get("finishedTime").is_some();
            if let Some(run) = runs.as_array().into_iter().flatten().find(of_it) {
                return Ok(run.clone());
            }
            sleep(Duration::from_millis(20)).await;
        }
        bail!("the run did not end")
    }

    /// Waits until the resource is READY; an error says why it is not.
    async fn settled(&self, path: &'static str) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let found = self.client.get(Route::to(path).named(NAME)).await?;
            match text(&found, "status").as_str() {
                "READY" => return Ok(()),
                "ERROR" => bail!("{}", out::plain(&text(&found, "reason"))),
                _ => sleep(Duration::from_millis(20)).await,
            }
        }
        bail!("{path} is not READY")
    }

    /// Waits until files are not as they were; how they are then.
    async fn changed(&self, before: Vec<Stamp>) -> Vec<Stamp> {
        loop {
            let mut now = Vec::new();
            for path in [Some(&self.args.path), self.args.event.as_ref()]
                .into_iter()
                .flatten()
            {
                stamp(path, &mut now);
            }
            if now != before {
                return now;
            }
            sleep(LOOK).await;
        }
    }
}

async fn turn_is_first(client: &Client) -> anyhow::Result<bool> {
    match client.get(Route::to("/v1/function").named(NAME)).await {
        Err(error) if error.is_not_found() => Ok(true),
        answer => Ok(answer.map(|_| false)?),
    }
}

type Stamp = (PathBuf, Option<SystemTime>, u64);

/// All files below, as they are now. What cannot be read is as if it were not there.
fn stamp(path: &Path, stamps: &mut Vec<Stamp>) {
    let Ok(found) = std::fs::metadata(path) else {
        return;
    };
    if !found.is_dir() {
        return stamps.push((path.to_owned(), found.modified().ok(), found.len()));
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().for_each(|path| stamp(path, stamps));
}

fn language_of(path: &Path) -> anyhow::Result<&'static str> {
    let mut stamps = Vec::new();
    stamp(path, &mut stamps);
    let by_name = |(path, ..): &Stamp| match path.extension()?.to_str()? {
        "py" => Some("python3"),
        "js" | "mjs" | "cjs" => Some("nodejs"),
        "java" | "jar" => Some("java"),
        "ps1" => Some("powershell"),
        "clj" => Some("clojure"),
        "wasm" => Some("wasm"),
        _ => None,
    };
    let found = stamps.iter().find_map(by_name);
    found.with_context(|| format!("{}: say its --language", path.display()))
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
