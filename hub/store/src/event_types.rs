//! Event types seen: what subscriptions can ask for.

use rusqlite::{Connection, params};

use crate::{Store, StoreError};

/// An event type of an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventTypeRow {
    /// Organization of the events.
    pub organization: String,
    /// The type.
    pub ty: String,
    /// In a projection: how many events it brings. In a list: how many there were.
    pub count: u64,
    /// When the last one arrived, Unix milliseconds.
    pub last: i64,
}

impl Store {
    /// The types seen in an organization, by name.
    pub async fn event_types(&self, organization: &str) -> Result<Vec<EventTypeRow>, StoreError> {
        let organization = organization.to_owned();
        let work = move |connection: &mut Connection| {
            let sql = "SELECT type, count, last FROM event_types WHERE organization = ?1 ORDER BY type";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map(params![organization], |row| {
                Ok(EventTypeRow {
                    organization: organization.clone(),
                    ty: row.get(0)?,
                    count: row.get::<_, i64>(1)?.unsigned_abs(),
                    last: row.get(2)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        };
        self.views.call(work).await
    }
}

pub(crate) fn add(connection: &Connection, row: &EventTypeRow) -> rusqlite::Result<()> {
    let sql = "INSERT INTO event_types (organization, type, count, last) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT DO UPDATE SET count = count + excluded.count, last = max(last, excluded.last)";
    let count = i64::try_from(row.count).unwrap_or(i64::MAX);
    connection
        .prepare_cached(sql)?
        .execute(params![row.organization, row.ty, count, row.last])
        .map(drop)
}

/// Forgets the types not seen for longest when there are more than `keep`.
pub(crate) fn prune(connection: &Connection, organization: &str, keep: u32) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM event_types WHERE organization = ?1 AND type IN (
                   SELECT type FROM event_types WHERE organization = ?1 ORDER BY last DESC LIMIT -1 OFFSET ?2)";
    connection
        .prepare_cached(sql)?
        .execute(params![organization, keep])
}
