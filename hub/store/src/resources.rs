//! Resources: create, get, list, update, modify, delete; by kind, organization and name.

use std::error::Error as _;
use std::sync::Arc;

use chrono::Utc;
use dispatch_schemas::{Resource, Stamp, is_name};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params};
use uuid::Uuid;

use crate::sealing::{Row, Sealer};
use crate::{Store, StoreError};

impl Store {
    /// Stores a new resource with a new id. It is on the disk when this returns.
    pub async fn create<R: Resource>(&self, organization: &str, resource: &R) -> Result<R, StoreError> {
        let organization = organization.to_owned();
        let mut resource = resource.clone();
        let sealer = Arc::clone(&self.sealer);
        let work = move |connection: &mut Connection| {
            let now = Utc::now().timestamp();
            let name = resource.name().to_owned();
            if !is_name(&name) || !is_name(&organization) {
                let reason = "names and organizations hold letters, numbers, underscores and dashes";
                return Err(StoreError::Refused {
                    kind: R::NOUN,
                    name,
                    reason,
                });
            }
            resource.stamp(&Stamp {
                id: Uuid::new_v4(),
                name: name.clone(),
                created: now,
                modified: now,
            });
            let sql =
                "INSERT INTO resources (kind, organization, name, id, revision, created, modified, body)
                       VALUES (?1, ?2, ?3, ?4, 1, ?5, ?5, ?6)";
            let body = encode(&sealer, connection, &organization, &resource)?;
            let id = resource.id().into_bytes();
            match connection.execute(sql, params![R::KIND, organization, name, id, now, body]) {
                Ok(_) => Ok(resource),
                Err(e) if e.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                    Err(StoreError::AlreadyExists { kind: R::NOUN, name })
                }
                Err(e) => Err(e.into()),
            }
        };
        self.resources.call(work).await
    }

    /// One resource.
    pub async fn get<R: Resource>(&self, organization: &str, name: &str) -> Result<R, StoreError> {
        let (organization, name) = (organization.to_owned(), name.to_owned());
        let sealer = Arc::clone(&self.sealer);
        let work = move |connection: &mut Connection| {
            let sql = "SELECT body FROM resources WHERE kind = ?1 AND organization = ?2 AND name = ?3";
            let body: Option<String> = connection
                .prepare_cached(sql)?
                .query_row(params![R::KIND, organization, name], |row| row.get(0))
                .optional()?;
            let body = body.ok_or_else(|| not_found::<R>(&name))?;
            decode(&sealer, connection, &organization, &name, &body)
        };
        self.resources.call(work).await
    }

    /// The resource with this id, and its organization.
    pub async fn find<R: Resource>(&self, id: Uuid) -> Result<Option<(String, R)>, StoreError> {
        let sealer = Arc::clone(&self.sealer);
        let work = move |connection: &mut Connection| {
            let sql = "SELECT organization, name, body FROM resources WHERE id = ?1 AND kind = ?2";
            let found = connection
                .prepare_cached(sql)?
                .query_row(params![id.into_bytes(), R::KIND], stored)
                .optional()?;
            found
                .map(|(organization, name, body)| {
                    let resource = decode(&sealer, connection, &organization, &name, &body)?;
                    Ok((organization, resource))
                })
                .transpose()
        };
        self.resources.call(work).await
    }

    /// All resources of a kind in an organization, by name. One that cannot be read is logged and left out.
    pub async fn list<R: Resource>(&self, organization: &str) -> Result<Vec<R>, StoreError> {
        let organization = organization.to_owned();
        let sealer = Arc::clone(&self.sealer);
        let work = move |connection: &mut Connection| {
            let sql = "SELECT organization, name, body FROM resources
                       WHERE kind = ?1 AND organization = ?2 ORDER BY name";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map(params![R::KIND, organization], stored)?;
            Ok(readable(&sealer, connection, rows)?
                .into_iter()
                .map(|(_, resource)| resource)
                .collect())
        };
        self.resources.call(work).await
    }

    /// All resources of a kind with their organizations, by organization and name. One that cannot be read is
    /// logged and left out.
    pub async fn list_all<R: Resource>(&self) -> Result<Vec<(String, R)>, StoreError> {
        let sealer = Arc::clone(&self.sealer);
        let work = move |connection: &mut Connection| {
            let sql =
                "SELECT organization, name, body FROM resources WHERE kind = ?1 ORDER BY organization, name";
            let mut statement = connection.prepare_cached(sql)?;
            readable(
                &sealer,
                connection,
                statement.query_map(params![R::KIND], stored)?,
            )
        };
        self.resources.call(work).await
    }

    /// Replaces a resource; id, name and creation time stay what they are, whatever `resource` says.
    pub async fn update<R: Resource>(
        &self,
        organization: &str,
        name: &str,
        resource: R,
    ) -> Result<R, StoreError> {
        self.modify(organization, name, |stored: &mut R| *stored = resource)
            .await
    }

    /// Reads, changes and writes a resource in one transaction; id, name and creation time stay what they are.
    pub async fn modify<R: Resource>(
        &self,
        organization: &str,
        name: &str,
        change: impl FnOnce(&mut R) + Send + 'static,
    ) -> Result<R, StoreError> {
        let always = |resource: &mut R| {
            change(resource);
            true
        };
        self.modify_if(organization, name, always).await
    }

    /// Like [`modify`](Store::modify), unless `change` says no: then nothing is written and the answer is
    /// [`StoreError::Conflict`]. For steps that are only right from where the caller saw the resource.
    pub async fn modify_if<R: Resource>(
        &self,
        organization: &str,
        name: &str,
        change: impl FnOnce(&mut R) -> bool + Send + 'static,
    ) -> Result<R, StoreError> {
        let (organization, name) = (organization.to_owned(), name.to_owned());
        let sealer = Arc::clone(&self.sealer);
        let work = move |connection: &mut Connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let Some((id, created, body)) = for_change::<R>(&transaction, &organization, &name)? else {
                return Err(not_found::<R>(&name));
            };
            let mut resource: R = decode(&sealer, &transaction, &organization, &name, &body)?;
            if !change(&mut resource) {
                return Err(StoreError::Conflict { kind: R::NOUN, name });
            }
            let modified = Utc::now().timestamp();
            resource.stamp(&Stamp {
                id: Uuid::from_bytes(id),
                name: name.clone(),
                created,
                modified,
            });
            let sql = "UPDATE resources SET revision = revision + 1, modified = ?4, body = ?5
                       WHERE kind = ?1 AND organization = ?2 AND name = ?3";
            let body = encode(&sealer, &transaction, &organization, &resource)?;
            transaction.execute(sql, params![R::KIND, organization, name, modified, body])?;
            transaction.commit()?;
            Ok(resource)
        };
        self.resources.call(work).await
    }

    /// Removes a resource and returns what it was.
    pub async fn delete<R: Resource>(&self, organization: &str, name: &str) -> Result<R, StoreError> {
        let (organization, name) = (organization.to_owned(), name.to_owned());
        let sealer = Arc::clone(&self.sealer);
        let work = move |connection: &mut Connection| {
            let sql =
                "DELETE FROM resources WHERE kind = ?1 AND organization = ?2 AND name = ?3 RETURNING body";
            let body: Option<String> = connection
                .query_row(sql, params![R::KIND, organization, name], |row| row.get(0))
                .optional()?;
            let body = body.ok_or_else(|| not_found::<R>(&name))?;
            decode(&sealer, connection, &organization, &name, &body)
        };
        self.resources.call(work).await
    }
}

type Stored = (String, String, String);

fn stored(row: &rusqlite::Row<'_>) -> rusqlite::Result<Stored> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

fn for_change<R: Resource>(
    transaction: &Transaction<'_>,
    organization: &str,
    name: &str,
) -> rusqlite::Result<Option<([u8; 16], i64, String)>> {
    let sql = "SELECT id, created, body FROM resources WHERE kind = ?1 AND organization = ?2 AND name = ?3";
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    transaction
        .query_row(sql, params![R::KIND, organization, name], row)
        .optional()
}

fn readable<R: Resource>(
    sealer: &Sealer,
    connection: &Connection,
    rows: impl Iterator<Item = rusqlite::Result<Stored>>,
) -> Result<Vec<(String, R)>, StoreError> {
    let mut all = Vec::new();
    for row in rows {
        let (organization, name, body) = row?;
        match decode(sealer, connection, &organization, &name, &body) {
            Ok(resource) => all.push((organization, resource)),
            Err(error) => {
                let cause = error.source().map(ToString::to_string);
                tracing::error!(kind = R::KIND, organization, name, %error, cause, "a stored resource cannot be read");
            }
        }
    }
    Ok(all)
}

fn not_found<R: Resource>(name: &str) -> StoreError {
    StoreError::NotFound {
        kind: R::NOUN,
        name: name.to_owned(),
    }
}

/// The body of a row: the resource as JSON, encrypted if it is of a secret kind.
fn encode<R: Resource>(
    sealer: &Sealer,
    connection: &Connection,
    organization: &str,
    resource: &R,
) -> Result<String, StoreError> {
    let name = resource.name();
    let body = serde_json::to_string(resource).map_err(|source| unreadable::<R>(name, source))?;
    match R::SEALED {
        true => sealer.seal(connection, row::<R>(organization, name), &body),
        false => Ok(body),
    }
}

fn decode<R: Resource>(
    sealer: &Sealer,
    connection: &Connection,
    organization: &str,
    name: &str,
    body: &str,
) -> Result<R, StoreError> {
    let read = |body: &str| serde_json::from_str(body).map_err(|source| unreadable::<R>(name, source));
    match R::SEALED {
        true => read(&sealer.unseal(connection, row::<R>(organization, name), body)?),
        false => read(body),
    }
}

fn row<'a, R: Resource>(organization: &'a str, name: &'a str) -> Row<'a> {
    Row {
        kind: R::KIND,
        organization,
        name,
    }
}

fn unreadable<R: Resource>(name: &str, source: serde_json::Error) -> StoreError {
    StoreError::Unreadable {
        kind: R::NOUN,
        name: name.to_owned(),
        source,
    }
}
