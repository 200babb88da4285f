//! Runs: a read model, one row per delivery to a function.

use std::collections::HashSet;
use std::str::FromStr;

use dispatch_schemas::{Run, Status, Tag};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use uuid::Uuid;

use crate::{Store, StoreError};

const NANOS: i64 = 1_000_000_000;
/// About the most bytes of one page: inputs and outputs may be large.
const PAGE_BYTES: usize = 16 << 20;

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
    /// With this status only.
    pub status: Option<Status>,
    /// Of this application only.
    pub application: Option<String>,
    /// Begun or ended at or after this, Unix seconds.
    pub since: Option<i64>,
    /// Those that follow this one in a list, which goes from the newest to the oldest.
    pub after: Option<RunCursor>,
    /// The newest so many; all that are kept when `None`.
    pub limit: Option<u32>,
    /// All but these.
    pub except: HashSet<Uuid>,
}

impl RunQuery {
    /// Whether a run is asked for, but for `limit`.
    pub fn wants(&self, run: &Run) -> bool {
        let after = |since: &i64| modified(run) >= since.saturating_mul(NANOS);
        self.function.as_ref().is_none_or(|f| *f == run.function_name)
            && self.status.is_none_or(|status| run.status == Some(status))
            && self
                .application
                .as_ref()
                .is_none_or(|a| Tag::belongs_to(&run.tags, a))
            && self.since.as_ref().is_none_or(after)
            && self.after.is_none_or(|cursor| RunCursor::of(run) < cursor)
            && !self.except.contains(&run.name)
    }
}

/// The place of a run in lists: when it was taken, then its name. Written `<executedTime>-<name>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunCursor {
    /// Unix nanoseconds.
    pub executed: i64,
    /// Its name.
    pub name: Uuid,
}

impl RunCursor {
    /// Where this run is.
    pub fn of(run: &Run) -> Self {
        Self {
            executed: run.executed_time,
            name: run.name,
        }
    }
}

impl FromStr for RunCursor {
    type Err = RunCursorError;

    fn from_str(text: &str) -> Result<Self, RunCursorError> {
        let (executed, name) = text.split_once('-').ok_or(RunCursorError)?;
        Ok(Self {
            executed: executed.parse().map_err(|_| RunCursorError)?,
            name: Uuid::parse_str(name).map_err(|_| RunCursorError)?,
        })
    }
}

/// A text that is no [`RunCursor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be <executedTime>-<name> of the last run of the page before")]
pub struct RunCursorError;

/// Part of a list.
#[derive(Debug, Clone, Default)]
pub struct RunPage {
    /// Newest first.
    pub runs: Vec<Run>,
    /// There may be more after the last one.
    pub cut: bool,
}

impl Store {
    /// Runs of an organization, newest first.
    pub async fn runs(&self, organization: &str, query: RunQuery) -> Result<RunPage, StoreError> {
        let organization = organization.to_owned();
        let keep = self.limits.runs;
        let work = move |connection: &mut Connection| {
            let mut sql = "SELECT body FROM runs WHERE organization = ?".to_owned();
            let mut values = vec![Value::from(organization)];
            if let Some(function) = &query.function {
                sql.push_str(" AND function = ?");
                values.push(function.clone().into());
            }
            if let Some(since) = query.since {
                sql.push_str(" AND modified >= ?");
                values.push(since.saturating_mul(NANOS).into());
            }
            if let Some(after) = query.after {
                sql.push_str(" AND (executed, name) < (?, ?)");
                values.push(after.executed.into());
                values.push(after.name.into_bytes().to_vec().into());
            }
            sql.push_str(" ORDER BY executed DESC, name DESC");
            let most = query.limit.unwrap_or(keep).min(keep) as usize;
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params_from_iter(values))?;
            let mut page = RunPage::default();
            let mut bytes = 0;
            while let Some(row) = rows.next()? {
                if page.runs.len() >= most || bytes > PAGE_BYTES {
                    page.cut = true;
                    break;
                }
                let body = row.get_ref(0)?.as_str().unwrap_or_default();
                match serde_json::from_str(body) {
                    Ok(run) if query.wants(&run) => {
                        bytes += body.len();
                        page.runs.push(run);
                    }
                    Ok(_) => {}
                    Err(error) => tracing::error!(%error, "a stored run cannot be read"),
                }
            }
            Ok(page)
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

    /// Forgets the runs that were taken before a moment (Unix nanoseconds), and says how many there were.
    pub async fn forget_runs_before(&self, executed: i64) -> Result<usize, StoreError> {
        let work = move |connection: &mut Connection| {
            let sql = "DELETE FROM runs WHERE executed < ?1 AND finished = 1";
            Ok(connection.execute(sql, params![executed])?)
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
    connection.prepare_cached(sql)?.execute(params![
        row.organization,
        run.name.into_bytes(),
        run.function_name,
        run.function_id.map(Uuid::into_bytes),
        run.executed_time,
        modified(run),
        run.is_finished(),
        body,
    ])?;
    Ok(())
}

fn modified(run: &Run) -> i64 {
    run.finished_time.unwrap_or_default().max(run.executed_time)
}

/// Forgets the oldest runs when there are more than `keep`.
pub(crate) fn prune(connection: &Connection, organization: &str, keep: u32) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM runs WHERE rowid IN (
                   SELECT rowid FROM runs WHERE organization = ?1 ORDER BY executed DESC LIMIT -1 OFFSET ?2)";
    connection
        .prepare_cached(sql)?
        .execute(params![organization, keep])
}
