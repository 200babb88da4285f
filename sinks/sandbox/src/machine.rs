//! What the kernel of this machine has, as `dispatch-sandbox --probe` found by trying.

use serde::{Deserialize, Serialize};

/// What was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The version of Landlock's rules; 0 without Landlock.
    pub landlock: u32,
    /// Whether filters of system calls are taken.
    pub seccomp: bool,
}

impl Machine {
    /// The first version of Landlock that knows ports.
    pub(crate) const LANDLOCK_PORTS: u32 = 4;
    /// The first that keeps signals in.
    pub(crate) const LANDLOCK_SIGNALS: u32 = 6;
}
