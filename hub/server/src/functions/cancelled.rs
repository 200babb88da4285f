//! Cancelling a run: the call under way ends at once; one that has not begun, or waits for its next attempt, never
//! is made.
//!
//! What is cancelled before it begins is kept in the store until the journal tells of its end, so that a crash in
//! between does not run it after all. A cancelled delivery is settled: it is not tried again and is no dead letter.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use dispatch_contract::Logs;
use dispatch_schemas::Run;
use dispatch_store::{RunRow, StoreError};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Functions, run};
use crate::rest::error::ApiError;

/// How long a cancelled call may take to end.
const PATIENCE: Duration = Duration::from_secs(5);
/// After this a cancelled run that never was reached is forgotten: its function is gone.
const KEPT_DAYS: i64 = 90;

/// Runs that were cancelled, and those that can be.
#[derive(Debug, Default)]
pub(super) struct Cancelled {
    state: Mutex<State>,
    /// How many were asked for: nearly always none.
    asked: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    asked: HashSet<Uuid>,
    under_way: HashMap<Uuid, CancellationToken>,
}

/// An attempt that can be cancelled, for as long as it lasts.
pub(super) struct UnderWay<'a> {
    all: &'a Cancelled,
    name: Uuid,
    token: CancellationToken,
}

impl UnderWay<'_> {
    /// Resolves when the run is cancelled.
    pub(super) async fn cancelled(&self) {
        self.token.cancelled().await;
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.all.state().under_way.remove(&self.name);
    }
}

impl Cancelled {
    /// An attempt of the run begins.
    pub(super) fn under_way(&self, name: Uuid) -> UnderWay<'_> {
        let token = CancellationToken::new();
        let mut state = self.state();
        if state.asked.contains(&name) {
            token.cancel();
        }
        state.under_way.insert(name, token.clone());
        UnderWay {
            all: self,
            name,
            token,
        }
    }

    /// Whether somebody cancelled the run.
    pub(super) fn is_asked(&self, name: Uuid) -> bool {
        self.asked.load(Ordering::Relaxed) > 0 && self.state().asked.contains(&name)
    }

    /// Cancels a run; whether an attempt of it is under way.
    fn ask(&self, name: Uuid) -> bool {
        let mut state = self.state();
        state.asked.insert(name);
        self.asked.store(state.asked.len(), Ordering::Relaxed);
        let under_way = state.under_way.get(&name);
        under_way.map(CancellationToken::cancel).is_some()
    }

    fn forget(&self, names: &[Uuid]) {
        let mut state = self.state();
        for name in names {
            state.asked.remove(name);
        }
        self.asked.store(state.asked.len(), Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Functions {
    /// Ends a run that has not ended, and says how it is then.
    pub(crate) async fn cancel(&self, organization: &Arc<str>, name: Uuid) -> Result<Arc<Run>, ApiError> {
        let inner = &self.0;
        let run = self.run(organization, name).await?;
        if run.is_finished() {
            return Err(ApiError::conflict(format!("run {name} has ended")));
        }
        inner.store.cancel_run(name, Utc::now().timestamp()).await?;
        if inner.cancelled.ask(name) {
            let ended = async {
                loop {
                    let run = self.run(organization, name).await?;
                    if run.is_finished() {
                        return Ok(run);
                    }
                    sleep(Duration::from_millis(5)).await;
                }
            };
            return match timeout(PATIENCE, ended).await {
                Ok(ended) => ended,
                Err(_) => Ok(self.run(organization, name).await?),
            };
        }
        let ended = run::ended(&run, &Err(run::cancelled()), Logs::default(), Utc::now());
        let row = RunRow {
            organization: organization.to_string(),
            run: ended.clone(),
        };
        let ended = Arc::new(ended);
        inner.ongoing.ended(organization, Arc::clone(&ended));
        inner.live.run(Arc::clone(organization), Arc::clone(&ended));
        inner.store.record_run(row).await?;
        Ok(ended)
    }

    /// Takes up what was cancelled before a crash. To be called before the router starts.
    pub(super) async fn recover_cancelled(&self) -> Result<(), StoreError> {
        let since = Utc::now() - TimeDelta::days(KEPT_DAYS);
        for name in self.0.store.cancelled_runs(since.timestamp()).await? {
            self.0.cancelled.ask(name);
        }
        Ok(())
    }

    /// The ends of these runs are in the journal, and the read model has them.
    pub(crate) async fn told(&self, runs: impl Iterator<Item = Uuid> + Clone) -> Result<(), StoreError> {
        self.0.ongoing.told(runs.clone());
        let told: Vec<Uuid> = runs.filter(|name| self.0.cancelled.is_asked(*name)).collect();
        if told.is_empty() {
            return Ok(());
        }
        self.0.store.forget_cancelled(told.clone()).await?;
        self.0.cancelled.forget(&told);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn what_is_cancelled_ends_now_or_as_soon_as_it_begins() {
        let cancelled = Cancelled::default();
        let (now, later) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let attempt = cancelled.under_way(now);
        assert!(attempt.cancelled().now_or_never().is_none());

        assert!(cancelled.ask(now) && !cancelled.ask(later));

        assert!(attempt.cancelled().now_or_never().is_some());
        assert!(cancelled.under_way(later).cancelled().now_or_never().is_some());
        assert!(cancelled.is_asked(later) && cancelled.state().under_way.len() == 1);
        cancelled.forget(&[now, later]);
        assert!(!cancelled.is_asked(now) && cancelled.under_way(later).cancelled().now_or_never().is_none());
    }
}
