//! The runtimes: for each, which program runs its functions, how a worker of it is started and spoken to, and how
//! the dependencies of its images are installed.
//!
//! A runtime is one file here and one line of [`ALL`]; nothing else of the engine knows any of them by name.

mod clojure;
mod exec;
mod functions_framework;
mod java;
mod jvm;
mod lambda;
mod node;
mod packages;
mod powershell;
mod program;
mod python;
mod wasm;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dispatch_contract::{Bounds, SourceFile};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::process::Command;

use crate::install::InstallError;
use crate::notes::Notes;
use crate::settings::Limits;
use crate::wire::Speech;
use crate::worker::StartError;

/// Every runtime of this engine.
static ALL: [&dyn Runtime; 11] = [
    &python::Python,
    &node::Node,
    &java::Java,
    &clojure::Clojure,
    &powershell::PowerShell,
    &exec::Exec,
    &wasm::Wasm,
    &functions_framework::OnPython,
    &functions_framework::OnNode,
    &lambda::OnPython,
    &lambda::Provided,
];

/// One runtime.
pub(crate) trait Runtime: Send + Sync + 'static {
    /// What base images call it.
    fn name(&self) -> &'static str;

    /// The name of a source that is one file without a name.
    fn single_file(&self) -> &'static str;

    /// Finds its program on this machine, those of ours among the `plugins` too; `Err` names what is missing.
    fn find<'a>(&'a self, plugins: Option<&'a Path>) -> BoxFuture<'a, Result<Interpreter, String>>;

    /// Whether handler and files can belong together; the rest is found out by loading them.
    fn check(&self, source: &[SourceFile], handler: &str) -> Result<(), String> {
        one_file_or_handler(source, handler)
    }

    /// Whether it can bound a call by what it executes.
    fn counts_fuel(&self) -> bool {
        false
    }

    /// Makes the function's files ready to be run and says how a worker is started.
    fn prepare<'a>(&'a self, site: &'a Site<'a>) -> BoxFuture<'a, Result<Plan, StartError>>;

    /// The command that installs what an image's manifest names into `folder`.
    fn install(&self, found: &Interpreter, manifest: &str, folder: &Path) -> Result<Command, InstallError>;
}

/// A program that runs functions.
#[derive(Debug, Clone)]
pub(crate) struct Interpreter {
    pub(crate) path: PathBuf,
    /// For people, and a part of what dependencies are kept under.
    pub(crate) version: String,
    /// More of it, in the runtime's own meaning.
    pub(crate) parts: Vec<PathBuf>,
}

/// A revision's files on disk, and what else a runtime may ask for.
pub(crate) struct Site<'a> {
    pub(crate) found: &'a Interpreter,
    /// The revision's own folder: programs of the runtime go here, beside the source.
    pub(crate) folder: &'a Path,
    /// The function's files.
    pub(crate) source: &'a Path,
    /// The image's installed dependencies.
    pub(crate) dependencies: Option<&'a Path>,
    pub(crate) handler: &'a str,
    /// Name of the function.
    pub(crate) name: &'a str,
    /// What can be made once for all revisions is kept below this folder.
    pub(crate) cache: &'a Path,
    /// Notes of living process groups, for tools.
    pub(crate) notes: &'a Arc<Notes>,
    pub(crate) limits: &'a Limits,
    /// What one worker may use.
    pub(crate) bounds: Bounds,
    /// Calls one worker may get at a time.
    pub(crate) concurrency: usize,
}

/// How the workers of a revision are started.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    /// Beside what every worker gets.
    pub(crate) environment: Vec<(&'static str, OsString)>,
    /// How the engine speaks with them.
    pub(crate) speech: Speech,
    /// Handler as the worker is told it.
    pub(crate) handler: String,
    /// Whether the limit of address space applies: some programs reserve far more than they use.
    pub(crate) bounded_memory: bool,
    /// How long after its deadline a call may go on before the worker is killed: zero, but for workers that stop a call
    /// themselves and live on.
    pub(crate) grace: Duration,
}

impl Plan {
    /// A program that is told its function in frames.
    fn framed(program: &Path, handler: &str) -> Self {
        Self {
            program: program.to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            speech: Speech::Frames,
            handler: handler.to_owned(),
            bounded_memory: false,
            grace: Duration::ZERO,
        }
    }

    fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    fn variable(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((name, value.into()));
        self
    }
}

/// The runtime of that name.
pub(crate) fn named(name: &str) -> Option<&'static dyn Runtime> {
    ALL.into_iter().find(|runtime| runtime.name() == name)
}

/// All names, for messages.
pub(crate) fn names() -> Vec<&'static str> {
    ALL.into_iter().map(Runtime::name).collect()
}

/// That there is no such runtime, and which there are.
pub(crate) fn unknown(name: &str) -> String {
    format!("the language {name:?} is not known: use {}", names().join(", "))
}

/// That calls of this one are bounded by other means, and by which.
pub(crate) fn without_fuel(runtime: &dyn Runtime) -> String {
    let count = ALL.into_iter().filter(|runtime| runtime.counts_fuel());
    format!(
        "limits.fuel: {} counts no fuel ({} does): bound its calls with timeout and limits.cpu",
        runtime.name(),
        count.map(Runtime::name).collect::<Vec<_>>().join(", ")
    )
}

/// The name of a source that is one file without a name.
pub fn single_file(language: &str) -> &'static str {
    named(language).map_or("handler", Runtime::single_file)
}

fn one_file_or_handler(source: &[SourceFile], handler: &str) -> Result<(), String> {
    match (handler, source.len()) {
        ("", files) if files != 1 => Err(format!(
            "Exactly 1 source file needed when HANDLER is empty: there are {files}"
        )),
        _ => Ok(()),
    }
}

/// Writes a program of the engine's own into the revision's folder.
fn put(site: &Site<'_>, name: &str, text: &str) -> Result<PathBuf, StartError> {
    let path = site.folder.join(name);
    let written = std::fs::write(&path, text);
    written.map_err(|e| StartError::Unavailable(format!("cannot write {}: {e}", path.display())))?;
    Ok(path)
}

/// A plan that needs no waiting.
fn ready<'a>(plan: Result<Plan, StartError>) -> BoxFuture<'a, Result<Plan, StartError>> {
    std::future::ready(plan).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_language_is_told_with_the_known_ones() {
        assert!(named("cobol").is_none());
        let text = unknown("cobol");
        for name in names() {
            assert!(text.contains(name), "{text}");
            assert_eq!(named(name).map(Runtime::name), Some(name));
        }
    }
}
