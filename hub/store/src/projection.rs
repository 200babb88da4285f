//! One step of a read model: rows and the cursor they lead to, in one transaction.

use std::collections::BTreeSet;
use std::sync::Arc;

use dispatch_contract::Sequence;
use rusqlite::Connection;

use crate::cursors::{cursor, set_cursor};
use crate::{DeadLetterKey, DeadLetterRow, EventTypeRow, RunRow, Store, StoreError};
use crate::{dead_letters, event_types, runs};

/// What a stretch of the journal, up to and with `cursor`, brings to the read models.
#[derive(Debug, Clone, Default)]
pub struct Projection {
    /// Whose cursor.
    pub cursor_name: String,
    /// The last sequence that was looked at.
    pub cursor: Sequence,
    /// Runs, in the order they were told.
    pub runs: Vec<RunRow>,
    /// Deliveries that were given up.
    pub dead_letters: Vec<DeadLetterRow>,
    /// Dead letters that were given to their subscription again: organization, which, when (Unix milliseconds).
    pub redriven: Vec<(String, DeadLetterKey, i64)>,
    /// Event types seen, with how many events of each.
    pub event_types: Vec<EventTypeRow>,
}

/// What [`Store::apply`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Applied {
    /// The cursor was already there: nothing was written.
    pub stale: bool,
    /// Runs forgotten because there are too many.
    pub runs_dropped: usize,
    /// Dead letters forgotten because there are too many. Worth telling somebody.
    pub dead_letters_dropped: usize,
}

impl Store {
    /// Writes the rows and moves the cursor, all or nothing. A projection whose cursor is not beyond the stored
    /// one was applied before and changes nothing, so a step may be repeated after a crash.
    pub async fn apply(&self, projection: impl Into<Arc<Projection>>) -> Result<Applied, StoreError> {
        let (limits, projection) = (self.limits, projection.into());
        let work = move |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            if projection.cursor <= cursor(&transaction, &projection.cursor_name)? {
                return Ok(Applied {
                    stale: true,
                    ..Applied::default()
                });
            }
            let mut applied = Applied::default();
            for row in &projection.runs {
                runs::put(&transaction, row)?;
            }
            for organization in unique(projection.runs.iter().map(|r| &r.organization)) {
                applied.runs_dropped += runs::prune(&transaction, organization, limits.runs)?;
            }
            for row in &projection.dead_letters {
                dead_letters::put(&transaction, row)?;
            }
            for (organization, key, at) in &projection.redriven {
                dead_letters::mark(&transaction, organization, *key, *at)?;
            }
            for organization in unique(projection.dead_letters.iter().map(|r| &r.organization)) {
                applied.dead_letters_dropped +=
                    dead_letters::prune(&transaction, organization, limits.dead_letters)?;
            }
            for row in &projection.event_types {
                event_types::add(&transaction, row)?;
            }
            for organization in unique(projection.event_types.iter().map(|r| &r.organization)) {
                event_types::prune(&transaction, organization, limits.event_types)?;
            }
            set_cursor(&transaction, &projection.cursor_name, projection.cursor)?;
            transaction.commit()?;
            Ok(applied)
        };
        self.views.call(work).await
    }

    /// Forgets all read models and cursors, so that they are fed again from the beginning of the journal.
    pub async fn reset_read_models(&self) -> Result<(), StoreError> {
        let work = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            transaction.execute_batch(
                "DELETE FROM runs; DELETE FROM dead_letters; DELETE FROM event_types; DELETE FROM cursors;",
            )?;
            Ok(transaction.commit()?)
        };
        self.views.call(work).await
    }
}

fn unique<'a>(organizations: impl Iterator<Item = &'a String>) -> BTreeSet<&'a str> {
    organizations.map(String::as_str).collect()
}
