//! Read models: what people list, fed from the log by a cursor of its own, droppable and rebuildable.
//!
//! One task follows the log, gathers what a stretch of it brings ([`gather`]), and writes that with the cursor
//! in one transaction. A crash repeats a stretch; the store sees by the cursor that it was applied. What the
//! log may forget (retention) is bounded by this cursor and by what the router still owes.

mod gather;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use dispatch_contract::{Page, Sequence, Tail};
use dispatch_store::{Projection, RunRow, Store, StoreError};
use futures_util::stream::{self, BoxStream, StreamExt as _};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use uuid::Uuid;

use crate::hub::App;
use crate::metrics;
use gather::Gathered;

/// Name of the cursor.
const CURSOR: &str = "views";
/// How long rows wait for others to share a transaction with.
const GATHER_FOR: Duration = Duration::from_millis(20);
/// Rows of one transaction.
const GATHER_ROWS: usize = 512;
/// How often the cursor moves although nobody waits for a row, and the log hears what it may forget.
const IDLE: Duration = Duration::from_secs(1);
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How long the last stretch may take when the hub stops; the next start goes on from the cursor.
const LAST_WRITE: Duration = Duration::from_millis(500);

/// Where to begin: behind what is already in the read models, which are dropped if they know more than the log.
pub(crate) async fn cursor(store: &Store, head: Sequence) -> Result<Sequence, StoreError> {
    let cursor = store.cursor(CURSOR).await?;
    if cursor <= head {
        return Ok(cursor);
    }
    tracing::warn!(
        cursor,
        head,
        "the read models are ahead of the journal; they are fed again"
    );
    store.reset_read_models().await?;
    Ok(0)
}

/// Follows the log until it is closed. `head` is what it held when the hub started.
pub(crate) async fn run(app: App, cursor: Sequence, head: Sequence) {
    let mut follower = Follower {
        pages: pages(app.log.tail(cursor + 1)),
        gathered: Gathered::default(),
        seen: cursor,
        written: cursor,
        owed: Some(head),
        app,
    };
    follower.caught_up();
    while follower.step().await {}
    if timeout(LAST_WRITE, follower.write()).await.is_err() {
        tracing::debug!("the read models are left to the next start");
    }
}

struct Follower {
    app: App,
    pages: BoxStream<'static, Arc<Page>>,
    gathered: Gathered,
    /// The last sequence looked at.
    seen: Sequence,
    /// The last sequence written with its rows.
    written: Sequence,
    /// Until what the log held at the start is written: its last sequence. Somebody may wait for it.
    owed: Option<Sequence>,
}

impl Follower {
    /// Gathers one stretch and writes it. False when the log is closed.
    async fn step(&mut self) -> bool {
        let idle = Instant::now() + IDLE;
        let mut until = idle;
        let mut open = true;
        while self.gathered.rows() < GATHER_ROWS {
            tokio::select! {
                page = self.pages.next() => match page {
                    Some(page) => {
                        self.gathered.add(&self.app, &page).await;
                        self.seen = page.next.saturating_sub(1).max(self.seen);
                    }
                    None => {
                        open = false;
                        break;
                    }
                },
                () = sleep_until(until) => break,
            }
            if self.owed.is_some_and(|head| self.seen >= head) {
                break;
            }
            if self.gathered.is_awaited() {
                until = until.min(Instant::now() + GATHER_FOR);
            }
        }
        if open {
            self.write().await;
        }
        let floor = self.app.router.floor().min(self.written);
        self.app.journal.set_floor(floor);
        open
    }

    /// Says so once what the log held at the start is written.
    fn caught_up(&mut self) {
        if self.owed.take_if(|head| self.written >= *head).is_some() {
            self.app.functions.caught_up();
        }
    }

    /// Writes what was gathered, however often it takes.
    async fn write(&mut self) {
        if self.seen == self.written {
            return;
        }
        let mut wait = FIRST_WAIT;
        let mut projection = Projection {
            cursor_name: CURSOR.to_owned(),
            cursor: self.seen,
            ..std::mem::take(&mut self.gathered).into_projection()
        };
        let runs: Vec<Uuid> = projection.runs.iter().map(|row| row.run.name).collect();
        projection.runs.retain(|row| is_kept(&self.app, row));
        let projection = Arc::new(projection);
        loop {
            match self.app.store.apply(Arc::clone(&projection)).await {
                Ok(applied) => {
                    metrics::runs_forgotten("count", applied.runs_dropped);
                    forget_deleted(&self.app, &projection.runs).await;
                    if let Err(error) = self.app.functions.told(runs.iter().copied()).await {
                        tracing::warn!(%error, "that runs were cancelled is not forgotten");
                    }
                    if applied.dead_letters_dropped > 0 {
                        let dropped = applied.dead_letters_dropped;
                        tracing::warn!(
                            dropped,
                            "there are too many dead letters; the oldest are forgotten"
                        );
                    }
                    self.written = self.seen;
                    self.caught_up();
                    return;
                }
                Err(StoreError::Closed) => return,
                Err(error) => {
                    let error = error.to_string();
                    tracing::error!(
                        error,
                        cursor = self.seen,
                        "the read models cannot be written; trying again"
                    );
                }
            }
            tokio::select! {
                () = sleep(wait) => {}
                // The next start feeds them from the cursor.
                () = self.app.shutdown.cancelled() => return,
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

/// Whether the function of a run is still there: runs go with it, also those the journal tells of afterwards.
fn is_kept(app: &App, row: &RunRow) -> bool {
    let run = &row.run;
    run.function_id
        .is_none_or(|id| app.functions.has(&row.organization, &run.function_name, id))
}

/// Forgets rows that were written while their function was deleted.
async fn forget_deleted(app: &App, rows: &[RunRow]) {
    let gone = rows.iter().filter(|row| !is_kept(app, row));
    let gone: BTreeSet<Uuid> = gone.filter_map(|row| row.run.function_id).collect();
    for function in gone {
        if let Err(error) = app.store.delete_runs(function).await {
            tracing::warn!(%function, %error, "the runs of a deleted function are not forgotten");
        }
    }
}

/// Forgets the runs that have been listed for long enough.
pub(crate) async fn forget_old_runs(app: &App) {
    let age = TimeDelta::from_std(app.config.retention.runs.max_age).unwrap_or(TimeDelta::MAX);
    let before = Utc::now()
        .checked_sub_signed(age)
        .and_then(|time| time.timestamp_nanos_opt());
    let Some(before) = before else {
        return;
    };
    match app.store.forget_runs_before(before).await {
        Ok(forgotten) => metrics::runs_forgotten("age", forgotten),
        Err(StoreError::Closed) => {}
        Err(error) => tracing::warn!(%error, "old runs cannot be forgotten"),
    }
}

/// The tail as a stream, so that waiting for its next page can be given up and taken up again.
fn pages(tail: Box<dyn Tail>) -> BoxStream<'static, Arc<Page>> {
    stream::unfold(tail, |mut tail| async move { Some((tail.next().await?, tail)) }).boxed()
}
