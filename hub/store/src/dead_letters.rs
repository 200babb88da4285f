//! Dead letters: a read model, one row per event and subscription that gave it up.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use dispatch_contract::{Attempt, Event, Sequence, SubscriptionId};
use dispatch_schemas::{DeadLetter, FailedAttempt};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::cursors::number;
use crate::{Store, StoreError};

const COLUMNS: &str = "organization, sequence, subscription, subscription_name, time, reason, attempts, failures, event, redriven";

/// Identity of a dead letter, that of its delivery. Shows as `<sequence>-<subscription id>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeadLetterKey {
    /// Position of the event in the journal.
    pub sequence: Sequence,
    /// The subscription that gave it up.
    pub subscription: SubscriptionId,
}

impl fmt::Display for DeadLetterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.sequence, self.subscription)
    }
}

/// A text that is no dead letter's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the id of a dead letter (<sequence>-<subscription id>)")]
pub struct DeadLetterKeyError(pub String);

impl FromStr for DeadLetterKey {
    type Err = DeadLetterKeyError;

    fn from_str(text: &str) -> Result<Self, DeadLetterKeyError> {
        let read = || {
            let (sequence, subscription) = text.split_once('-')?;
            Some(Self {
                sequence: sequence.parse().ok()?,
                subscription: SubscriptionId(subscription.parse().ok()?),
            })
        };
        read().ok_or_else(|| DeadLetterKeyError(text.chars().take(80).collect()))
    }
}

/// A dead letter as it is kept.
#[derive(Debug, Clone)]
pub struct DeadLetterRow {
    /// Organization of event and subscription.
    pub organization: String,
    /// Which event for which subscription.
    pub key: DeadLetterKey,
    /// Name of the subscription when it gave up.
    pub subscription_name: String,
    /// When it gave up, Unix milliseconds.
    pub time: i64,
    /// Why, for people: the last failure.
    pub reason: String,
    /// How many attempts were made.
    pub attempts: u32,
    /// The attempts that failed, oldest first.
    pub failures: Vec<Attempt>,
    /// The event.
    pub event: Event,
    /// When it was last given to the subscription again, Unix milliseconds.
    pub redriven: Option<i64>,
}

/// Which dead letters to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterQuery {
    /// Of this subscription only, by name.
    pub subscription: Option<String>,
    /// Those that were redriven, too.
    pub redriven: bool,
    /// Those after this one, in the order of the list: for pages.
    pub after: Option<DeadLetterKey>,
    /// At most so many; all when `None`.
    pub limit: Option<u32>,
}

impl Store {
    /// Dead letters of an organization, oldest first.
    pub async fn dead_letters(
        &self,
        organization: &str,
        query: DeadLetterQuery,
    ) -> Result<Vec<DeadLetterRow>, StoreError> {
        let organization = organization.to_owned();
        let keep = self.limits.dead_letters;
        let work = move |connection: &mut Connection| {
            let mut sql = format!("SELECT {COLUMNS} FROM dead_letters WHERE organization = ?");
            let mut values = vec![Value::from(organization)];
            if let Some(subscription) = query.subscription {
                sql.push_str(" AND subscription_name = ?");
                values.push(subscription.into());
            }
            if !query.redriven {
                sql.push_str(" AND redriven IS NULL");
            }
            if let Some(after) = query.after {
                sql.push_str(" AND (sequence, subscription) > (?, ?)");
                values.push(number(after.sequence).into());
                values.push(after.subscription.0.as_bytes().to_vec().into());
            }
            sql.push_str(" ORDER BY sequence, subscription LIMIT ?");
            values.push(i64::from(query.limit.unwrap_or(keep).min(keep)).into());
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params_from_iter(values))?;
            let mut all = Vec::new();
            while let Some(row) = rows.next()? {
                match read(row)? {
                    Some(row) => all.push(row),
                    None => tracing::error!(
                        sequence = row.get::<_, i64>(1)?,
                        "a stored dead letter cannot be read"
                    ),
                }
            }
            Ok(all)
        };
        self.views.call(work).await
    }

    /// One dead letter.
    pub async fn dead_letter(
        &self,
        organization: &str,
        key: DeadLetterKey,
    ) -> Result<DeadLetterRow, StoreError> {
        let organization = organization.to_owned();
        let work = move |connection: &mut Connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM dead_letters WHERE organization = ?1 AND sequence = ?2 AND subscription = ?3"
            );
            let values = params![
                organization,
                number(key.sequence),
                key.subscription.0.into_bytes()
            ];
            let found = connection.query_row(&sql, values, read).optional()?.flatten();
            found.ok_or_else(|| StoreError::NotFound {
                kind: "dead letter",
                name: key.to_string(),
            })
        };
        self.views.call(work).await
    }

    /// Remembers that these were given to their subscriptions again, at `at` (Unix milliseconds), and says how
    /// many there were.
    pub async fn mark_redriven(
        &self,
        organization: &str,
        keys: Vec<DeadLetterKey>,
        at: i64,
    ) -> Result<usize, StoreError> {
        let organization = organization.to_owned();
        let work = move |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            let mut marked = 0;
            for key in keys {
                marked += mark(&transaction, &organization, key, at)?;
            }
            transaction.commit()?;
            Ok(marked)
        };
        self.views.call(work).await
    }

    /// Forgets these dead letters and says how many there were.
    pub async fn delete_dead_letters(
        &self,
        organization: &str,
        keys: Vec<DeadLetterKey>,
    ) -> Result<usize, StoreError> {
        let organization = organization.to_owned();
        let work = move |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            let mut deleted = 0;
            for key in keys {
                let sql = "DELETE FROM dead_letters WHERE organization = ?1 AND sequence = ?2 AND subscription = ?3";
                let values = params![
                    organization,
                    number(key.sequence),
                    key.subscription.0.into_bytes()
                ];
                deleted += transaction.prepare_cached(sql)?.execute(values)?;
            }
            transaction.commit()?;
            Ok(deleted)
        };
        self.views.call(work).await
    }
}

/// Writes a dead letter; written again, it stays redriven if it was.
pub(crate) fn put(connection: &Connection, row: &DeadLetterRow) -> Result<(), StoreError> {
    let failures: Vec<FailedAttempt> = row.failures.iter().map(shown).collect();
    let failures = serde_json::to_string(&failures).map_err(|source| StoreError::Unreadable {
        kind: "dead letter",
        name: row.key.to_string(),
        source,
    })?;
    let sql = format!(
        "INSERT INTO dead_letters ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT DO UPDATE SET subscription_name = excluded.subscription_name, time = excluded.time,
             reason = excluded.reason, attempts = excluded.attempts, failures = excluded.failures,
             event = excluded.event, redriven = coalesce(excluded.redriven, redriven)"
    );
    connection.prepare_cached(&sql)?.execute(params![
        row.organization,
        number(row.key.sequence),
        row.key.subscription.0.into_bytes(),
        row.subscription_name,
        row.time,
        row.reason,
        row.attempts,
        failures,
        row.event.encoded().as_ref(),
        row.redriven,
    ])?;
    Ok(())
}

pub(crate) fn mark(
    connection: &Connection,
    organization: &str,
    key: DeadLetterKey,
    at: i64,
) -> rusqlite::Result<usize> {
    let sql = "UPDATE dead_letters SET redriven = ?4 WHERE organization = ?1 AND sequence = ?2 AND subscription = ?3";
    let values = params![
        organization,
        number(key.sequence),
        key.subscription.0.into_bytes(),
        at
    ];
    connection.prepare_cached(sql)?.execute(values)
}

/// Forgets the oldest when there are more than `keep`.
pub(crate) fn prune(connection: &Connection, organization: &str, keep: u32) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM dead_letters WHERE rowid IN (
                   SELECT rowid FROM dead_letters WHERE organization = ?1
                   ORDER BY sequence DESC, subscription DESC LIMIT -1 OFFSET ?2)";
    connection
        .prepare_cached(sql)?
        .execute(params![organization, keep])
}

/// `None` for a row whose event or failures cannot be read.
fn read(row: &Row<'_>) -> rusqlite::Result<Option<DeadLetterRow>> {
    let failures: String = row.get(7)?;
    let event: Vec<u8> = row.get(8)?;
    let (Ok(failures), Ok(event)) = (
        serde_json::from_str::<Vec<FailedAttempt>>(&failures),
        Event::decode(event.into()),
    ) else {
        return Ok(None);
    };
    let attempt = |f: FailedAttempt| Attempt {
        at: f.at.timestamp_millis(),
        took: f.took_millis,
        code: f.code,
        reason: f.reason,
    };
    Ok(Some(DeadLetterRow {
        organization: row.get(0)?,
        key: DeadLetterKey {
            sequence: row.get::<_, i64>(1)?.unsigned_abs(),
            subscription: SubscriptionId(Uuid::from_bytes(row.get(2)?)),
        },
        subscription_name: row.get(3)?,
        time: row.get(4)?,
        reason: row.get(5)?,
        attempts: row.get(6)?,
        failures: failures.into_iter().map(attempt).collect(),
        event,
        redriven: row.get(9)?,
    }))
}

fn shown(attempt: &Attempt) -> FailedAttempt {
    FailedAttempt {
        at: time(attempt.at),
        took_millis: attempt.took,
        code: attempt.code,
        reason: attempt.reason.clone(),
    }
}

fn time(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

impl From<&DeadLetterRow> for DeadLetter {
    /// As people read it.
    fn from(row: &DeadLetterRow) -> Self {
        let mut json = Vec::new();
        row.event.write_json(&mut json);
        let text = String::from_utf8(json).unwrap_or_default();
        Self {
            id: row.key.to_string(),
            subscription: row.subscription_name.clone(),
            subscription_id: row.key.subscription.0,
            sequence: row.key.sequence,
            time: time(row.time),
            reason: row.reason.clone(),
            attempts: row.attempts,
            failures: row.failures.iter().map(shown).collect(),
            redriven: row.redriven.map(time),
            event: RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned()),
        }
    }
}
