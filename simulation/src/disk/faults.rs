//! What may go wrong with a disk that has power.

/// How often each thing fails, in a thousand. All zero: a healthy disk.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// A write stops in the middle.
    pub(crate) writes: u64,
    /// A sync fails; the pages it was for count as clean all the same, as on Linux.
    pub(crate) syncs: u64,
    /// A read fails; it is a passing failure, the third try succeeds.
    pub(crate) reads: u64,
    /// A read gives fewer bytes than asked for.
    pub(crate) short_reads: u64,
    /// Making, renaming or removing a file fails.
    pub(crate) names: u64,
}

/// What of the un-synced is lost when the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Nothing: the process died, the machine did not.
    Nothing,
    /// Everything.
    Everything,
    /// Each page for itself, so many in a thousand; some of them only in part.
    Pages(u64),
}
