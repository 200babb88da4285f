//! Landlock: the files that are seen, the ports that are reached, and nobody outside to signal.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use dispatch_sink_sandbox::{Network, Policy};
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, RestrictionStatus, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetStatus, Scope, path_beneath_rules,
};

/// The newest rules we know; an older kernel applies those it has.
const NEWEST: ABI = ABI::V9;

/// What a process may know of the machine and of itself. Under bubblewrap all of `/proc` is its own.
const OF_PROC: [&str; 9] = [
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys/kernel",
    "/proc/sys/vm",
    "/proc/version",
];
const DEVICES: [&str; 5] = [
    "/dev/full",
    "/dev/null",
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
];

/// Opens everything the policy names; what is not there is left out.
pub(super) fn ruleset(policy: &Policy) -> Result<RulesetCreated> {
    let read = AccessFs::from_read(NEWEST);
    let write = AccessFs::from_all(NEWEST) & !(AccessFs::MakeChar | AccessFs::MakeBlock);
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?;
    if policy.network != Network::All {
        ruleset = ruleset.handle_access(AccessNet::from_all(ABI::V4))?;
    }
    let mut written = vec![policy.scratch.path.clone()];
    let mut known: Vec<PathBuf> = Vec::new();
    match policy.bubblewrap {
        Some(_) => {
            known.push("/proc".into());
            written.push("/dev/shm".into());
        }
        None => known.extend(OF_PROC.map(PathBuf::from)),
    }
    let mut created = ruleset.create()?;
    created = beneath(created, policy.read.iter().chain(&known), read)?;
    created = beneath(created, written.iter().chain(&policy.sockets), write)?;
    created = beneath(created, DEVICES.map(PathBuf::from).iter(), device)?;
    if let Network::Ports { listen, connect } = &policy.network {
        for port in listen {
            created = created.add_rule(NetPort::new(*port, AccessNet::BindTcp))?;
        }
        for port in connect {
            created = created.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
        }
    }
    Ok(created)
}

fn beneath<'a>(
    ruleset: RulesetCreated,
    paths: impl Iterator<Item = &'a PathBuf>,
    access: impl Into<BitFlags<AccessFs>>,
) -> Result<RulesetCreated> {
    let rules = path_beneath_rules(paths.map(|path| -> &Path { path }), access);
    ruleset.add_rules(rules).context("cannot make Landlock's rules")
}

/// Applies the rules to this process and all it starts.
pub(super) fn restrict(ruleset: RulesetCreated) -> Result<()> {
    let status = ruleset.restrict_self().context("cannot apply Landlock")?;
    ensure!(
        status.ruleset != RulesetStatus::NotEnforced,
        "Landlock is not in force"
    );
    Ok(())
}

/// Which version of Landlock the kernel has; 0 for none. Restricts this process.
pub(super) fn probe() -> u32 {
    let restricted = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(Ruleset::create)
        .and_then(RulesetCreated::restrict_self);
    match restricted {
        Ok(RestrictionStatus {
            landlock: LandlockStatus::Available { effective_abi, .. },
            ..
        }) => effective_abi as u32,
        _ => 0,
    }
}
