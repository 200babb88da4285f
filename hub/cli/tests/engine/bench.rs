//! A hub to work at: images, functions, calls by `exec` and by event.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use dispatch_fixtures::hub::Hub;
use serde_json::Value;

/// How long a build may take on a busy machine: the package tools ask registries.
const BUILT: Duration = Duration::from_secs(150);

pub(crate) struct Bench {
    pub(crate) hub: Hub,
}

impl Bench {
    pub(crate) async fn start() -> Result<Self> {
        Self::start_in(&[]).await
    }

    /// The same with more variables in the hub's environment.
    pub(crate) async fn start_in(environment: &[(&str, &str)]) -> Result<Self> {
        let hub = Hub::start_in(env!("CARGO_BIN_EXE_dispatch"), &[], environment).await?;
        Ok(Self { hub })
    }

    /// Writes a file of the test's own; its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> Result<String> {
        let path = self.hub.scratch().join(name);
        std::fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
        std::fs::write(&path, text)?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// A base image and an image, both of this name, with a manifest if it is not empty. `None`, visibly, where the
    /// runtime or its packages are not to be had here.
    pub(crate) async fn image(&self, language: &str, manifest: &str) -> Result<Option<Value>> {
        self.hub.ok(&[
            "create",
            "base-image",
            language,
            "any/thing:1",
            "--language",
            language,
        ])?;
        let mut args = vec!["create", "image", language, language];
        let path = self.file(&format!("{language}.manifest"), manifest)?;
        if !manifest.is_empty() {
            args.extend(["--runtime-deps", &path]);
        }
        self.hub.ok(&args)?;
        let image = self.settled("image", language).await?;
        if image["status"] == "READY" {
            return Ok(Some(image));
        }
        skip(&format!("{language}: {}", image["reason"]))?;
        Ok(None)
    }

    /// A resource once it is READY or in ERROR.
    pub(crate) async fn settled(&self, kind: &str, name: &str) -> Result<Value> {
        let mut found = Value::Null;
        let what = format!("{kind} {name} is built");
        let check = |hub: &Hub| {
            found = hub.json(&["get", kind, name])?;
            Ok(found["status"] == "READY" || found["status"] == "ERROR")
        };
        self.hub.until(&what, BUILT, check).await?;
        Ok(found)
    }

    /// Creates a function and waits until it is READY.
    pub(crate) async fn function(&self, name: &str, image: &str, path: &str, more: &[&str]) -> Result<()> {
        let created = self.tried(name, image, path, more).await?;
        ensure!(created["status"] == "READY", "{name}: {}", created["reason"]);
        Ok(())
    }

    /// Creates a function and waits until it is READY or in ERROR.
    pub(crate) async fn tried(&self, name: &str, image: &str, path: &str, more: &[&str]) -> Result<Value> {
        let mut args = vec!["create", "function", name, "--image", image, path];
        args.extend(more);
        self.hub.ok(&args)?;
        self.settled("function", name).await
    }

    /// The run of a call by `exec`.
    pub(crate) fn exec(&self, function: &str, input: &str, more: &[&str]) -> Result<Value> {
        let mut args = vec!["exec", function, "--input", input, "--wait"];
        args.extend(more);
        self.hub.json(&args)
    }

    /// Subscribes a function, emits an event for it, and waits for its run.
    pub(crate) async fn run_by_event(&self, function: &str, data: &str) -> Result<Value> {
        let ty = format!("happened.{function}");
        let subscription = format!("to-{function}");
        self.hub.ok(&[
            "create",
            "subscription",
            function,
            "--name",
            &subscription,
            "--event-type",
            &ty,
        ])?;
        self.hub
            .ok(&["emit", &ty, "--data", data, "--content-type", "application/json"])?;
        let mut run = Value::Null;
        let check = |hub: &Hub| {
            let runs = hub.json(&["get", "runs", function])?;
            let ended = |run: &&Value| {
                run["event"].is_object() && (run["status"] == "READY" || run["status"] == "ERROR")
            };
            run = runs
                .as_array()
                .and_then(|all| all.iter().find(ended))
                .cloned()
                .unwrap_or_default();
            Ok(run.is_object())
        };
        self.hub
            .until("a run by event", Duration::from_secs(60), check)
            .await?;
        ensure!(run["event"]["eventType"] == ty.as_str(), "{run}");
        Ok(run)
    }
}

/// A peer is missing: visible, and a failure where nothing may be missing (`CI=true`).
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
pub(crate) fn skip(reason: &str) -> Result<()> {
    if std::env::var("CI").as_deref() == Ok("true") {
        bail!("not to be skipped here: {reason}");
    }
    eprintln!("SKIPPED: {reason}");
    Ok(())
}
