//! How many calls of each organization have somebody waiting for them just now.
//!
//! They pass by the router, so what bounds an organization's deliveries (`in-flight` of its quota) is held to here: as
//! many calls again, and one more is told 429. Those of all together are bounded by `limits.api-calls`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Calls by organization; only those that have any.
#[derive(Debug, Clone, Default)]
pub(super) struct UnderWay(Arc<Mutex<HashMap<Arc<str>, usize>>>);

/// One call; it has ended when this is dropped.
#[derive(Debug)]
pub(super) struct Call {
    of: UnderWay,
    organization: Arc<str>,
}

impl UnderWay {
    /// One more call, unless there are so many already.
    pub(super) fn begin(&self, organization: &Arc<str>, most: Option<u64>) -> Option<Call> {
        let mut counts = self.counts();
        let count = counts.entry(organization.clone()).or_default();
        if most.is_some_and(|most| *count as u64 >= most) {
            return None;
        }
        *count += 1;
        Some(Call {
            of: self.clone(),
            organization: organization.clone(),
        })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Arc<str>, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut counts = self.of.counts();
        if let Some(count) = counts.get_mut(&self.organization) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.organization);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_organization_has_as_many_calls_as_it_may_and_takes_none_from_others() {
        let calls = UnderWay::default();
        let (ours, theirs): (Arc<str>, Arc<str>) = ("ours".into(), "theirs".into());

        let first = calls.begin(&ours, Some(2)).unwrap();
        let second = calls.begin(&ours, Some(2)).unwrap();

        assert!(calls.begin(&ours, Some(2)).is_none());
        assert!(calls.begin(&theirs, Some(1)).is_some());
        assert!(
            calls.begin(&ours, None).is_some(),
            "a quota that went bounds nothing"
        );
        drop(first);
        assert!(calls.begin(&ours, Some(2)).is_some());
        drop(second);
        assert!(calls.counts().is_empty(), "who calls no more takes no room");
    }
}
