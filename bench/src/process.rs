//! What measured processes use: memory, processor time and switches, with those of their children beside it.
//!
//! Read from `/proc` by a thread of its own, four times a second and only for these processes: watching must not be
//! what is measured. A child or a thread that ended before the last look takes its counts along, so that
//! short-lived ones are a lower bound.

use std::collections::HashMap;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde::Serialize;
use serde_json::{Value, json};

/// Linux counts processor time for `/proc` in hundredths of a second on every architecture.
const TICK_MICROS: u64 = 10_000;
const PAGE_BYTES: u64 = 4096;
const INTERVAL: Duration = Duration::from_millis(250);

/// What processes used during a measurement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Usage {
    /// The most memory they had.
    rss_peak_bytes: u64,
    /// Processor time in programs.
    user_micros: u64,
    /// Processor time in the kernel for them.
    system_micros: u64,
    /// Times a thread waited.
    voluntary_switches: u64,
    /// Times a thread had to make room for another.
    involuntary_switches: u64,
}

impl Usage {
    /// With processor time and switches for each of so many events.
    pub(crate) fn figures(&self, events: usize) -> Value {
        let each = |count: u64| (count as f64 / events.max(1) as f64 * 100.0).round() / 100.0;
        json!({
            "rss_peak_bytes": self.rss_peak_bytes,
            "cpu_micros_per_event": {
                "user": each(self.user_micros),
                "system": each(self.system_micros),
                "total": each(self.user_micros + self.system_micros),
            },
            "switches_per_event": {
                "voluntary": each(self.voluntary_switches),
                "involuntary": each(self.involuntary_switches),
            },
        })
    }

    /// Events a second of processor time, that of the children counted in; nothing when there was too little to count.
    pub(crate) fn per_core_second(&self, children: Self, events: usize) -> Option<f64> {
        let all = self.plus(children);
        let micros = all.user_micros + all.system_micros;
        (micros > 0).then(|| (events as f64 * 1e6 / micros as f64).round())
    }

    fn plus(self, other: Self) -> Self {
        Self {
            rss_peak_bytes: self.rss_peak_bytes + other.rss_peak_bytes,
            user_micros: self.user_micros + other.user_micros,
            system_micros: self.system_micros + other.system_micros,
            voluntary_switches: self.voluntary_switches + other.voluntary_switches,
            involuntary_switches: self.involuntary_switches + other.involuntary_switches,
        }
    }

    /// What came since `first`; the memory of now.
    fn since(self, first: Self) -> Self {
        Self {
            rss_peak_bytes: self.rss_peak_bytes,
            user_micros: self.user_micros.saturating_sub(first.user_micros),
            system_micros: self.system_micros.saturating_sub(first.system_micros),
            voluntary_switches: self.voluntary_switches.saturating_sub(first.voluntary_switches),
            involuntary_switches: self
                .involuntary_switches
                .saturating_sub(first.involuntary_switches),
        }
    }

    /// The most of everything.
    fn most(self, other: Self) -> Self {
        Self {
            rss_peak_bytes: self.rss_peak_bytes.max(other.rss_peak_bytes),
            user_micros: self.user_micros.max(other.user_micros),
            system_micros: self.system_micros.max(other.system_micros),
            voluntary_switches: self.voluntary_switches.max(other.voluntary_switches),
            involuntary_switches: self.involuntary_switches.max(other.involuntary_switches),
        }
    }
}

/// Watches processes.
pub(crate) struct Watch {
    stop: Sender<()>,
    thread: JoinHandle<(Usage, Usage)>,
}

impl Watch {
    /// Begins now.
    pub(crate) fn start(pids: Vec<u32>) -> anyhow::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let first = look(&pids);
        let thread = std::thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || {
                let (mut own, mut children) = (Usage::default(), Usage::default());
                loop {
                    let ended = stopped.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout);
                    let now = look(&pids);
                    own = own.most(now.0.since(first.0));
                    children = children.most(now.1.since(first.1));
                    if ended {
                        return (own, children);
                    }
                }
            });
        Ok(Self {
            stop,
            thread: thread.context("no thread to watch with")?,
        })
    }

    /// Ends, and says: the processes themselves, and their descendants.
    pub(crate) fn finish(self) -> anyhow::Result<(Usage, Usage)> {
        drop(self.stop);
        self.thread.join().map_err(|_| anyhow!("the watch failed"))
    }
}

/// The processes together, and their descendants together.
fn look(pids: &[u32]) -> (Usage, Usage) {
    let parents = parents();
    let sum =
        |pids: &mut dyn Iterator<Item = u32>| pids.filter_map(usage).fold(Usage::default(), Usage::plus);
    let descends = |pid: u32| !pids.contains(&pid) && descends(pid, pids, &parents);
    (
        sum(&mut pids.iter().copied()),
        sum(&mut parents.keys().copied().filter(|&pid| descends(pid))),
    )
}

/// The parent of each process there is.
fn parents() -> HashMap<u32, u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten();
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some((pid, field(&stat, 4)?.try_into().ok()?))
    })
    .collect()
}

fn descends(mut pid: u32, from: &[u32], parents: &HashMap<u32, u32>) -> bool {
    // Longer than any chain of processes: a bound against a table that changed while it was read.
    for _ in 0..64 {
        match parents.get(&pid) {
            Some(parent) if from.contains(parent) => return true,
            Some(&parent) => pid = parent,
            None => return false,
        }
    }
    false
}

fn usage(pid: u32) -> Option<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut usage = Usage {
        rss_peak_bytes: field(&stat, 24)? * PAGE_BYTES,
        user_micros: field(&stat, 14)? * TICK_MICROS,
        system_micros: field(&stat, 15)? * TICK_MICROS,
        ..Usage::default()
    };
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
        usage.voluntary_switches += switches(&status, "voluntary_ctxt_switches:");
        usage.involuntary_switches += switches(&status, "nonvoluntary_ctxt_switches:");
    }
    Some(usage)
}

fn switches(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

/// A field of `/proc/PID/stat`, proc(5): the parent is the 4th, processor time the 14th and 15th, pages the 24th.
fn field(stat: &str, n: usize) -> Option<u64> {
    // The name, the 2nd, stands in parentheses and may hold anything.
    let behind = stat.rsplit_once(')')?.1;
    behind.split_whitespace().nth(n - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_are_found_behind_any_name() {
        let stat =
            "42 (a) b) S 7 42 42 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 9 0 1 1000 256 18446744073709551615 0";
        let found = [4, 14, 15, 24].map(|n| field(stat, n));
        assert_eq!(found, [Some(7), Some(150), Some(50), Some(256)]);
        let status = "voluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t3\n";
        assert_eq!(switches(status, "voluntary_ctxt_switches:"), 12);
        assert_eq!(switches(status, "nonvoluntary_ctxt_switches:"), 3);
    }

    #[test]
    fn this_process_uses_memory_and_what_it_starts_is_its_child() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let watch = Watch::start(vec![std::process::id()]).unwrap();

        let (own, children) = watch.finish().unwrap();

        child.kill().unwrap();
        child.wait().unwrap();
        assert!(own.rss_peak_bytes > 100_000, "{own:?}");
        assert!(children.rss_peak_bytes > 1_000, "{children:?}");
    }
}
