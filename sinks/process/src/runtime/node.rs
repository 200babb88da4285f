//! `nodejs`: a file that exports one function.

use std::path::Path;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::process::Command;

use super::{Interpreter, Plan, Runtime, Site, packages, put, python, ready};
use crate::install::InstallError;
use crate::worker::StartError;

pub(super) struct Node;

impl Runtime for Node {
    fn name(&self) -> &'static str {
        "nodejs"
    }

    fn single_file(&self) -> &'static str {
        "handler.js"
    }

    fn find<'a>(&'a self, _: Option<&'a Path>) -> BoxFuture<'a, Result<Interpreter, String>> {
        find().boxed()
    }

    fn prepare<'a>(&'a self, site: &'a Site<'a>) -> BoxFuture<'a, Result<Plan, StartError>> {
        ready(
            put(site, "worker.js", include_str!("../programs/worker.js")).map(|program| {
                let plan = Plan::framed(&site.found.path, site.handler);
                with_packages(plan, site).argument(program)
            }),
        )
    }

    fn install(&self, _: &Interpreter, manifest: &str, folder: &Path) -> Result<Command, InstallError> {
        packages::npm(manifest, folder)
    }
}

/// Finds `node`.
pub(super) async fn find() -> Result<Interpreter, String> {
    python::two_lines(
        "node",
        &["-p", "'Node.js ' + process.version + '\\n' + process.execPath"],
    )
    .await
}

/// Bounds the heap, and lets a program find the image's packages.
pub(super) fn with_packages(plan: Plan, site: &Site<'_>) -> Plan {
    let plan = plan.argument(format!("--max-old-space-size={}", site.limits.heap));
    match site.dependencies {
        Some(folder) => plan.variable("NODE_PATH", folder.join("node_modules")),
        None => plan,
    }
}
