//! Opening one SQLite file: rights, format, damage.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use crate::OpenError;
use crate::migrations::{APPLICATION_ID, migrate};

/// How another program's lock (a backup, a shell) is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The pages of a step of a read model stay in memory (KiB): 512 runs change some 400, here and there.
const VIEW_CACHE_KIB: i64 = 8 * 1024;
/// A read model's pages go from the side file to the file after so many; many of them change again before.
const VIEW_CHECKPOINT_PAGES: i64 = 4000;

/// What one file is like.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) migrations: &'static [&'static str],
    /// It can be rebuilt from the journal.
    pub(crate) is_view: bool,
    /// `FULL` when a commit must be on the disk before it is answered.
    pub(crate) synchronous: &'static str,
    /// What to do when it is damaged.
    pub(crate) remedy: &'static str,
}

/// Opens or creates the file in `folder` and brings it to the newest format.
pub(crate) fn open(folder: &Path, kind: &Kind) -> Result<Connection, OpenError> {
    let path = folder.join(kind.name);
    let io = |e: std::io::Error| OpenError::Io {
        path: path.clone(),
        reason: e.to_string(),
    };
    fs::create_dir_all(folder).map_err(io)?;
    // Secrets are in here: made for the owner only, before SQLite (which gives its side files the same rights) sees it.
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(io)?;
    File::open(folder).and_then(|f| f.sync_all()).map_err(io)?;
    let sqlite = |e: rusqlite::Error| match e.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => damaged(&path, kind, e.to_string()),
        _ => OpenError::Io {
            path: path.clone(),
            reason: e.to_string(),
        },
    };
    let mut connection = Connection::open(&path).map_err(sqlite)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(sqlite)?;
    let found = check_format(&connection, &path, kind, &sqlite)?;
    prepare(&connection, kind).map_err(&sqlite)?;
    if found > 0 {
        let verdict: String = connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(&sqlite)?;
        if verdict != "ok" {
            return Err(damaged(&path, kind, verdict));
        }
    }
    migrate(&mut connection, found, kind.migrations).map_err(&sqlite)?;
    Ok(connection)
}

fn check_format(
    connection: &Connection,
    path: &Path,
    kind: &Kind,
    sqlite: &impl Fn(rusqlite::Error) -> OpenError,
) -> Result<i64, OpenError> {
    let number = |pragma: &str| -> Result<i64, OpenError> {
        connection
            .pragma_query_value(None, pragma, |row| row.get(0))
            .map_err(sqlite)
    };
    let (found, application) = (number("user_version")?, number("application_id")?);
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(sqlite)?;
    let is_new = found == 0 && application == 0 && tables == 0;
    if !is_new && application != APPLICATION_ID {
        return Err(OpenError::Foreign {
            path: path.to_owned(),
        });
    }
    let known = i64::try_from(kind.migrations.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(OpenError::NewerFormat {
            path: path.to_owned(),
            found,
            known,
        });
    }
    Ok(found)
}

fn prepare(connection: &Connection, kind: &Kind) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", kind.synchronous)?;
    connection.pragma_update(None, "secure_delete", "ON")?;
    if kind.is_view {
        connection.pragma_update(None, "cache_size", -VIEW_CACHE_KIB)?;
        connection.pragma_update(None, "wal_autocheckpoint", VIEW_CHECKPOINT_PAGES)?;
    }
    // The side file goes back to this size after a checkpoint.
    connection.pragma_update(None, "journal_size_limit", 16 * 1024 * 1024)
}

fn damaged(path: &Path, kind: &Kind, reason: String) -> OpenError {
    OpenError::Damaged {
        path: path.to_owned(),
        reason,
        remedy: kind.remedy,
    }
}
