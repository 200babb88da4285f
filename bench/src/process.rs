//! What the measured process uses: memory and processor time, with those of its children beside it.
//!
//! Read from `/proc`, ten times a second. A child that ended takes its processor time to its parent's
//! account only when the parent waited for it, so that of short-lived children is a lower bound.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Linux counts processor time for `/proc` in hundredths of a second on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;
const PAGE_BYTES: u64 = 4096;
const INTERVAL: Duration = Duration::from_millis(100);

/// What a process used during a measurement.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Usage {
    /// The most memory the process itself had.
    rss_peak_bytes: u64,
    /// The most memory all of its descendants had together.
    children_rss_peak_bytes: u64,
    /// Processor seconds of the process itself.
    cpu_seconds: f64,
    /// Processor seconds of its descendants.
    children_cpu_seconds: f64,
}

/// Watches a process.
pub(crate) struct Watch {
    stop: watch::Sender<bool>,
    task: JoinHandle<Usage>,
}

impl Watch {
    /// Begins now.
    pub(crate) fn start(pid: u32) -> Self {
        let (stop, stopped) = watch::channel(false);
        Self {
            stop,
            task: tokio::spawn(observe(pid, stopped)),
        }
    }

    /// Ends, and says.
    pub(crate) async fn finish(self) -> anyhow::Result<Usage> {
        self.stop.send_replace(true);
        Ok(self.task.await?)
    }
}

async fn observe(pid: u32, mut stopped: watch::Receiver<bool>) -> Usage {
    let first = look(pid);
    let mut usage = Usage::default();
    loop {
        let now = look(pid);
        usage.rss_peak_bytes = usage.rss_peak_bytes.max(now.own.rss);
        usage.children_rss_peak_bytes = usage.children_rss_peak_bytes.max(now.children.rss);
        let seconds = |now: u64, first: u64| now.saturating_sub(first) as f64 / TICKS_PER_SECOND;
        usage.cpu_seconds = usage.cpu_seconds.max(seconds(now.own.ticks, first.own.ticks));
        let children = seconds(now.children.ticks, first.children.ticks);
        usage.children_cpu_seconds = usage.children_cpu_seconds.max(children);
        if *stopped.borrow() {
            return usage;
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            // The sender gone means the same as told to stop: one last look.
            changed = stopped.changed() => if changed.is_err() { return usage },
        }
    }
}

#[derive(Default)]
struct Look {
    own: Counts,
    children: Counts,
}

#[derive(Default, Clone, Copy)]
struct Counts {
    parent: u32,
    ticks: u64,
    rss: u64,
}

fn look(pid: u32) -> Look {
    let all: HashMap<u32, Counts> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, counts(&stat)?))
        })
        .collect();
    let mut look = Look {
        own: all.get(&pid).copied().unwrap_or_default(),
        ..Look::default()
    };
    for (&other, counts) in &all {
        if other != pid && descends(other, pid, &all) {
            look.children.ticks += counts.ticks;
            look.children.rss += counts.rss;
        }
    }
    look
}

fn descends(mut pid: u32, from: u32, all: &HashMap<u32, Counts>) -> bool {
    // Longer than any chain of processes: a bound against a table that changed while it was read.
    for _ in 0..64 {
        match all.get(&pid) {
            Some(counts) if counts.parent == from => return true,
            Some(counts) => pid = counts.parent,
            None => return false,
        }
    }
    false
}

/// Fields of `/proc/PID/stat`, proc(5): the parent is the 4th, processor time the 14th and 15th, pages the 24th.
fn counts(stat: &str) -> Option<Counts> {
    // The name, the 2nd, stands in parentheses and may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |n: usize| fields.get(n - 3)?.parse::<u64>().ok();
    Some(Counts {
        parent: u32::try_from(number(4)?).ok()?,
        ticks: number(14)? + number(15)?,
        rss: number(24)? * PAGE_BYTES,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_are_found_behind_any_name() {
        let stat =
            "42 (a) b) S 7 42 42 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 9 0 1 1000 256 18446744073709551615 0";

        let counts = counts(stat).unwrap();

        assert_eq!((counts.parent, counts.ticks, counts.rss), (7, 200, 256 * 4096));
    }

    #[tokio::test]
    async fn this_process_uses_memory() {
        let usage = Watch::start(std::process::id()).finish().await.unwrap();

        assert!(usage.rss_peak_bytes > 100_000, "{usage:?}");
    }
}
