//! What one worker is contained by, from before it starts until all of it has ended.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use crate::cgroup::{Cgroup, Cgroups};
use crate::policy::Policy;

/// A worker's containment. Dropping it ends everything in it and removes its cgroup and its scratch folder.
#[derive(Debug)]
pub struct Cage {
    executable: PathBuf,
    policy: Policy,
    cgroup: Option<(Arc<Cgroups>, Cgroup)>,
    scratch: Option<PathBuf>,
}

impl Cage {
    pub(crate) fn new(executable: PathBuf, policy: Policy, cgroup: Option<(Arc<Cgroups>, Cgroup)>) -> Self {
        Self {
            executable,
            policy,
            cgroup,
            scratch: None,
        }
    }

    /// A folder on disk for what the worker writes.
    pub(crate) fn make_scratch(&mut self, folder: &Path) -> std::io::Result<()> {
        std::fs::create_dir(folder)?;
        self.scratch = Some(folder.to_owned());
        folder.clone_into(&mut self.policy.scratch.path);
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
        chown(folder, self.policy.user, self.policy.user)
    }

    /// Lets the worker connect to a socket of the engine's.
    pub(crate) fn admit(&mut self, socket: &Path) -> std::io::Result<()> {
        self.policy.sockets.push(socket.to_owned());
        chown(socket, self.policy.user, self.policy.user)
    }

    /// The command that becomes `program` inside, to be completed with its arguments, environment and folder.
    pub fn command(&self, program: &Path) -> std::io::Result<Command> {
        let mut command = Command::new(&self.executable);
        command
            .args(["--policy", &self.policy.to_json()?, "--"])
            .arg(program);
        Ok(command)
    }

    /// Where the worker finds its scratch folder.
    pub fn scratch(&self) -> &Path {
        &self.policy.scratch.path
    }

    /// Ends every process in it, where there is a cgroup; bubblewrap ends what is in its own by itself.
    pub fn kill(&self) {
        if let Some((_, group)) = &self.cgroup {
            group.kill();
        }
    }

    /// How many processes and threads are in it, where there is a cgroup that counts them. Cheaper than
    /// [`processes`](Self::processes).
    pub fn tasks(&self) -> Option<usize> {
        self.cgroup.as_ref().and_then(|(_, group)| group.tasks())
    }

    /// How many processes are in it, where there is a cgroup to count them.
    pub fn processes(&self) -> Option<usize> {
        self.cgroup.as_ref().and_then(|(_, group)| group.processes())
    }

    /// Why the machine ended a process in it, if it did: words for whoever wrote the function.
    pub fn verdict(&self) -> Option<String> {
        self.cgroup.as_ref().and_then(|(_, group)| group.verdict())
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        self.kill();
        if let Some((cgroups, group)) = &self.cgroup {
            cgroups.remove(group);
        }
        if let Some(folder) = &self.scratch
            && let Err(error) = std::fs::remove_dir_all(folder)
        {
            tracing::debug!(folder = %folder.display(), %error, "a scratch folder is left");
        }
    }
}
