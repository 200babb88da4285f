//! `python3`: `module.function`, called with context and payload.

use std::path::{Path, PathBuf};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::process::Command;

use super::program::ask;
use super::{Interpreter, Plan, Runtime, Site, packages, put, ready};
use crate::install::InstallError;
use crate::worker::StartError;

pub(super) struct Python;

/// Prints the version, then the path of the program itself: what is on `PATH` may be a slow wrapper.
const PROBE: &str = "import sys; print('Python', sys.version.split()[0]); print(sys.executable)";

impl Runtime for Python {
    fn name(&self) -> &'static str {
        "python3"
    }

    fn single_file(&self) -> &'static str {
        "handler.py"
    }

    fn find<'a>(&'a self, _: Option<&'a Path>) -> BoxFuture<'a, Result<Interpreter, String>> {
        find().boxed()
    }

    fn prepare<'a>(&'a self, site: &'a Site<'a>) -> BoxFuture<'a, Result<Plan, StartError>> {
        ready(
            put(site, "worker.py", include_str!("../programs/worker.py")).map(|program| {
                let plan = Plan::framed(&site.found.path, site.handler).argument(program);
                with_packages(
                    Plan {
                        bounded_memory: true,
                        ..plan
                    },
                    site,
                )
            }),
        )
    }

    fn install(&self, found: &Interpreter, manifest: &str, folder: &Path) -> Result<Command, InstallError> {
        packages::pip(found, manifest, folder)
    }
}

/// Finds `python3`.
pub(super) async fn find() -> Result<Interpreter, String> {
    two_lines("python3", &["-c", PROBE]).await
}

/// Finds a program that prints its version and its path.
pub(super) async fn two_lines(program: &str, arguments: &[&str]) -> Result<Interpreter, String> {
    let output = ask(program, arguments).await?;
    let mut lines = output.lines().map(str::trim);
    let version = lines.next().unwrap_or_default().to_owned();
    let path = PathBuf::from(lines.next().unwrap_or_default());
    match path.is_absolute() {
        true => Ok(Interpreter {
            path,
            version,
            parts: Vec::new(),
        }),
        false => Err(format!("`{program}` does not say where it is")),
    }
}

/// Lets a program find the image's packages.
pub(super) fn with_packages(plan: Plan, site: &Site<'_>) -> Plan {
    match site.dependencies {
        Some(folder) => plan.variable("PYTHONPATH", folder),
        None => plan,
    }
}

/// Lets what a program prints be in the pipe before it answers.
pub(super) fn unbuffered(plan: Plan) -> Plan {
    plan.variable("PYTHONUNBUFFERED", "1")
}
