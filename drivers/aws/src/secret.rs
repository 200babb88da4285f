//! What a sender must know; several while they are changed one after the other.

use dispatch_driver_sdk::{ExposeSecret as _, SecretString, SettingError};
use sha2::{Digest as _, Sha256};

/// A shorter one is guessed.
const SHORTEST: usize = 16;

/// Any of them will do.
#[derive(Debug)]
pub(crate) struct Secrets(Vec<SecretString>);

impl Secrets {
    /// Checks the setting; none at all is `None`.
    pub(crate) fn new(key: &str, secrets: Vec<SecretString>) -> Result<Option<Self>, SettingError> {
        if secrets
            .iter()
            .any(|secret| secret.expose_secret().len() < SHORTEST)
        {
            let problem = format!("each has at least {SHORTEST} characters");
            return Err(SettingError::invalid(key, problem));
        }
        Ok((!secrets.is_empty()).then_some(Self(secrets)))
    }

    /// Each is compared, by digests and in full: the time says nothing about any of them.
    pub(crate) fn admit(&self, given: &str) -> bool {
        let given = Sha256::digest(given);
        let is_same = |secret: &SecretString| {
            let secret = Sha256::digest(secret.expose_secret());
            secret
                .iter()
                .zip(&given)
                .fold(0, |differ, (a, b)| differ | (a ^ b))
                == 0
        };
        self.0
            .iter()
            .fold(false, |admitted, secret| admitted | is_same(secret))
    }
}
