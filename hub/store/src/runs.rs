//! Runs: a read model, one row per delivery to a function.

use dispatch_schemas::Run;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use uuid::Uuid;

use crate::{Store, StoreError};

const NANOS: i64 = 1_000_000_000;

/// A run and whose it is.
#[derive(Debug, Clone)]
pub struct RunRow {
    /// Organization of the function.
    pub organization: String,
    /// The run; its name is its identity.
    pub run: Run,
}

/// Which runs to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunQuery {
    /// Of this function only, by name.
    pub function: Option<String>,
    /// Begun or ended at or after this, Unix seconds.
    pub since: Option<i64>,
    /// The newest so many; all that are kept when `None`.
    pub limit: Option<u32>,
}

impl Store {
    /// Runs of an organization, newest first.
    pub async fn runs(&self, organization: &str, query: RunQuery) -> Result<Vec<Run>, StoreError> {
        let organization = organization.to_owned();
        let keep = self.limits.runs;
        let work = move |connection: &mut Connection| {
            let mut sql = "SELECT body FROM runs WHERE organization = ?".to_owned();
            let mut values = vec![Value::from(organization)];
            if let Some(function) = query.function {
                sql.push_str(" AND function = ?");
                values.push(function.into());
            }
            if let Some(since) = query.since {
                sql.push_str(" AND modified >= ?");
                values.push(since.saturating_mul(NANOS).into());
            }
            sql.push_str(" ORDER BY executed DESC LIMIT ?");
            values.push(i64::from(query.limit.unwrap_or(keep).min(keep)).into());
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params_from_iter(values))?;
            let mut runs = Vec::new();
            while let Some(row) = rows.next()? {
                match serde_json::from_str(row.get_ref(0)?.as_str().unwrap_or_default()) {
                    Ok(run) => runs.push(run),
                    Err(error) => tracing::error!(%error, "a stored run cannot be read"),
                }
            }
            Ok(runs)
        };
        self.views.call(work).await
    }

    /// One run.
    pub async fn run(&self, organization: &str, name: Uuid) -> Result<Run, StoreError> {
        let organization = organization.to_owned();
        let work = move |connection: &mut Connection| {
            let sql = "SELECT body FROM runs WHERE organization = ?1 AND name = ?2";
            let body: Option<String> = connection
                .prepare_cached(sql)?
                .query_row(params![organization, name.into_bytes()], |row| row.get(0))
                .optional()?;
            let name = name.to_string();
            match body {
                Some(body) => serde_json::from_str(&body).map_err(|source| StoreError::Unreadable {
                    kind: "run",
                    name,
                    source,
                }),
                None => Err(StoreError::NotFound { kind: "run", name }),
            }
        };
        self.views.call(work).await
    }

    /// Shows a run before the journal tells of it: taken, under way, to be tried again. Moves no cursor, and
    /// never takes back that a run has ended.
    pub async fn record_run(&self, row: RunRow) -> Result<(), StoreError> {
        let keep = self.limits.runs;
        let work = move |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            put(&transaction, &row)?;
            prune(&transaction, &row.organization, keep)?;
            Ok(transaction.commit()?)
        };
        self.views.call(work).await
    }

    /// Forgets the runs of a function, by its id, and says how many there were.
    pub async fn delete_runs(&self, function: Uuid) -> Result<usize, StoreError> {
        let work = move |connection: &mut Connection| {
            let sql = "DELETE FROM runs WHERE function_id = ?1";
            Ok(connection.execute(sql, params![function.into_bytes()])?)
        };
        self.views.call(work).await
    }
}

/// Writes a run. One that ended is not replaced by one that has not: two writers may come in any order.
pub(crate) fn put(connection: &Connection, row: &RunRow) -> Result<(), StoreError> {
    let run = &row.run;
    let unreadable = |source| StoreError::Unreadable {
        kind: "run",
        name: run.name.to_string(),
        source,
    };
    let body = serde_json::to_string(run).map_err(unreadable)?;
    let sql =
        "INSERT INTO runs (organization, name, function, function_id, executed, modified, finished, body)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
               ON CONFLICT DO UPDATE SET function = excluded.function, function_id = excluded.function_id,
                   executed = excluded.executed, modified = excluded.modified, finished = excluded.finished,
                   body = excluded.body
               WHERE excluded.finished >= finished";
    let modified = run
        .finished_time
        .unwrap_or(run.executed_time)
        .max(run.executed_time);
    connection.prepare_cached(sql)?.execute(params![
        row.organization,
        run.name.into_bytes(),
        run.function_name,
        run.function_id.map(Uuid::into_bytes),
        run.executed_time,
        modified,
        run.is_finished(),
        body,
    ])?;
    Ok(())
}

/// Forgets the oldest runs when there are more than `keep`.
pub(crate) fn prune(connection: &Connection, organization: &str, keep: u32) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM runs WHERE rowid IN (
                   SELECT rowid FROM runs WHERE organization = ?1 ORDER BY executed DESC LIMIT -1 OFFSET ?2)";
    connection
        .prepare_cached(sql)?
        .execute(params![organization, keep])
}
