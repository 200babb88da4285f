//! The tables, and how older files become newer ones.
//!
//! A file's format is the number of migrations it has seen (`PRAGMA user_version`). A migration that was
//! released is never changed; a new one is appended.

use rusqlite::{Connection, Transaction};

/// Marks a file as ours (`PRAGMA application_id`): "Dspt".
pub(crate) const APPLICATION_ID: i64 = 0x4473_7074;

/// `resources.db`.
pub(crate) const RESOURCES: &[&str] = &[
    "
CREATE TABLE resources (
    kind         TEXT NOT NULL,
    organization TEXT NOT NULL,
    name         TEXT NOT NULL,
    id           BLOB NOT NULL,     -- UUID, 16 bytes
    revision     INTEGER NOT NULL,  -- 1 when created, then one more for each change
    created      INTEGER NOT NULL,  -- Unix seconds
    modified     INTEGER NOT NULL,  -- Unix seconds
    body         TEXT NOT NULL,     -- the resource as JSON
    PRIMARY KEY (kind, organization, name)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX resources_by_id ON resources (id);
CREATE TABLE sources (
    revision BLOB PRIMARY KEY,      -- UUID, 16 bytes
    content  BLOB NOT NULL
) STRICT;
",
    "
CREATE TABLE cancelled_runs (
    run BLOB PRIMARY KEY,           -- UUID, 16 bytes
    at  INTEGER NOT NULL            -- Unix seconds
) STRICT, WITHOUT ROWID;
CREATE TABLE data_keys (
    organization TEXT PRIMARY KEY,
    master       TEXT NOT NULL,     -- which master key wraps it
    wrapped      BLOB NOT NULL      -- nonce, ciphertext, tag
) STRICT, WITHOUT ROWID;
",
];

/// `views.db`.
pub(crate) const VIEWS: &[&str] = &[
    "
CREATE TABLE cursors (
    name     TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE runs (
    organization TEXT NOT NULL,
    name         BLOB NOT NULL,     -- UUID, 16 bytes
    function     TEXT NOT NULL,
    function_id  BLOB,              -- UUID, 16 bytes
    executed     INTEGER NOT NULL,  -- Unix nanoseconds
    modified     INTEGER NOT NULL,  -- Unix nanoseconds
    finished     INTEGER NOT NULL,  -- 1 when it ended for good
    body         TEXT NOT NULL,     -- the run as JSON
    PRIMARY KEY (organization, name)
) STRICT;
CREATE INDEX runs_by_time ON runs (organization, executed);
CREATE INDEX runs_by_function ON runs (organization, function, executed);
CREATE INDEX runs_by_function_id ON runs (function_id);
CREATE TABLE dead_letters (
    organization      TEXT NOT NULL,
    sequence          INTEGER NOT NULL,
    subscription      BLOB NOT NULL,     -- UUID, 16 bytes
    subscription_name TEXT NOT NULL,
    time              INTEGER NOT NULL,  -- Unix milliseconds
    reason            TEXT NOT NULL,
    attempts          INTEGER NOT NULL,
    failures          TEXT NOT NULL,     -- JSON list
    event             BLOB NOT NULL,     -- encoded event
    redriven          INTEGER,           -- Unix milliseconds
    PRIMARY KEY (organization, sequence, subscription)
) STRICT;
CREATE INDEX dead_letters_by_subscription ON dead_letters (organization, subscription_name, sequence);
CREATE TABLE event_types (
    organization TEXT NOT NULL,
    type         TEXT NOT NULL,
    count        INTEGER NOT NULL,
    last         INTEGER NOT NULL,       -- Unix milliseconds
    PRIMARY KEY (organization, type)
) STRICT, WITHOUT ROWID;
CREATE INDEX event_types_by_time ON event_types (organization, last);
",
    "
CREATE INDEX runs_by_age ON runs (executed) WHERE finished = 1;
",
];

/// Brings the file to the newest format, each step whole or not at all.
pub(crate) fn migrate(connection: &mut Connection, found: i64, migrations: &[&str]) -> rusqlite::Result<()> {
    for (version, sql) in (1i64..)
        .zip(migrations)
        .skip(usize::try_from(found).unwrap_or_default())
    {
        let transaction: Transaction<'_> = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}
