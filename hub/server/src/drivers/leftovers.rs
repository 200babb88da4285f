//! Driver processes that outlived their hub: found by a mark in their environment, and killed before the same
//! drivers start again.
//!
//! A hub that is killed cannot stop its drivers. Those built on the SDK notice it by themselves; others may go
//! on and would run twice. The mark is the hub's data folder, which only one hub at a time can hold open.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// The variable that marks a driver process with the data folder of its hub.
pub(crate) const MARK: &str = "DISPATCH_SUPERVISOR";

/// Kills all processes with this mark and says how many. Blocks for as long as reading `/proc` takes; a machine
/// without `/proc` has none.
pub(crate) fn kill(supervisor: &str) -> usize {
    let wanted = format!("{MARK}={supervisor}");
    let Ok(processes) = fs::read_dir("/proc") else {
        return 0;
    };
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let own = std::process::id();
    let others = pids.filter(|pid| u32::try_from(*pid) != Ok(own));
    others.filter(|pid| kill_one(*pid, wanted.as_bytes())).count()
}

/// Looks and kills through one handle, so that it is the same process even if its number is given away.
fn kill_one(pid: i32, wanted: &[u8]) -> bool {
    let Some(Ok(handle)) = Pid::from_raw(pid).map(|pid| pidfd_open(pid, PidfdFlags::empty())) else {
        return false;
    };
    let environment = fs::read(Path::new("/proc").join(pid.to_string()).join("environ")).unwrap_or_default();
    let marked = environment
        .split(|byte| *byte == 0)
        .any(|variable| variable == wanted);
    marked && pidfd_send_signal(handle, Signal::KILL).is_ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn only_marked_processes_are_killed() {
        let sleeper = |mark: &str| {
            let mut command = Command::new("sleep");
            let command = command.arg("30").env(MARK, mark).stdin(Stdio::null());
            let child = command.spawn().unwrap();
            // The environment shows a moment after the program has begun.
            let environment = format!("/proc/{}/environ", child.id());
            let start = Instant::now();
            while !fs::read_to_string(&environment).unwrap().contains(mark) {
                assert!(start.elapsed() < Duration::from_secs(10), "no environment");
                std::thread::yield_now();
            }
            child
        };
        let mine = format!("/data/{}", uuid::Uuid::new_v4());
        let (mut left_over, mut other) = (sleeper(&mine), sleeper(&format!("{mine}/other")));

        assert_eq!(kill(&mine), 1);

        assert!(!left_over.wait().unwrap().success());
        assert_eq!(other.try_wait().unwrap(), None);
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
