//! The journal's metrics. Made when the journal is opened: install a recorder before.

use metrics::{Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram};
use metrics::{Unit, gauge, histogram};

pub(crate) struct Meters {
    pub(crate) fsync: Histogram,
    pub(crate) batch: Histogram,
    pub(crate) failed: Counter,
    pub(crate) damaged: Counter,
    pub(crate) dropped: Counter,
    pub(crate) bytes: Gauge,
    pub(crate) segments: Gauge,
    pub(crate) first: Gauge,
    pub(crate) last: Gauge,
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meters")
    }
}

impl Meters {
    pub(crate) fn new() -> Self {
        describe_histogram!(
            "dispatch_journal_fsync_seconds",
            Unit::Seconds,
            "how long the disk took to make a batch durable"
        );
        describe_histogram!(
            "dispatch_journal_batch_groups",
            Unit::Count,
            "groups that shared one sync"
        );
        describe_counter!(
            "dispatch_journal_failed_batches_total",
            "batches the disk did not take"
        );
        describe_counter!(
            "dispatch_journal_damaged_records_total",
            "records found to be unreadable"
        );
        describe_counter!(
            "dispatch_journal_dropped_records_total",
            "records removed by retention"
        );
        describe_gauge!("dispatch_journal_bytes", Unit::Bytes, "size of all segments");
        describe_gauge!("dispatch_journal_segments", "number of segments");
        describe_gauge!("dispatch_journal_first_sequence", "oldest record that is kept");
        describe_gauge!("dispatch_journal_last_sequence", "newest durable record");
        Self {
            fsync: histogram!("dispatch_journal_fsync_seconds"),
            batch: histogram!("dispatch_journal_batch_groups"),
            failed: counter!("dispatch_journal_failed_batches_total"),
            damaged: counter!("dispatch_journal_damaged_records_total"),
            dropped: counter!("dispatch_journal_dropped_records_total"),
            bytes: gauge!("dispatch_journal_bytes"),
            segments: gauge!("dispatch_journal_segments"),
            first: gauge!("dispatch_journal_first_sequence"),
            last: gauge!("dispatch_journal_last_sequence"),
        }
    }
}
