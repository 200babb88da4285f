//! Runs that somebody cancelled before they had begun: kept until the journal tells of their end, so that a crash
//! does not run them after all.

use rusqlite::{Connection, params};
use uuid::Uuid;

use crate::{Store, StoreError};

impl Store {
    /// Keeps that a run is cancelled. It is on the disk when this returns. `at`: Unix seconds.
    pub async fn cancel_run(&self, run: Uuid, at: i64) -> Result<(), StoreError> {
        let work = move |connection: &mut Connection| {
            let sql = "INSERT OR IGNORE INTO cancelled_runs (run, at) VALUES (?1, ?2)";
            connection.execute(sql, params![run.into_bytes(), at])?;
            Ok(())
        };
        self.resources.call(work).await
    }

    /// All cancelled runs whose end was not told, but for those cancelled before a moment (Unix seconds): these are
    /// forgotten.
    pub async fn cancelled_runs(&self, since: i64) -> Result<Vec<Uuid>, StoreError> {
        let work = move |connection: &mut Connection| {
            connection.execute("DELETE FROM cancelled_runs WHERE at < ?1", params![since])?;
            let mut statement = connection.prepare("SELECT run FROM cancelled_runs")?;
            let rows = statement.query_map([], |row| row.get(0).map(Uuid::from_bytes))?;
            Ok(rows.collect::<Result<_, _>>()?)
        };
        self.resources.call(work).await
    }

    /// Forgets that these were cancelled: their end is told.
    pub async fn forget_cancelled(&self, runs: Vec<Uuid>) -> Result<(), StoreError> {
        let work = move |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            for run in runs {
                let sql = "DELETE FROM cancelled_runs WHERE run = ?1";
                transaction.execute(sql, params![run.into_bytes()])?;
            }
            Ok(transaction.commit()?)
        };
        self.resources.call(work).await
    }
}
