//! How far a hub is in its life: what the probes say of it.

use std::sync::atomic::{AtomicU8, Ordering};

/// A hub's stages, in their order; none is gone back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Not everything is wired yet.
    Starting,
    /// Events are taken.
    Serving,
    /// It is going to stop. Events are still taken; whoever can should go elsewhere.
    Leaving,
}

/// Where a hub is.
#[derive(Debug, Default)]
pub(crate) struct Life(AtomicU8);

impl Life {
    /// The stage.
    pub(crate) fn stage(&self) -> Stage {
        match self.0.load(Ordering::Acquire) {
            0 => Stage::Starting,
            1 => Stage::Serving,
            _ => Stage::Leaving,
        }
    }

    /// Goes on to a stage.
    pub(crate) fn enter(&self, stage: Stage) {
        self.0.fetch_max(stage as u8, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_goes_back_to_an_earlier_stage() {
        let life = Life::default();
        assert_eq!(life.stage(), Stage::Starting);

        life.enter(Stage::Leaving);
        life.enter(Stage::Serving);

        assert_eq!(life.stage(), Stage::Leaving);
    }
}
