//! What happened, in order: for whoever reads a failure, and as one number that tells whether two runs were the same.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::SimClock;

/// Lines that are kept for reading; all count for the number.
const KEPT: usize = 3000;

/// The story of one run. Clones write the same story.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    clock: SimClock,
    story: Arc<Mutex<Story>>,
}

#[derive(Debug)]
struct Story {
    lines: VecDeque<String>,
    left_out: usize,
    number: u64,
}

impl Trace {
    /// An empty story told by this clock.
    pub(crate) fn new(clock: SimClock) -> Self {
        let story = Story {
            lines: VecDeque::new(),
            left_out: 0,
            number: 0xcbf2_9ce4_8422_2325,
        };
        Self {
            clock,
            story: Arc::new(Mutex::new(story)),
        }
    }

    /// Since the world began.
    pub(crate) fn now(&self) -> Duration {
        self.clock.now()
    }

    /// Adds a line.
    pub(crate) fn say(&self, what: fmt::Arguments<'_>) {
        let line = format!("{:>10.3} {what}", self.clock.now().as_secs_f64());
        let mut story = self.story.lock().unwrap_or_else(PoisonError::into_inner);
        for byte in line.bytes() {
            story.number = (story.number ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if story.lines.len() >= KEPT {
            story.lines.pop_front();
            story.left_out += 1;
        }
        story.lines.push_back(line);
    }

    /// The same for two runs that went the same way.
    pub(crate) fn number(&self) -> u64 {
        self.story.lock().unwrap_or_else(PoisonError::into_inner).number
    }

    /// The last lines, and how many came before them.
    pub(crate) fn tail(&self, most: usize) -> (usize, Vec<String>) {
        let story = self.story.lock().unwrap_or_else(PoisonError::into_inner);
        let skipped = story.lines.len().saturating_sub(most);
        let lines = story.lines.iter().skip(skipped).cloned().collect();
        (story.left_out + skipped, lines)
    }
}
