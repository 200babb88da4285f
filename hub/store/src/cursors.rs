//! How far each read model was fed from the journal.

use dispatch_contract::Sequence;
use rusqlite::{Connection, OptionalExtension, params};

use crate::{Store, StoreError};

impl Store {
    /// The last sequence a read model was fed with; 0 before the first.
    pub async fn cursor(&self, name: &str) -> Result<Sequence, StoreError> {
        let name = name.to_owned();
        self.views
            .call(move |connection| Ok(cursor(connection, &name)?))
            .await
    }
}

pub(crate) fn cursor(connection: &Connection, name: &str) -> rusqlite::Result<Sequence> {
    let sql = "SELECT sequence FROM cursors WHERE name = ?1";
    let found: Option<i64> = connection
        .query_row(sql, params![name], |row| row.get(0))
        .optional()?;
    Ok(found.and_then(|n| Sequence::try_from(n).ok()).unwrap_or_default())
}

pub(crate) fn set_cursor(connection: &Connection, name: &str, sequence: Sequence) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO cursors (name, sequence) VALUES (?1, ?2)";
    connection.execute(sql, params![name, number(sequence)]).map(drop)
}

/// SQLite's integers have a sign; a journal that reaches 2^63 records would have other problems.
pub(crate) fn number(sequence: Sequence) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}
