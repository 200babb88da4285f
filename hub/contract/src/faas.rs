//! The border to engines that run functions: deploy, invoke, remove, and one class of results.
//!
//! An engine (local processes, OpenFaaS, …) knows nothing of runs, subscriptions or HTTP. The hub turns an
//! event or a call into an [`Invocation`] and the [`InvocationResult`] into an outcome and a run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use secrecy::SecretString;
use uuid::Uuid;

/// Runs functions.
pub trait Faas: Send + Sync + 'static {
    /// Which of the given language's runtime this engine finds on the machine.
    fn runtime(&self, language: &str) -> BoxFuture<'_, Runtime>;

    /// Makes a revision of a function ready to be invoked; replaces nothing. Resolves when an invocation
    /// would succeed, or says why none ever will.
    fn deploy(&self, function: FunctionSpec) -> BoxFuture<'_, Result<(), FaasError>>;

    /// Removes a revision: running invocations end first. Removing what is not there is no error.
    fn remove(&self, revision: Uuid) -> BoxFuture<'_, Result<(), FaasError>>;

    /// Folders of dependencies ([`FunctionSpec::dependencies`]) that deployed revisions stand on.
    fn in_use(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Calls a revision once. Dropping the future cancels the call.
    fn invoke(&self, invocation: Invocation) -> BoxFuture<'_, InvocationResult>;
}

/// A language as found on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// `python3`, `nodejs`, `java`, `powershell`, …
    pub language: String,
    /// Whether functions in it can run.
    pub state: RuntimeState,
}

/// Whether functions of a language can run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuntimeState {
    /// Installed and supported; its version for people.
    Ready {
        /// For instance `Python 3.11.2`.
        version: String,
    },
    /// Cannot run, and what is missing.
    Missing {
        /// One line that names the program or the support that is missing.
        reason: String,
    },
}

/// One revision of a function.
#[derive(Debug, Clone)]
pub struct FunctionSpec {
    /// Identity of this revision (`faasId`): new for each change.
    pub revision: Uuid,
    /// Organization it belongs to.
    pub organization: String,
    /// Name of the function, for logs.
    pub name: String,
    /// `python3`, `nodejs`, ….
    pub language: String,
    /// Folder of the image's installed dependencies, if it has any.
    pub dependencies: Option<PathBuf>,
    /// The function's files, checked: relative paths, no links.
    pub source: Vec<SourceFile>,
    /// Handler in the runtime's own notation; empty for its default.
    pub handler: String,
    /// How many instances it has.
    pub scale: Scale,
    /// What it may use.
    pub bounds: Bounds,
}

/// How many instances run a function, and when they go. What is `None` is up to the engine, and so are its own bounds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scale {
    /// Instances that stay although nobody calls.
    pub min: Option<usize>,
    /// Instances at most.
    pub max: Option<usize>,
    /// An instance beyond the minimum goes after having been idle for this long.
    pub idle: Option<Duration>,
    /// Calls one instance takes at a time, where its runtime can.
    pub concurrency: Option<usize>,
}

/// What one worker of a function may use of the machine, with all the processes it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of memory.
    pub memory: u64,
    /// Thousandths of a processor core.
    pub cpu: u32,
    /// Processes and threads.
    pub processes: u32,
    /// Bytes of the largest file it writes.
    pub file_size: u64,
    /// Bytes of its scratch folder.
    pub scratch: u64,
    /// Files and sockets each process has open.
    pub open_files: u64,
    /// Whether it reaches the network.
    pub network: bool,
    /// Units of fuel of one call, where the runtime counts them; no bound of the function's own when absent.
    pub fuel: Option<u64>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            memory: 1 << 30,
            cpu: 2000,
            processes: 128,
            file_size: 256 << 20,
            scratch: 256 << 20,
            open_files: 1024,
            network: false,
            fuel: None,
        }
    }
}

/// A file of a function's source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Relative path below the function's folder.
    pub path: PathBuf,
    /// Content.
    pub content: Bytes,
}

/// One call.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The revision to call.
    pub revision: Uuid,
    /// `payload` of the function message, JSON text.
    pub payload: Bytes,
    /// `context` of the function message without its secrets: a JSON object as text (event, httpContext, deadline, …).
    pub context: Bytes,
    /// `context.secrets`.
    pub secrets: BTreeMap<String, SecretString>,
    /// Time the function has; the engine's own bound when `None`.
    pub timeout: Option<Duration>,
}

/// What a call printed; bounded by the engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logs {
    /// Lines of standard output.
    pub stdout: Vec<String>,
    /// Lines of standard error.
    pub stderr: Vec<String>,
    /// Lines that were dropped because there were too many.
    pub dropped: u64,
}

/// How a call ended.
#[derive(Debug, Clone)]
pub struct InvocationResult {
    /// The payload the function returned (JSON text), or how it failed.
    pub result: Result<Bytes, InvocationError>,
    /// What it printed.
    pub logs: Logs,
}

/// How a call failed, by what the caller does next.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InvocationError {
    /// The function itself failed: its input, its code or its infrastructure.
    #[error("{0}")]
    Function(FunctionError),
    /// It did not answer in time and was killed. Worth trying again.
    #[error("function execution exceeded the timeout")]
    Timeout,
    /// All workers are busy and the queue is full. Worth trying again.
    #[error("the function is busy")]
    Throttled,
    /// The engine or the revision is not there (yet). Worth trying again.
    #[error("the function cannot be reached: {0}")]
    Unavailable(String),
}

/// The error as a function's caller sees it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct FunctionError {
    /// Whose fault.
    pub kind: FunctionErrorKind,
    /// What went wrong.
    pub message: String,
    /// Where, innermost last.
    pub stacktrace: Vec<String>,
}

/// Whose fault a failed call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FunctionErrorKind {
    /// The caller's: trying again cannot help.
    Input,
    /// The function's.
    Function,
    /// The machine's: a worker died, an answer was no JSON.
    System,
}

impl FunctionErrorKind {
    /// `InputError`, `FunctionError` or `SystemError`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Input => "InputError",
            Self::Function => "FunctionError",
            Self::System => "SystemError",
        }
    }
}

/// Why a revision cannot be deployed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FaasError {
    /// The function can never run as it is; the reason is for its author.
    #[error("{0}")]
    Invalid(String),
    /// The engine cannot do it now.
    #[error("the engine is not available: {0}")]
    Unavailable(String),
}
