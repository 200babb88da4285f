//! The limits as they are now.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Limits;

/// Limits that can change while they are read. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct LiveLimits(Arc<ArcSwap<Limits>>);

impl LiveLimits {
    /// Begins with these.
    pub(crate) fn new(limits: Limits) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(limits)))
    }

    /// What they are now; a request keeps what it began with.
    pub(crate) fn load(&self) -> Arc<Limits> {
        self.0.load_full()
    }

    /// From now on these.
    pub(crate) fn store(&self, limits: Limits) {
        self.0.store(Arc::new(limits));
    }
}
