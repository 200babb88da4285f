//! The one place where the command of a worker is made: program, arguments, clean environment, limits, containment.
//!
//! Runtimes only say what is to run ([`Plan`]), and wires add where the engine is to be found.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use dispatch_contract::Bounds;
use dispatch_sink_sandbox::{Cage, Network};
use rustix::process::Pid;
use tokio::process::Command;

use crate::confinement::Confinement;
use crate::notes::Notes;
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
    pub(crate) notes: Arc<Notes>,
    pub(crate) limits: Limits,
    /// What a contained worker may read beside its program.
    pub(crate) readable: Vec<PathBuf>,
    /// What it may use.
    pub(crate) bounds: Bounds,
    pub(crate) confinement: Confinement,
}

impl Launch {
    /// A worker's command, and what contains it. It leads a process group of its own and meets the engine at `socket` or
    /// at `ports`.
    pub(crate) fn command(
        &self,
        socket: Option<&Path>,
        ports: Option<Network>,
    ) -> std::io::Result<(Command, Option<Cage>)> {
        let cage = self.confinement.cage(self, socket, ports)?;
        let mut command = match &cage {
            Some(cage) => Command::from(cage.command(&self.plan.program)?),
            None => Command::new(&self.plan.program),
        };
        let home = cage.as_ref().map_or(self.source.as_path(), Cage::scratch);
        command
            .args(&self.plan.arguments)
            .current_dir(&self.source)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home)
            .env("LANG", "C.UTF-8")
            .envs(cage.iter().map(|cage| ("TMPDIR", cage.scratch())))
            .envs(self.plan.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        Ok((command, cage))
    }

    /// Sets the limits of a worker that has not loaded the function yet; one that is contained has them already.
    #[cfg(target_os = "linux")]
    pub(crate) fn limit(&self, worker: Pid) -> std::io::Result<()> {
        use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
        if matches!(self.confinement, Confinement::In(_)) {
            return Ok(());
        }
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
