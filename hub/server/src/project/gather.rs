//! What a stretch of the log brings to the read models.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::Utc;
use dispatch_contract::{
    Committed, Entry, Page, RESERVED_TYPE_PREFIX, Record, Sequence, Settled, Settlement, SubscriptionId,
};
use dispatch_schemas::{Function, Resource as _, Run, Subscription};
use dispatch_store::{DeadLetterKey, DeadLetterRow, EventTypeRow, Projection, RunRow};

use crate::hub::App;
use crate::redrive::{REDRIVEN_TYPE, RedrivenLetters};

/// Types of the events that are runs.
const RUN_PREFIX: &str = "dispatch.run.";

/// Rows of a stretch, in the log's order.
#[derive(Default)]
pub(super) struct Gathered {
    runs: Vec<RunRow>,
    dead_letters: Vec<DeadLetterRow>,
    redriven: Vec<(String, DeadLetterKey, i64)>,
    types: HashMap<(Arc<str>, String), (u64, i64)>,
}

impl Gathered {
    /// How many rows wait to be written.
    pub(super) fn rows(&self) -> usize {
        self.runs.len() + self.dead_letters.len() + self.redriven.len() + self.types.len()
    }

    /// Whether there are rows somebody may be waiting to see. Runs are seen in memory meanwhile, and how often a type
    /// came can wait.
    pub(super) fn is_awaited(&self) -> bool {
        !(self.dead_letters.is_empty() && self.redriven.is_empty())
    }

    /// Takes in a page.
    pub(super) async fn add(&mut self, app: &App, page: &Page) {
        for entry in &page.entries {
            match &entry.record {
                Record::Event(committed) => self.event(entry.sequence, committed),
                Record::Settlement(settlement) if settlement.settled == Settled::DeadLettered => {
                    self.dead_letters.extend(dead_letter(app, settlement).await);
                }
                Record::Settlement(_) | Record::Through(_) | Record::Checkpoint(_) => {}
            }
        }
    }

    /// As the store takes it; the cursor is the caller's.
    pub(super) fn into_projection(self) -> Projection {
        let seen = |((organization, ty), (count, last)): ((Arc<str>, String), (u64, i64))| EventTypeRow {
            organization: organization.to_string(),
            ty,
            count,
            last,
        };
        Projection {
            runs: self.runs,
            dead_letters: self.dead_letters,
            redriven: self.redriven,
            event_types: self.types.into_iter().map(seen).collect(),
            ..Projection::default()
        }
    }

    fn event(&mut self, sequence: Sequence, committed: &Committed) {
        let ty = committed.event.ty();
        if ty.starts_with(RUN_PREFIX) {
            self.run(sequence, committed);
        } else if ty == REDRIVEN_TYPE {
            self.letters_again(sequence, committed);
        } else if committed.target.is_none() && !ty.starts_with(RESERVED_TYPE_PREFIX) {
            let key = (committed.organization.clone(), ty.to_owned());
            let (count, last) = self.types.entry(key).or_default();
            *count += 1;
            *last = committed.arrival.max(*last);
        }
    }

    fn run(&mut self, sequence: Sequence, committed: &Committed) {
        let data = committed.event.data().map_or(&[][..], |data| data.bytes);
        match serde_json::from_slice::<Run>(data) {
            Ok(run) => self.runs.push(RunRow {
                organization: committed.organization.to_string(),
                run,
            }),
            Err(error) => tracing::error!(sequence, %error, "a run in the journal cannot be read"),
        }
    }

    fn letters_again(&mut self, sequence: Sequence, committed: &Committed) {
        let data = committed.event.data().map_or(&[][..], |data| data.bytes);
        match serde_json::from_slice::<RedrivenLetters>(data) {
            Ok(letters) => {
                let keys = letters.ids.iter().filter_map(|id| id.parse().ok());
                let organization = committed.organization.to_string();
                let marks = keys.map(|key| (organization.clone(), key, committed.arrival));
                self.redriven.extend(marks);
            }
            Err(error) => tracing::error!(sequence, %error, "a redrive in the journal cannot be read"),
        }
    }
}

/// The dead letter a settlement tells of; `None` if the log does not have its event any more.
async fn dead_letter(app: &App, settlement: &Settlement) -> Option<DeadLetterRow> {
    let key = DeadLetterKey {
        sequence: settlement.event,
        subscription: settlement.subscription,
    };
    let committed = match event_at(app, settlement.event).await {
        Ok(Some(committed)) => committed,
        Ok(None) => {
            tracing::warn!(letter = %key, "the event of a dead letter is not in the journal any more");
            return None;
        }
        Err(reason) => {
            tracing::error!(letter = %key, reason, "the event of a dead letter cannot be read");
            return None;
        }
    };
    let last = settlement.failures.last();
    Some(DeadLetterRow {
        organization: committed.organization.to_string(),
        key,
        subscription_name: name_of(app, settlement.subscription).await,
        time: last.map_or_else(|| Utc::now().timestamp_millis(), |failure| failure.at),
        reason: last.map(|failure| failure.reason.clone()).unwrap_or_default(),
        attempts: settlement.attempts,
        failures: settlement.failures.clone(),
        event: committed.event,
        redriven: None,
    })
}

async fn event_at(app: &App, sequence: Sequence) -> Result<Option<Committed>, String> {
    let page = app
        .log
        .read(sequence, 1)
        .await
        .map_err(|error| error.to_string())?;
    let entry = page.entries.into_iter().find(|entry| entry.sequence == sequence);
    Ok(match entry {
        Some(Entry {
            record: Record::Event(committed),
            ..
        }) => Some(committed),
        _ => None,
    })
}

/// The subscription's name, or its id if nobody knows it any more.
async fn name_of(app: &App, id: SubscriptionId) -> String {
    if let Some(lane) = app.router.status(id).await {
        return lane.name.to_string();
    }
    if let Ok(Some((_, subscription))) = app.store.find::<Subscription>(id.0).await {
        return subscription.name().to_owned();
    }
    if let Ok(Some((_, function))) = app.store.find::<Function>(id.0).await {
        return function.name().to_owned();
    }
    id.to_string()
}
