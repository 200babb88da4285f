//! seccomp: the system calls that no function needs and a way out might, refused with an error it can handle.
//!
//! A list of what is refused, not of what is allowed: runtimes and their libraries call new things every year, and one
//! that dies of it helps nobody. What must be kept in is kept in by the other protections as well.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use dispatch_sink_sandbox::{Network, Policy};
use libc::c_long;
use seccompiler::SeccompCmpOp::{Eq, MaskedEq, Ne};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter, sock_filter,
};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Refused whatever the arguments.
const REFUSED: &[c_long] = &[
    // other processes
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    // mounts and namespaces
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    // files by number, past every folder on the way
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    // the kernel
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_fanotify_init,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // the machine
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
];

/// Said not to exist, so that libraries do without: their arguments cannot be looked at.
const ABSENT: &[c_long] = &[
    libc::SYS_clone3,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

/// Kinds of namespaces that `clone` could make.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// `ioctl`s that type into a terminal.
const TYPING: [u64; 2] = [libc::TIOCSTI, libc::TIOCLINUX];

/// Marks calls of the x32 ABI, which would pass every rule.
#[cfg(target_arch = "x86_64")]
const X32: u32 = 0x4000_0000;

/// Applies the filters to this process and all it starts.
pub(super) fn refuse(policy: &Policy) -> Result<()> {
    let filters = [
        (forbidden(policy)?, libc::EPERM),
        (absent(), libc::ENOSYS),
        (unreachable(&policy.network)?, libc::EAFNOSUPPORT),
    ];
    for (rules, error) in filters {
        if !rules.is_empty() {
            apply_filter(&program(rules, error)?).context("cannot apply seccomp")?;
        }
    }
    Ok(())
}

/// Whether the kernel takes filters. Restricts this process.
pub(super) fn probe() -> bool {
    program(absent(), libc::ENOSYS).is_ok_and(|program| apply_filter(&program).is_ok())
}

fn forbidden(policy: &Policy) -> Result<Rules> {
    let mut rules: Rules = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let clone: Result<Vec<_>> = NAMESPACES
        .iter()
        .map(|flag| {
            let flag = u64::from(flag.cast_unsigned());
            rule(&[(0, MaskedEq(flag), flag)])
        })
        .collect();
    rules.insert(libc::SYS_clone, clone?);
    let ioctl: Result<Vec<_>> = TYPING.iter().map(|request| rule(&[(1, Eq, *request)])).collect();
    rules.insert(libc::SYS_ioctl, ioctl?);
    if policy.stay_in_group {
        rules.extend([(libc::SYS_setsid, Vec::new()), (libc::SYS_setpgid, Vec::new())]);
    }
    Ok(rules)
}

fn absent() -> Rules {
    ABSENT.iter().map(|call| (*call, Vec::new())).collect()
}

/// Sockets of families, and where ports are counted of kinds, that are not allowed.
fn unreachable(network: &Network) -> Result<Rules> {
    let family = |allowed: &[i32]| -> Vec<(u8, SeccompCmpOp, u64)> {
        let unlike = |family: &i32| (0, Ne, u64::from(family.cast_unsigned()));
        allowed.iter().map(unlike).collect()
    };
    let internet = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
    let rules = match network {
        Network::None => vec![rule(&family(&[libc::AF_UNIX]))?],
        Network::All => vec![rule(&family(&internet))?],
        Network::Ports { .. } => {
            let local = [libc::AF_UNIX, libc::AF_NETLINK];
            let mut rules = vec![rule(&family(&internet))?];
            for kind in [
                libc::SOCK_DGRAM,
                libc::SOCK_RAW,
                libc::SOCK_RDM,
                libc::SOCK_SEQPACKET,
            ] {
                let mut conditions = family(&local);
                conditions.push((1, MaskedEq(0xf), u64::from(kind.cast_unsigned())));
                rules.push(rule(&conditions)?);
            }
            // A stream that is not TCP is not counted by its port.
            let mut conditions = family(&local);
            conditions.extend([(2, Ne, 0), (2, Ne, u64::from(libc::IPPROTO_TCP.cast_unsigned()))]);
            rules.push(rule(&conditions)?);
            rules
        }
    };
    Ok(Rules::from([(libc::SYS_socket, rules)]))
}

/// A rule that holds when all its conditions do: argument, comparison, value.
fn rule(conditions: &[(u8, SeccompCmpOp, u64)]) -> Result<SeccompRule> {
    let conditions: Result<Vec<_>, _> = conditions
        .iter()
        .map(|(argument, compare, value)| {
            SeccompCondition::new(*argument, SeccompCmpArgLen::Dword, compare.clone(), *value)
        })
        .collect();
    Ok(SeccompRule::new(conditions?)?)
}

fn program(rules: Rules, error: i32) -> Result<BpfProgram> {
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(error.cast_unsigned()),
        std::env::consts::ARCH.try_into()?,
    )?;
    let filter: BpfProgram = filter.try_into()?;
    Ok(without_x32(filter))
}

/// Refuses calls of the x32 ABI before anything else is looked at.
#[cfg(target_arch = "x86_64")]
fn without_x32(filter: BpfProgram) -> BpfProgram {
    let instruction = |code: u32, jt, jf, k| sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let absent = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
    let mut program = vec![
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 1, X32),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, absent),
    ];
    program.extend(filter);
    program
}

#[cfg(not(target_arch = "x86_64"))]
fn without_x32(filter: BpfProgram) -> BpfProgram {
    filter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_has_a_filter_the_kernel_could_take() {
        let ports = Network::Ports {
            listen: vec![1],
            connect: vec![2],
        };
        for network in [Network::None, ports, Network::All] {
            let rules = unreachable(&network).unwrap();
            let program = program(rules, libc::EAFNOSUPPORT).unwrap();
            assert!(program.len() > 4, "{network:?}");
        }
    }
}
