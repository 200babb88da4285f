//! Master keys: what the data keys of the store are wrapped with. They come from a file, or from whoever starts the hub.
//!
//! The text of both is the same: keys with white space or commas between them, the newest first. With the newest
//! everything is wrapped; the others only read, so that there is a moment in which both are known.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use chacha20poly1305::aead::OsRng;
use chacha20poly1305::aead::rand_core::RngCore as _;
use dispatch_contract::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use crate::KeyError;

/// Says what a text is, so that no password is taken for a key.
const PREFIX: &str = "dispatch-key-1:";
/// Keys of one text.
const MOST: usize = 16;
const COMMENT: &str =
    "# The key of a hub's secrets. Who has it and the data can read them; without it nobody can.\n";

/// A key of 256 bits. It does not print itself.
#[derive(Clone)]
pub(crate) struct MasterKey(SecretString);

impl MasterKey {
    /// A new one.
    pub(crate) fn generate() -> Self {
        let mut bytes = [0; 32];
        OsRng.fill_bytes(&mut bytes);
        Self(STANDARD_NO_PAD.encode(bytes).into())
    }

    /// What it is called: a part of its hash. It tells keys apart and says nothing of them.
    pub(crate) fn id(&self) -> String {
        let hash = Sha256::new()
            .chain_update("dispatch master key")
            .chain_update(self.bytes())
            .finalize();
        hash[..6].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The key itself.
    pub(crate) fn bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let decoded = STANDARD_NO_PAD.decode_slice(self.0.expose_secret(), &mut bytes);
        debug_assert_eq!(decoded, Ok(32), "checked when it was read");
        bytes
    }

    fn parse(word: &str) -> Option<Self> {
        let text = word.strip_prefix(PREFIX)?.trim_end_matches('=');
        let bytes = STANDARD_NO_PAD.decode(text).ok()?;
        (bytes.len() == 32).then(|| Self(text.to_owned().into()))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.id())
    }
}

/// Where master keys come from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// This file; made with a new key when it is not there and nothing is encrypted yet.
    File(PathBuf),
    /// The keys themselves, as text.
    Given(SecretString),
}

impl KeySource {
    /// How it is called in messages.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Given(_) => "the given secret key".to_owned(),
        }
    }

    /// The keys, newest first; none if there is no file.
    pub(crate) fn read(&self) -> Result<Vec<MasterKey>, KeyError> {
        let text: SecretString = match self {
            Self::Given(text) => text.clone(),
            Self::File(path) => match fs::read_to_string(path) {
                Ok(text) => {
                    warn_of_readers(path);
                    text.into()
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(self.unusable(error.to_string())),
            },
        };
        let lines = text
            .expose_secret()
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'));
        let words = lines.flat_map(|line| line.split(|c: char| c.is_whitespace() || c == ','));
        let mut keys = Vec::new();
        for (n, word) in words.filter(|word| !word.is_empty()).enumerate() {
            let key = MasterKey::parse(word).filter(|_| n < MOST);
            keys.push(key.ok_or_else(|| {
                self.unusable(format!(
                    "its key number {} is none: keys are {PREFIX} and 32 bytes in base64, at most {MOST} of them",
                    n + 1
                ))
            })?);
        }
        match keys.is_empty() {
            true => Err(self.unusable("it holds no key".to_owned())),
            false => Ok(keys),
        }
    }

    /// Writes these keys to the file, newest first; all or nothing.
    pub(crate) fn write(&self, keys: &[MasterKey]) -> Result<(), KeyError> {
        let Self::File(path) = self else {
            return Err(KeyError::Given);
        };
        write_file(path, keys).map_err(|error| self.unusable(error.to_string()))
    }

    fn unusable(&self, reason: String) -> KeyError {
        KeyError::Unusable {
            from: self.name(),
            reason,
        }
    }
}

fn write_file(path: &Path, keys: &[MasterKey]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&partial)?;
    file.write_all(COMMENT.as_bytes())?;
    for key in keys {
        writeln!(file, "{PREFIX}{}", key.0.expose_secret())?;
    }
    file.sync_all()?;
    fs::rename(&partial, path)?;
    File::open(folder)?.sync_all()
}

fn warn_of_readers(path: &Path) {
    let mode = fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o077 != 0 {
        let mode = format!("{:o}", mode & 0o777);
        tracing::warn!(path = %path.display(), mode, "others than its owner may read the secret key: chmod 600");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_were_written_and_only_by_their_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret.key");
        let file = KeySource::File(path.clone());
        let keys = [MasterKey::generate(), MasterKey::generate()];
        assert!(file.read().unwrap().is_empty());

        file.write(&keys).unwrap();

        let ids = |keys: &[MasterKey]| keys.iter().map(MasterKey::id).collect::<Vec<_>>();
        assert_eq!(ids(&file.read().unwrap()), ids(&keys));
        assert_ne!(keys[0].id(), keys[1].id());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let line = fs::read_to_string(&path)
            .unwrap()
            .replace(COMMENT, "")
            .replace('\n', ",");
        let given = KeySource::Given(line.into());
        assert_eq!(ids(&given.read().unwrap()), ids(&keys));
        assert!(!format!("{keys:?} {given:?}").contains(keys[0].0.expose_secret()));
    }

    #[test]
    fn what_is_no_key_is_named_by_its_place_and_not_quoted() {
        let fine = format!("{PREFIX}{}", MasterKey::generate().0.expose_secret());
        for text in [
            "",
            "# nothing",
            "OpenSesame",
            "dispatch-key-1:abc",
            &format!("{fine},OpenSesame"),
        ] {
            let error = KeySource::Given(text.to_owned().into())
                .read()
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("the given secret key") && !error.contains("Sesame"),
                "{error}"
            );
        }
    }
}
