//! Runs as people list them: those in memory and those of the read model, as one.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use dispatch_schemas::Run;
use dispatch_store::{RunCursor, RunQuery, StoreError};
use tokio::time::timeout;
use uuid::Uuid;

use super::Functions;
use crate::rest::error::ApiError;

/// How long who asks right after a start waits for the runs that ended before it.
const PATIENCE: Duration = Duration::from_secs(5);
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Part of a list of runs.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    /// Newest first.
    pub(crate) runs: Vec<Arc<Run>>,
    /// There may be more after the last one.
    pub(crate) more: bool,
}

impl Functions {
    /// Runs, newest first: those under way and those that ended.
    pub(crate) async fn runs(&self, organization: &str, mut query: RunQuery) -> Result<Listed, ApiError> {
        self.history().await?;
        let mut runs = self.0.ongoing.list(organization, query.function.as_deref());
        // What is known here is newer than what the read model says of it.
        query.except = runs.iter().map(|run| run.name).collect();
        let limit = query.limit.map_or(usize::MAX, |limit| limit as usize);
        let asked = RunQuery {
            except: Default::default(),
            ..query.clone()
        };
        runs.retain(|run| asked.wants(run));
        let kept = self.0.store.runs(organization, query).await?;
        if let (true, Some(last)) = (kept.cut, kept.runs.last()) {
            let last = RunCursor::of(last);
            runs.retain(|run| RunCursor::of(run) > last);
        }
        runs.extend(kept.runs.into_iter().map(Arc::new));
        runs.sort_by_key(|run| Reverse(RunCursor::of(run)));
        let more = kept.cut || runs.len() > limit;
        runs.truncate(limit);
        Ok(Listed { runs, more })
    }

    /// One run.
    pub(crate) async fn run(&self, organization: &str, name: Uuid) -> Result<Arc<Run>, ApiError> {
        if let Some(run) = self.0.ongoing.get(organization, name) {
            return Ok(run);
        }
        match self.0.store.run(organization, name).await {
            Ok(run) => return Ok(Arc::new(run)),
            Err(StoreError::NotFound { .. }) if !self.0.caught_up.is_cancelled() => self.history().await?,
            Err(error) => return Err(error.into()),
        }
        Ok(Arc::new(self.0.store.run(organization, name).await?))
    }

    /// To be called once when the read model knows every run that ended before the hub started.
    pub(crate) fn caught_up(&self) {
        self.0.caught_up.cancel();
    }

    /// Waits until every run that ended before the hub started can be read. What ended since is in memory meanwhile.
    async fn history(&self) -> Result<(), ApiError> {
        let caught_up = timeout(PATIENCE, self.0.caught_up.cancelled()).await;
        caught_up.map_err(|_| {
            ApiError::unavailable("the runs of before the start are still being read", ASK_AGAIN)
        })
    }
}
