//! Sources of functions, kept apart so that lists stay light: one blob per revision.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use crate::{Store, StoreError};

impl Store {
    /// Keeps the source of a revision; a second call for the same revision replaces it.
    pub async fn put_source(&self, revision: Uuid, content: impl Into<Vec<u8>>) -> Result<(), StoreError> {
        let content = content.into();
        let work = move |connection: &mut Connection| {
            let sql = "INSERT OR REPLACE INTO sources (revision, content) VALUES (?1, ?2)";
            connection.execute(sql, params![revision.into_bytes(), content])?;
            Ok(())
        };
        self.resources.call(work).await
    }

    /// The source of a revision.
    pub async fn source(&self, revision: Uuid) -> Result<Option<Vec<u8>>, StoreError> {
        let work = move |connection: &mut Connection| {
            let sql = "SELECT content FROM sources WHERE revision = ?1";
            Ok(connection
                .query_row(sql, params![revision.into_bytes()], |row| row.get(0))
                .optional()?)
        };
        self.resources.call(work).await
    }

    /// Forgets the source of a revision. Forgetting what is not there is no error.
    pub async fn delete_source(&self, revision: Uuid) -> Result<(), StoreError> {
        let work = move |connection: &mut Connection| {
            connection.execute(
                "DELETE FROM sources WHERE revision = ?1",
                params![revision.into_bytes()],
            )?;
            Ok(())
        };
        self.resources.call(work).await
    }

    /// Forgets all sources but those of `live` revisions, and says how many: what a crash left behind.
    pub async fn prune_sources(&self, live: BTreeSet<Uuid>) -> Result<usize, StoreError> {
        let work = move |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            let mut dead: Vec<[u8; 16]> = Vec::new();
            {
                let mut all = transaction.prepare("SELECT revision FROM sources")?;
                for revision in all.query_map([], |row| row.get(0))? {
                    let revision: [u8; 16] = revision?;
                    if !live.contains(&Uuid::from_bytes(revision)) {
                        dead.push(revision);
                    }
                }
            }
            for revision in &dead {
                transaction.execute("DELETE FROM sources WHERE revision = ?1", params![revision])?;
            }
            transaction.commit()?;
            Ok(dead.len())
        };
        self.resources.call(work).await
    }
}
