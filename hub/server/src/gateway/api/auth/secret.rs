//! The values of a named secret, as they were within the last second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use dispatch_contract::{ExposeSecret as _, SecretString};
use dispatch_store::Store;
use ring::hmac;

use super::Refused;
use crate::functions::{SecretsError, secret_values};

/// How long they are taken for the same, so that not every request asks the store.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// A secret by its name.
#[derive(Debug)]
pub(in crate::gateway::api) struct Values {
    names: [String; 1],
    known: ArcSwapOption<(Instant, Known)>,
}

/// The values, and what compares with them without telling how much of one was right.
pub(super) type Known = Arc<Entries>;

/// Entries of a secret.
#[derive(Debug)]
pub(super) struct Entries {
    pub(super) values: BTreeMap<String, SecretString>,
    /// Random; two texts are the same if their tags under it are.
    key: hmac::Key,
}

impl Values {
    pub(super) fn of(name: &str) -> Self {
        Self {
            names: [name.to_owned()],
            known: ArcSwapOption::empty(),
        }
    }

    /// The values now.
    pub(super) async fn get(&self, store: &Store, organization: &str) -> Result<Known, Refused> {
        if let Some(known) = self.known.load_full()
            && known.0.elapsed() < FRESH_FOR
        {
            return Ok(known.1.clone());
        }
        let values = match secret_values(store, organization, self.names.iter()).await {
            Ok(values) => values,
            Err(error) => {
                let secret = &self.names[0];
                match error {
                    SecretsError::Missing(reason) => {
                        tracing::warn!(
                            organization,
                            secret,
                            reason,
                            "callers of an API cannot be checked"
                        );
                    }
                    SecretsError::Store(error) => {
                        tracing::error!(organization, secret, %error, "callers of an API cannot be checked");
                    }
                }
                return Err(Refused::Unchecked);
            }
        };
        let known = Arc::new(Entries::of(values).ok_or(Refused::Unchecked)?);
        self.known.store(Some(Arc::new((Instant::now(), known.clone()))));
        Ok(known)
    }
}

impl Entries {
    pub(super) fn of(values: BTreeMap<String, SecretString>) -> Option<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &ring::rand::SystemRandom::new()).ok()?;
        Some(Self { values, key })
    }

    /// The name of the entry with this value. Every entry is looked at, whatever was found before.
    pub(super) fn named(&self, said: &[u8]) -> Option<&str> {
        let mut found = None;
        for (name, value) in &self.values {
            if self.is(value, said) {
                found = Some(name.as_str());
            }
        }
        found.filter(|_| !said.is_empty())
    }

    /// Whether this is the value, in constant time.
    pub(super) fn is(&self, value: &SecretString, said: &[u8]) -> bool {
        let tag = hmac::sign(&self.key, value.expose_secret().as_bytes());
        hmac::verify(&self.key, said, tag.as_ref()).is_ok()
    }
}

#[cfg(test)]
pub(super) fn entries(pairs: &[(&str, &str)]) -> Entries {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), SecretString::from(*value));
    Entries::of(pairs.iter().map(pair).collect()).unwrap()
}
