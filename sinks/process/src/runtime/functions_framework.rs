//! `functions-framework-python3` and `functions-framework-nodejs`: apps written for Google's Functions Framework, run
//! unchanged by the framework itself, which is among the image's packages.
//!
//! The handler is the target, and `TARGET:cloudevent` (or `:http`, `:event`) its signature where the code does not
//! register it; empty is the framework's own default, `function`.

use std::path::{Path, PathBuf};

use dispatch_contract::SourceFile;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::process::Command;

use super::{Interpreter, Plan, Runtime, Site, node, packages, put, python, ready};
use crate::install::InstallError;
use crate::wire::Speech;
use crate::worker::StartError;

pub(super) struct OnPython;
pub(super) struct OnNode;

const SIGNATURES: [&str; 3] = ["http", "cloudevent", "event"];

impl Runtime for OnPython {
    fn name(&self) -> &'static str {
        "functions-framework-python3"
    }

    fn single_file(&self) -> &'static str {
        "main.py"
    }

    fn find<'a>(&'a self, _: Option<&'a Path>) -> BoxFuture<'a, Result<Interpreter, String>> {
        python::find().boxed()
    }

    fn check(&self, _: &[SourceFile], handler: &str) -> Result<(), String> {
        target(handler).map(drop)
    }

    fn prepare<'a>(&'a self, site: &'a Site<'a>) -> BoxFuture<'a, Result<Plan, StartError>> {
        ready(on_python(site))
    }

    fn install(&self, found: &Interpreter, manifest: &str, folder: &Path) -> Result<Command, InstallError> {
        packages::pip(found, manifest, folder)
    }
}

impl Runtime for OnNode {
    fn name(&self) -> &'static str {
        "functions-framework-nodejs"
    }

    fn single_file(&self) -> &'static str {
        "index.js"
    }

    fn find<'a>(&'a self, _: Option<&'a Path>) -> BoxFuture<'a, Result<Interpreter, String>> {
        node::find().boxed()
    }

    fn check(&self, _: &[SourceFile], handler: &str) -> Result<(), String> {
        target(handler).map(drop)
    }

    fn prepare<'a>(&'a self, site: &'a Site<'a>) -> BoxFuture<'a, Result<Plan, StartError>> {
        ready(on_node(site))
    }

    fn install(&self, _: &Interpreter, manifest: &str, folder: &Path) -> Result<Command, InstallError> {
        packages::npm(manifest, folder)
    }
}

fn on_python(site: &Site<'_>) -> Result<Plan, StartError> {
    installed(
        site,
        "functions_framework",
        "requirements.txt",
        "functions-framework",
    )?;
    let plan = Plan::framed(&site.found.path, site.handler)
        .argument("-m")
        .argument("functions_framework");
    let source = only_file(site.source).unwrap_or_else(|| site.source.join("main.py"));
    let plan = with_target(plan, site, &source)?.variable("THREADS", site.concurrency.to_string());
    Ok(python::unbuffered(python::with_packages(plan, site)))
}

fn on_node(site: &Site<'_>) -> Result<Plan, StartError> {
    let folder = "node_modules/@google-cloud/functions-framework";
    let main = installed(site, folder, "package.json", "@google-cloud/functions-framework")?;
    let loopback = put(site, "loopback.js", include_str!("../programs/loopback.js"))?;
    let plan = Plan::framed(&site.found.path, site.handler)
        .argument("--require")
        .argument(loopback);
    let plan = node::with_packages(plan, site).argument(main.join("build/src/main.js"));
    // Its own way to a file: `main` of a package.json, index.js or function.js; or the only one.
    let source = only_file(site.source).unwrap_or_else(|| site.source.to_owned());
    with_target(plan, site, &source)
}

/// Where a package is among the image's.
fn installed(site: &Site<'_>, inside: &str, manifest: &str, package: &str) -> Result<PathBuf, StartError> {
    let found = site
        .dependencies
        .map(|folder| folder.join(inside))
        .filter(|path| path.exists());
    found.ok_or_else(|| {
        StartError::Invalid(format!(
            "the image has no {package}: name it in the image's {manifest} (--runtime-deps)"
        ))
    })
}

fn with_target(plan: Plan, site: &Site<'_>, source: &Path) -> Result<Plan, StartError> {
    let (target, signature) = target(site.handler).map_err(StartError::Invalid)?;
    let plan = plan
        .variable("FUNCTION_SOURCE", source)
        .variable("FUNCTION_TARGET", target);
    let plan = match signature {
        Some(signature) => plan.variable("FUNCTION_SIGNATURE_TYPE", signature),
        None => plan,
    };
    Ok(Plan {
        speech: Speech::HttpEvent,
        ..plan
    })
}

fn target(handler: &str) -> Result<(&str, Option<&str>), String> {
    let (target, signature) = match handler.split_once(':') {
        Some((target, signature)) => (target, Some(signature)),
        None => (handler, None),
    };
    if let Some(signature) = signature.filter(|s| !SIGNATURES.contains(s)) {
        return Err(format!(
            "Invalid function file or handler: {signature:?} is no signature: use {}",
            SIGNATURES.join(", ")
        ));
    }
    Ok((if target.is_empty() { "function" } else { target }, signature))
}

fn only_file(source: &Path) -> Option<PathBuf> {
    let mut entries = std::fs::read_dir(source).ok()?.flatten();
    match (entries.next(), entries.next()) {
        (Some(only), None) if only.path().is_file() => Some(only.path()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_is_a_target_and_its_signature() {
        assert_eq!(target("hello"), Ok(("hello", None)));
        assert_eq!(target(""), Ok(("function", None)));
        assert_eq!(
            target("on_event:cloudevent"),
            Ok(("on_event", Some("cloudevent")))
        );
        assert!(
            target("hello:grpc")
                .unwrap_err()
                .contains("use http, cloudevent, event")
        );
    }
}
