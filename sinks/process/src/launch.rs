//! How a worker process is started: program, arguments, clean environment, limits.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::Pid;
use tokio::process::{Child, Command};

use crate::language::{Interpreter, Language};
use crate::settings::Limits;

/// What all workers of a revision are started with.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) language: Language,
    pub(crate) interpreter: Interpreter,
    /// The worker program.
    pub(crate) program: PathBuf,
    /// The function's files: the workers' current folder.
    pub(crate) source: PathBuf,
    /// The image's installed dependencies.
    pub(crate) dependencies: Option<PathBuf>,
    /// Handler in the language's notation.
    pub(crate) handler: String,
    /// Function and revision, for logs.
    pub(crate) label: String,
    /// Sockets of workers that are about to connect.
    pub(crate) sockets: PathBuf,
    /// Notes of living process groups.
    pub(crate) notes: PathBuf,
    pub(crate) limits: Limits,
}

impl Language {
    /// The worker program: its file name and its text.
    pub(crate) fn worker(self) -> (&'static str, &'static str) {
        match self {
            Self::Python => ("worker.py", include_str!("worker.py")),
            Self::Node => ("worker.js", include_str!("worker.js")),
        }
    }
}

impl Launch {
    /// Starts a worker that will connect to `socket`. It leads a process group of its own.
    pub(crate) fn spawn(&self, socket: &Path) -> std::io::Result<Child> {
        let mut command = Command::new(&self.interpreter.path);
        if self.language == Language::Node {
            command.arg(format!("--max-old-space-size={}", self.limits.node_heap));
        }
        command
            .arg(&self.program)
            .arg(socket)
            .current_dir(&self.source)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.source)
            .env("LANG", "C.UTF-8")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(folder) = &self.dependencies {
            match self.language {
                Language::Python => command.env("PYTHONPATH", folder),
                Language::Node => command.env("NODE_PATH", folder.join("node_modules")),
            };
        }
        command.spawn()
    }

    /// Sets the limits of a worker that has not loaded the function yet.
    #[cfg(target_os = "linux")]
    pub(crate) fn limit(&self, worker: Pid) -> std::io::Result<()> {
        use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
        let set = |resource, value: u64| {
            // Nobody may raise a hard limit.
            let value = getrlimit(resource).maximum.map_or(value, |most| value.min(most));
            let limit = Rlimit {
                current: Some(value),
                maximum: Some(value),
            };
            prlimit(Some(worker), resource, limit).map(drop)
        };
        set(Resource::Core, 0)?;
        set(Resource::Fsize, self.limits.file_size)?;
        set(Resource::Nofile, self.limits.open_files)?;
        if let (Language::Python, Some(bytes)) = (self.language, self.limits.address_space) {
            set(Resource::As, bytes)?;
        }
        Ok(())
    }

    /// Elsewhere another process' limits cannot be set.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn limit(&self, _worker: Pid) -> std::io::Result<()> {
        Ok(())
    }
}
