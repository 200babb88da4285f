//! The executable's side: from an ordinary process to a contained one, in steps that cannot be taken back.
//!
//! The order matters: cgroups are joined while their files can be seen, bubblewrap is gone through while mounts are
//! allowed, paths are opened while they can be, the user changes while that is allowed, and system calls are refused
//! last. Everything happens on the one thread there is.

mod bubblewrap;
mod paths;
mod resources;
mod syscalls;
mod user;

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use dispatch_sink_sandbox::{Machine, Policy};

const USAGE: &str =
    "usage: dispatch-sandbox --policy JSON -- PROGRAM ARGUMENTS…, or dispatch-sandbox --probe";

/// What the command line asks for.
struct Asked {
    policy: String,
    /// Bubblewrap has been gone through.
    inside: bool,
    program: OsString,
    arguments: Vec<OsString>,
}

/// Becomes the program; comes back only after a probe, or with why it did not.
pub(crate) fn run(arguments: Vec<OsString>) -> Result<()> {
    if arguments.iter().eq(["--probe"]) {
        let machine = Machine {
            landlock: paths::probe(),
            seccomp: syscalls::probe(),
        };
        writeln!(std::io::stdout(), "{}", serde_json::to_string(&machine)?)?;
        return Ok(());
    }
    let asked = parse(arguments)?;
    let policy = Policy::from_json(&asked.policy).map_err(anyhow::Error::msg)?;
    if !asked.inside {
        for cgroup in &policy.cgroups {
            // 0 is whoever writes it.
            let joined = std::fs::write(cgroup.join("cgroup.procs"), "0");
            joined.with_context(|| format!("cannot join the cgroup {}", cgroup.display()))?;
        }
        if let Some(bwrap) = &policy.bubblewrap {
            let mut command = bubblewrap::command(bwrap, &policy)?;
            command
                .args(["--policy", &asked.policy, "--inside", "--"])
                .arg(asked.program)
                .args(asked.arguments);
            return Err(command.exec()).with_context(|| format!("cannot run {}", bwrap.display()));
        }
    }
    resources::limit(&policy.resources)?;
    let paths = policy.landlock.then(|| paths::ruleset(&policy)).transpose()?;
    if let Some(user) = policy.user {
        user::become_user(user, policy.search).with_context(|| format!("cannot become the user {user}"))?;
    }
    if let Some(paths) = paths {
        paths::restrict(paths)?;
    }
    if policy.seccomp {
        syscalls::refuse(&policy)?;
    }
    let error = Command::new(&asked.program).args(asked.arguments).exec();
    Err(error).with_context(|| format!("cannot run {}", asked.program.display()))
}

fn parse(arguments: Vec<OsString>) -> Result<Asked> {
    let mut arguments = arguments.into_iter();
    let (mut policy, mut inside) = (None, false);
    loop {
        match arguments.next() {
            Some(word) if word == "--policy" => policy = arguments.next(),
            Some(word) if word == "--inside" => inside = true,
            Some(word) if word == "--" => break,
            Some(word) => bail!("{word:?} is not understood; {USAGE}"),
            None => bail!(USAGE),
        }
    }
    let policy = policy.and_then(|p| p.into_string().ok()).context(USAGE)?;
    Ok(Asked {
        policy,
        inside,
        program: arguments.next().context(USAGE)?,
        arguments: arguments.collect(),
    })
}
