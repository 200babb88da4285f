//! What a driver prints: its last lines are kept, all go to the hub's log under the driver's name.
//!
//! Bounded in every direction: the length of a line, the lines kept, the lines logged in a second.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::Instant;

/// Lines kept.
const KEPT: usize = 50;
/// Longest line kept, in bytes; the rest of it is dropped.
const LONGEST: usize = 2048;
/// Lines of one driver that go to the log in a second; the rest is counted.
const LOGGED_PER_SECOND: u32 = 50;

/// The last lines of a driver. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<VecDeque<String>>>);

impl Lines {
    /// The last `count` lines, oldest first.
    pub(crate) fn last(&self, count: usize) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines
            .iter()
            .skip(lines.len().saturating_sub(count))
            .cloned()
            .collect()
    }

    fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// Reads lines until the other side closes; `log` gets those that are not too many.
    pub(crate) async fn read(self, mut from: impl AsyncRead + Unpin, log: impl Fn(&str)) {
        let mut chunk = [0; 4096];
        let mut line: Vec<u8> = Vec::new();
        let mut pace = Pace::new(Instant::now());
        let end_line = |line: &mut Vec<u8>, pace: &mut Pace| {
            let text = String::from_utf8_lossy(line);
            let text: String = text
                .trim_end()
                .chars()
                .filter(|c| !c.is_control() || *c == '\t')
                .collect();
            line.clear();
            if text.is_empty() {
                return;
            }
            match pace.allows(Instant::now()) {
                Allowed::Yes => log(&text),
                Allowed::YesAfter(dropped) => {
                    log(&format!("({dropped} lines left out)"));
                    log(&text);
                }
                Allowed::No => {}
            }
            self.push(text);
        };
        // A read error is a pipe that is gone: the end, like closing it.
        while let Ok(count @ 1..) = from.read(&mut chunk).await {
            for byte in &chunk[..count] {
                match byte {
                    b'\n' => end_line(&mut line, &mut pace),
                    byte if line.len() < LONGEST => line.push(*byte),
                    _ => {}
                }
            }
        }
        end_line(&mut line, &mut pace);
    }
}

/// Whether a line goes to the log.
enum Allowed {
    Yes,
    YesAfter(u32),
    No,
}

struct Pace {
    since: Instant,
    lines: u32,
    dropped: u32,
}

impl Pace {
    fn new(since: Instant) -> Self {
        Self {
            since,
            lines: 0,
            dropped: 0,
        }
    }
    fn allows(&mut self, now: Instant) -> Allowed {
        if now.duration_since(self.since) >= Duration::from_secs(1) {
            let dropped = self.dropped;
            *self = Self {
                lines: 1,
                ..Self::new(now)
            };
            return match dropped {
                0 => Allowed::Yes,
                dropped => Allowed::YesAfter(dropped),
            };
        }
        if self.lines < LOGGED_PER_SECOND {
            self.lines += 1;
            return Allowed::Yes;
        }
        self.dropped = self.dropped.saturating_add(1);
        Allowed::No
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn the_last_lines_are_kept_and_a_flood_is_not_logged() {
        let flood: String = (0..1000).map(|n| format!("line {n}\n")).collect();
        let lines = Lines::default();
        let logged = Cell::new(0);

        lines
            .clone()
            .read(flood.as_bytes(), |_| logged.set(logged.get() + 1))
            .await;

        assert_eq!(lines.last(2), ["line 998", "line 999"]);
        assert_eq!(lines.last(usize::MAX).len(), KEPT);
        assert!(logged.get() <= LOGGED_PER_SECOND * 2 + 2, "{}", logged.get());
    }

    #[tokio::test]
    async fn a_line_without_end_is_cut_and_control_characters_are_dropped() {
        let lines = Lines::default();
        let endless = "x".repeat(100_000);

        lines.clone().read(endless.as_bytes(), |_| {}).await;
        lines.clone().read(&b"\x1b[31mred\r\n\n\xff"[..], |_| {}).await;

        assert_eq!(lines.last(3), [&"x".repeat(LONGEST), "[31mred", "\u{fffd}"]);
    }
}
