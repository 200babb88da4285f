//! bubblewrap: a root of its own with nothing in it but what may be read, and namespaces of its own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use dispatch_sink_sandbox::{Network, Policy};
use rustix::process::geteuid;

/// Where this executable stands in the new root.
const SELF: &str = "/.dispatch-sandbox";
/// Who a function is where the hub itself has no privilege to lend.
const NOBODY: &str = "65534";

/// The command that goes on inside, up to the arguments of this executable.
pub(super) fn command(bwrap: &Path, policy: &Policy) -> Result<Command> {
    let own = std::env::current_exe().context("cannot find this executable")?;
    let folder = std::env::current_dir().context("cannot find the current folder")?;
    let mut command = Command::new(bwrap);
    command.args([
        "--die-with-parent",
        "--unshare-pid",
        "--unshare-ipc",
        "--unshare-uts",
    ]);
    command.args(["--unshare-cgroup-try", "--hostname", "function"]);
    if policy.network == Network::None {
        command.arg("--unshare-net");
    }
    match geteuid().is_root() {
        // Enough to open what the policy names and to become somebody else.
        true => command.args([
            "--cap-drop",
            "ALL",
            "--cap-add",
            "CAP_SETUID",
            "--cap-add",
            "CAP_SETGID",
            "--cap-add",
            "CAP_DAC_READ_SEARCH",
        ]),
        false => command.args(["--unshare-user", "--uid", NOBODY, "--gid", NOBODY]),
    };
    let bytes = policy.scratch.bytes.to_string();
    command.args(["--proc", "/proc", "--dev", "/dev"]);
    for path in [Path::new("/dev/shm"), &policy.scratch.path] {
        command
            .args(["--perms", "1777", "--size", &bytes, "--tmpfs"])
            .arg(path);
    }
    let mut read: Vec<&PathBuf> = policy.read.iter().collect();
    // What is above is mounted before what is below.
    read.sort_unstable();
    read.dedup();
    let seen = |path: &Path| {
        policy
            .read
            .iter()
            .any(|other| other != path && path.starts_with(other))
    };
    read.retain(|path| !seen(path));
    for folder in above(read.iter().copied().chain(&policy.sockets), &policy.scratch.path) {
        // Else only root may pass them.
        command.args(["--perms", "0755", "--dir"]).arg(folder);
    }
    for path in read {
        match link(path, &policy.read) {
            Some(target) => command.arg("--symlink").arg(target).arg(path),
            None => command.arg("--ro-bind-try").arg(path).arg(path),
        };
    }
    for socket in &policy.sockets {
        command.arg("--bind").arg(socket).arg(socket);
    }
    command.arg("--ro-bind").arg(own).arg(SELF);
    command.args(["--remount-ro", "/", "--chdir"]).arg(folder);
    command.args(["--", SELF]);
    Ok(command)
}

/// The folders above these paths, from the top, without those that are there already.
fn above<'a>(paths: impl Iterator<Item = &'a PathBuf>, scratch: &Path) -> BTreeSet<&'a Path> {
    let there = |folder: &Path| folder.parent().is_none() || folder == scratch;
    paths
        .flat_map(|path| path.ancestors().skip(1))
        .filter(|folder| !there(folder))
        .collect()
}

/// Where a link points to whose end may be read as well, such as `/bin` where everything is below `/usr`. A link to
/// anywhere else becomes what it points to.
fn link(path: &Path, read: &[PathBuf]) -> Option<PathBuf> {
    let target = std::fs::read_link(path).ok()?;
    let end = std::fs::canonicalize(path).ok()?;
    let seen = read.iter().any(|other| other != path && end.starts_with(other));
    seen.then_some(target)
}
