//! The one place where the command of a worker is made: program, arguments, clean environment, limits.
//!
//! Whatever confines workers goes around [`Launch::command`] and [`Launch::limit`]; runtimes only say what is to run
//! ([`Plan`]), and wires add where the engine is to be found.

use std::path::PathBuf;
use std::process::Stdio;

use rustix::process::Pid;
use tokio::process::Command;

use crate::runtime::Plan;
use crate::settings::Limits;

/// What all workers of a revision are started with.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) plan: Plan,
    /// The function's files: the workers' current folder.
    pub(crate) source: PathBuf,
    /// Name of the function.
    pub(crate) name: String,
    /// Function and revision, for logs.
    pub(crate) label: String,
    /// Sockets of workers that are about to connect.
    pub(crate) sockets: PathBuf,
    /// Notes of living process groups.
    pub(crate) notes: PathBuf,
    pub(crate) limits: Limits,
}

impl Launch {
    /// A worker's command. It leads a process group of its own.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.plan.program);
        command
            .args(&self.plan.arguments)
            .current_dir(&self.source)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.source)
            .env("LANG", "C.UTF-8")
            .envs(self.plan.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        command
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
        if let (true, Some(bytes)) = (self.plan.bounded_memory, self.limits.address_space) {
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
