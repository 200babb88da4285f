//! Secrets at rest: what is secret is encrypted before it is written, and the file says nothing of it.
//!
//! Each organization has a data key, made when it is first needed; data keys are in the store, wrapped by a master
//! key that is not ([`KeySource`]). Both are XChaCha20-Poly1305 with random nonces of 192 bits. A sealed row is bound
//! to its kind, organization and name, a wrapped key to its organization and its master key, so that none can be put
//! in the place of another. The nonces are random, so the same secret written twice looks different.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use chacha20poly1305::aead::{Aead as _, AeadCore as _, KeyInit as _, OsRng, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use dispatch_schemas::{Resource as _, Secret};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use crate::master_key::MasterKey;
use crate::{KeyError, KeySource, StoreError};

/// How the body of a sealed row begins; a plain one begins with a brace.
const MARK: &str = "sealed:1:";
const NONCE: usize = 24;

/// Seals and opens what is secret.
pub(crate) struct Sealer {
    source: KeySource,
    state: Mutex<State>,
}

struct State {
    /// Newest first.
    masters: Vec<MasterKey>,
    /// By organization; only those that are in the file.
    data_keys: HashMap<String, XChaCha20Poly1305>,
}

/// Which row of the resources.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) kind: &'a str,
    pub(crate) organization: &'a str,
    pub(crate) name: &'a str,
}

impl Row<'_> {
    fn bound_to(&self) -> Vec<u8> {
        // None of them can hold a zero byte.
        ["dispatch resource", self.kind, self.organization, self.name]
            .join("\0")
            .into_bytes()
    }
}

/// A new master key is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// What it is called.
    pub key: String,
    /// Data keys that are wrapped with it.
    pub wrapped: usize,
}

impl Sealer {
    /// Reads the master keys and sees that they are the right ones; makes one for a store that has none. Wraps with the
    /// newest, and seals what an older release wrote plainly.
    pub(crate) fn open(connection: &mut Connection, source: KeySource) -> Result<Self, KeyError> {
        let wrapped = wrapped_keys(connection).map_err(KeyError::Store)?;
        let mut masters = source.read()?;
        if masters.is_empty() {
            if !wrapped.is_empty() {
                return Err(KeyError::Missing { from: source.name() });
            }
            masters.push(MasterKey::generate());
            source.write(&masters)?;
            tracing::info!(
                key = source.name(),
                "made a key for secrets: keep a copy of it apart from the data"
            );
        }
        let mut data_keys = HashMap::new();
        for wrapped in wrapped {
            let key = wrapped.open(&masters).ok_or_else(|| KeyError::Wrong {
                from: source.name(),
                wants: wrapped.master.clone(),
                has: masters[0].id(),
            })?;
            data_keys.insert(wrapped.organization, cipher(&key));
        }
        let sealer = Self {
            source,
            state: Mutex::new(State { masters, data_keys }),
        };
        sealer.wrap_again(connection).map_err(KeyError::Store)?;
        let upgraded = sealer.seal_plain(connection).map_err(KeyError::Upgrade)?;
        if upgraded > 0 {
            tracing::info!(upgraded, "secrets that were kept plainly are encrypted now");
        }
        Ok(sealer)
    }

    /// The body of a row as it is kept.
    pub(crate) fn seal(
        &self,
        connection: &Connection,
        row: Row<'_>,
        body: &str,
    ) -> Result<String, StoreError> {
        let cipher = self.data_key(connection, row.organization)?;
        let sealed = encrypt(&cipher, body.as_bytes(), &row.bound_to()).ok_or_else(|| damaged(row))?;
        Ok(format!("{MARK}{}", STANDARD_NO_PAD.encode(sealed)))
    }

    /// The body of a row as it was.
    pub(crate) fn unseal(
        &self,
        connection: &Connection,
        row: Row<'_>,
        body: &str,
    ) -> Result<String, StoreError> {
        let opened = || {
            let sealed = STANDARD_NO_PAD.decode(body.strip_prefix(MARK)?).ok()?;
            let cipher = self.data_key(connection, row.organization).ok()?;
            String::from_utf8(decrypt(&cipher, &sealed, &row.bound_to())?).ok()
        };
        opened().ok_or_else(|| damaged(row))
    }

    /// Makes a new master key and wraps all data keys with it. The file holds the old one too until that is done.
    pub(crate) fn rotate(&self, connection: &mut Connection) -> Result<Rotated, KeyError> {
        let mut keys = vec![MasterKey::generate()];
        keys.extend(self.state().masters.iter().cloned());
        self.source.write(&keys)?;
        self.state().masters = keys;
        let wrapped = self.wrap_again(connection).map_err(KeyError::Store)?;
        let newest = self.forget_older()?;
        Ok(Rotated {
            key: newest.id(),
            wrapped,
        })
    }

    fn forget_older(&self) -> Result<MasterKey, KeyError> {
        let newest = self.state().masters[0].clone();
        self.source.write(std::slice::from_ref(&newest))?;
        self.state().masters.truncate(1);
        Ok(newest)
    }

    /// Wraps those data keys with the newest master key that are not; says how many there are in all.
    fn wrap_again(&self, connection: &mut Connection) -> rusqlite::Result<usize> {
        let masters = self.state().masters.clone();
        let newest = masters[0].id();
        let transaction = connection.transaction()?;
        let all = wrapped_keys(&transaction)?;
        for old in all.iter().filter(|key| key.master != newest) {
            if let Some(wrapped) = old
                .open(&masters)
                .and_then(|key| wrap(&masters[0], &old.organization, &key))
            {
                let sql = "UPDATE data_keys SET master = ?2, wrapped = ?3 WHERE organization = ?1";
                transaction.execute(sql, params![old.organization, newest, wrapped])?;
            }
        }
        transaction.commit()?;
        Ok(all.len())
    }

    fn seal_plain(&self, connection: &mut Connection) -> Result<usize, StoreError> {
        let transaction = connection.transaction()?;
        let plain = plain_secrets(&transaction)?;
        for (organization, name, body) in &plain {
            let row = Row {
                kind: Secret::KIND,
                organization,
                name,
            };
            let sealed = self.seal(&transaction, row, body)?;
            let sql = "UPDATE resources SET body = ?4 WHERE kind = ?1 AND organization = ?2 AND name = ?3";
            transaction.execute(sql, params![Secret::KIND, organization, name, sealed])?;
        }
        transaction.commit()?;
        if !plain.is_empty() {
            // What was overwritten is zeroed in the file (`secure_delete`); here, in the log beside it.
            connection.pragma_update(None, "wal_checkpoint", "TRUNCATE")?;
            connection.execute_batch("VACUUM")?;
        }
        Ok(plain.len())
    }

    /// The key of an organization; a new one if it has none.
    fn data_key(&self, connection: &Connection, organization: &str) -> Result<XChaCha20Poly1305, StoreError> {
        let mut state = self.state();
        if let Some(cipher) = state.data_keys.get(organization) {
            return Ok(cipher.clone());
        }
        let lost = || StoreError::Unsealed {
            kind: "data key",
            name: organization.to_owned(),
        };
        let sql = "SELECT organization, master, wrapped FROM data_keys WHERE organization = ?1";
        let found = connection
            .query_row(sql, params![organization], Wrapped::read)
            .optional()?;
        if let Some(wrapped) = found {
            let cipher = cipher(&wrapped.open(&state.masters).ok_or_else(lost)?);
            state.data_keys.insert(organization.to_owned(), cipher.clone());
            return Ok(cipher);
        }
        let key = XChaCha20Poly1305::generate_key(&mut OsRng);
        let master = &state.masters[0];
        let wrapped = wrap(master, organization, &key).ok_or_else(lost)?;
        let sql = "INSERT INTO data_keys (organization, master, wrapped) VALUES (?1, ?2, ?3)";
        connection.execute(sql, params![organization, master.id(), wrapped])?;
        // Not remembered: the caller's transaction may yet be rolled back.
        Ok(cipher(&key))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// A data key as it is kept.
struct Wrapped {
    organization: String,
    /// Which master key it is wrapped with.
    master: String,
    wrapped: Vec<u8>,
}

impl Wrapped {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            organization: row.get(0)?,
            master: row.get(1)?,
            wrapped: row.get(2)?,
        })
    }

    fn open(&self, masters: &[MasterKey]) -> Option<Key> {
        let master = masters.iter().find(|master| master.id() == self.master)?;
        let bound_to = wrapping(&self.organization, &self.master);
        let key = decrypt(&cipher(&master.bytes().into()), &self.wrapped, &bound_to)?;
        <[u8; 32]>::try_from(key).ok().map(Key::from)
    }
}

fn wrap(master: &MasterKey, organization: &str, key: &Key) -> Option<Vec<u8>> {
    encrypt(
        &cipher(&master.bytes().into()),
        key,
        &wrapping(organization, &master.id()),
    )
}

fn wrapping(organization: &str, master: &str) -> Vec<u8> {
    ["dispatch data key", organization, master]
        .join("\0")
        .into_bytes()
}

fn cipher(key: &Key) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key)
}

/// Nonce, then ciphertext and tag.
fn encrypt(cipher: &XChaCha20Poly1305, text: &[u8], bound_to: &[u8]) -> Option<Vec<u8>> {
    let nonce = XChaCha20Poly1305::generate_nonce(&mut OsRng);
    let payload = Payload {
        msg: text,
        aad: bound_to,
    };
    let sealed = cipher.encrypt(&nonce, payload).ok()?;
    Some([nonce.as_slice(), &sealed].concat())
}

fn decrypt(cipher: &XChaCha20Poly1305, sealed: &[u8], bound_to: &[u8]) -> Option<Vec<u8>> {
    let (nonce, text) = sealed.split_at_checked(NONCE)?;
    let payload = Payload {
        msg: text,
        aad: bound_to,
    };
    cipher.decrypt(XNonce::from_slice(nonce), payload).ok()
}

fn wrapped_keys(connection: &Connection) -> rusqlite::Result<Vec<Wrapped>> {
    let mut statement = connection.prepare("SELECT organization, master, wrapped FROM data_keys")?;
    statement.query_map([], Wrapped::read)?.collect()
}

fn plain_secrets(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<(String, String, String)>> {
    let sql = "SELECT organization, name, body FROM resources WHERE kind = ?1 AND body LIKE '{%'";
    let mut statement = transaction.prepare(sql)?;
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    statement.query_map(params![Secret::KIND], row)?.collect()
}

fn damaged(row: Row<'_>) -> StoreError {
    StoreError::Unsealed {
        kind: "secret",
        name: row.name.to_owned(),
    }
}
