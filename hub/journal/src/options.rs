//! What an operator may choose about the journal.

use std::time::Duration;

/// Sizes and bounds of a journal. [`Options::default`] suits one hub on one machine.
#[derive(Debug, Clone)]
pub struct Options {
    /// How large a segment file becomes before the next one is begun.
    pub segment_bytes: u64,
    /// Every group carries the hash of the one before, so that `verify` finds what was altered on purpose.
    pub chain: bool,
    /// Kept free for settlements when the disk is full: events are refused before deliveries must stop.
    pub reserve_bytes: u64,
    /// Whole segments older than this are removed, when nothing in them is owed.
    pub retain_age: Option<Duration>,
    /// The oldest segments are removed while all together hold more than this, when nothing in them is owed.
    pub retain_bytes: Option<u64>,
    /// How many events are remembered to recognise a duplicate; about 30 bytes of memory each.
    pub dedup_window: usize,
    /// How much of the newest records is kept in memory for those who follow the log.
    pub tail_bytes: usize,
    /// The most bytes of groups that wait or are being written.
    pub queue_bytes: usize,
    /// The most groups that wait or are being written.
    pub queue_groups: usize,
    /// How long an append waits for a place in a full queue before it gives up.
    pub queue_wait: Duration,
    /// How long a noted group may wait for an append to share a sync with.
    pub note_delay: Duration,
    /// The largest group that is taken.
    pub max_group_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            chain: false,
            reserve_bytes: 8 << 20,
            retain_age: Some(Duration::from_secs(7 * 24 * 3600)),
            retain_bytes: Some(10 << 30),
            dedup_window: 1_000_000,
            tail_bytes: 4 << 20,
            queue_bytes: 32 << 20,
            queue_groups: 16_384,
            queue_wait: Duration::from_secs(1),
            note_delay: Duration::from_millis(10),
            max_group_bytes: 16 << 20,
        }
    }
}
