//! `wasm`: a program compiled to WebAssembly, run by `dispatch-wasm`: an executable of its own, so that the hub links no
//! compiler and a hub without such functions needs none.
//!
//! The file is compiled once per worker and starts anew for each call. A worker ends a call that is late by itself and
//! takes the next one.

use std::path::Path;
use std::time::Duration;

use dispatch_sink_sandbox::executable_named;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::process::Command;

use super::program::ask;
use super::{Interpreter, Plan, Runtime, Site, exec, ready};
use crate::install::InstallError;
use crate::worker::StartError;

pub(super) struct Wasm;

const EXECUTABLE: &str = "dispatch-wasm";
const BUILD: &str = "cargo build --release -p dispatch-sink-wasm";
/// What a worker may take to say that it stopped a call.
const GRACE: Duration = Duration::from_millis(250);

impl Runtime for Wasm {
    fn name(&self) -> &'static str {
        "wasm"
    }

    fn single_file(&self) -> &'static str {
        "function.wasm"
    }

    fn find<'a>(&'a self, plugins: Option<&'a Path>) -> BoxFuture<'a, Result<Interpreter, String>> {
        find(plugins).boxed()
    }

    fn counts_fuel(&self) -> bool {
        true
    }

    fn prepare<'a>(&'a self, site: &'a Site<'a>) -> BoxFuture<'a, Result<Plan, StartError>> {
        ready(prepare(site))
    }

    fn install(&self, _: &Interpreter, _: &str, _: &Path) -> Result<Command, InstallError> {
        let text = "images of wasm have no packages: leave the manifest empty and link them into the file";
        Err(InstallError::Failed(text.to_owned()))
    }
}

async fn find(plugins: Option<&Path>) -> Result<Interpreter, String> {
    let path = executable_named(EXECUTABLE, plugins).ok_or_else(|| {
        format!("no `{EXECUTABLE}` beside the hub, among the plugins or on PATH: build it with `{BUILD}`")
    })?;
    let said = ask(&path.to_string_lossy(), &["--version"]).await?;
    Ok(Interpreter {
        path,
        version: said.lines().next().unwrap_or_default().to_owned(),
        parts: Vec::new(),
    })
}

fn prepare(site: &Site<'_>) -> Result<Plan, StartError> {
    let file = match site.handler {
        "" => exec::only_file(site.source)?,
        name => exec::inside(site.source, name)?,
    };
    let inside = file.strip_prefix(site.source).unwrap_or(&file).to_string_lossy();
    let mut plan = Plan::framed(&site.found.path, &inside)
        .argument("--memory")
        .argument(mebibytes(site).to_string());
    if let Some(fuel) = fuel(site.bounds.fuel, site.limits.fuel) {
        plan = plan.argument("--fuel").argument(fuel.to_string());
    }
    let plan = plan
        // Threads of its compiler and of its clock.
        .variable("RAYON_NUM_THREADS", "2")
        .variable("TOKIO_WORKER_THREADS", "1");
    Ok(Plan { grace: GRACE, ..plan })
}

/// What one call may spend: what the function says, up to what the engine says.
fn fuel(said: Option<u64>, most: Option<u64>) -> Option<u64> {
    [said, most].into_iter().flatten().min()
}

/// What one instance may have: room is left for the worker itself.
fn mebibytes(site: &Site<'_>) -> u64 {
    let room = (site.bounds.memory / 4 * 3) >> 20;
    room.min(site.limits.heap.into()).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_the_fuel_its_function_says_up_to_the_engines() {
        let table = [
            (None, None, None),
            (Some(5), None, Some(5)),
            (None, Some(7), Some(7)),
            (Some(5), Some(7), Some(5)),
            (Some(9), Some(7), Some(7)),
        ];
        for (said, most, wanted) in table {
            assert_eq!(fuel(said, most), wanted, "{said:?} of {most:?}");
        }
    }
}
