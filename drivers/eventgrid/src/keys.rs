//! The keys of an identity provider, as its OpenID configuration names them.
//!
//! They are read when the first token comes and kept for a day. A token with a key that is not among them makes them
//! be read again, but not more often than every half minute, so strangers cannot make this driver a burden to the
//! provider. Who has a known key never waits for that.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use dispatch_driver_sdk::outgoing;
use jsonwebtoken::DecodingKey;
use reqwest::Client;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use crate::web::{self, WebError};

const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);
const AT_MOST_EVERY: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(5);
const MOST_BYTES: usize = 256 << 10;
const MOST_KEYS: usize = 100;

/// Why a key is not to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    /// The provider has none of that name.
    #[error("is signed with a key that the issuer does not have")]
    Unknown,
    /// The provider did not tell.
    #[error("cannot be checked: {0}")]
    Web(#[from] WebError),
    /// What the provider told cannot be used.
    #[error("cannot be checked: the issuer's OpenID configuration {0}")]
    Configuration(String),
}

/// The keys of one issuer.
#[derive(Debug)]
pub(crate) struct Keys {
    issuer: Url,
    client: Client,
    held: RwLock<Arc<Held>>,
    /// When they were last asked for, and what came of it; held while they are.
    asked: Mutex<Option<(Instant, KeyError)>>,
}

#[derive(Debug, Default)]
struct Held {
    keys: HashMap<String, DecodingKey>,
    since: Option<Instant>,
}

#[derive(Debug, serde::Deserialize)]
struct Configuration {
    issuer: String,
    jwks_uri: String,
}

#[derive(Debug, serde::Deserialize)]
struct KeySet {
    keys: Vec<PublicKey>,
}

#[derive(Debug, serde::Deserialize)]
struct PublicKey {
    kid: Option<String>,
    kty: String,
    #[serde(rename = "use")]
    purpose: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl Keys {
    /// Nobody is asked yet.
    pub(crate) fn of(issuer: Url) -> Result<Self, reqwest::Error> {
        Ok(Self {
            issuer,
            client: outgoing(TIMEOUT)?,
            held: RwLock::default(),
            asked: Mutex::default(),
        })
    }

    /// The key of that name.
    pub(crate) async fn get(&self, name: &str) -> Result<DecodingKey, KeyError> {
        if let Some(key) = self.known(name) {
            return Ok(key);
        }
        let mut asked = self.asked.lock().await;
        // Another may have asked meanwhile.
        if let Some(key) = self.known(name) {
            return Ok(key);
        }
        if let Some((at, error)) = asked.as_ref().filter(|(at, _)| at.elapsed() < AT_MOST_EVERY) {
            tracing::debug!(ago = ?at.elapsed(), "the issuer's keys are not read again yet");
            return Err(error.clone());
        }
        let keys = match self.read().await {
            Ok(keys) => keys,
            Err(error) => {
                *asked = Some((Instant::now(), error.clone()));
                return Err(error);
            }
        };
        *asked = Some((Instant::now(), KeyError::Unknown));
        tracing::info!(keys = keys.len(), issuer = %self.issuer, "the issuer's keys are read");
        let held = Held {
            keys,
            since: Some(Instant::now()),
        };
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(held);
        self.known(name).ok_or(KeyError::Unknown)
    }

    /// How many the issuer has now; those that are kept stay as they are.
    pub(crate) async fn count(&self) -> Result<usize, KeyError> {
        self.read().await.map(|keys| keys.len())
    }

    fn known(&self, name: &str) -> Option<DecodingKey> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner).clone();
        let is_fresh = held.since.is_some_and(|since| since.elapsed() < KEPT_FOR);
        held.keys.get(name).filter(|_| is_fresh).cloned()
    }

    async fn read(&self) -> Result<HashMap<String, DecodingKey>, KeyError> {
        let bare = self.issuer.as_str().trim_end_matches('/');
        let place = format!("{bare}/.well-known/openid-configuration");
        let configuration: Configuration = web::json(self.client.get(place), MOST_BYTES).await?;
        if configuration.issuer.trim_end_matches('/') != bare {
            let problem = format!("is that of {:?}", configuration.issuer);
            return Err(KeyError::Configuration(problem));
        }
        let place = Url::parse(&configuration.jwks_uri)
            .ok()
            .filter(web::is_secure)
            .ok_or_else(|| KeyError::Configuration("has no jwks_uri that begins with https://".to_owned()))?;
        let set: KeySet = web::json(self.client.get(place), MOST_BYTES).await?;
        let usable = set.keys.into_iter().take(MOST_KEYS).filter_map(usable);
        Ok(usable.collect())
    }
}

/// RSA keys for signatures; others are nothing to this driver.
fn usable(key: PublicKey) -> Option<(String, DecodingKey)> {
    let for_signatures = key.purpose.as_deref().is_none_or(|purpose| purpose == "sig");
    if key.kty != "RSA" || !for_signatures {
        return None;
    }
    let made = DecodingKey::from_rsa_components(&key.n?, &key.e?).ok()?;
    Some((key.kid?, made))
}

#[cfg(test)]
mod tests {
    use dispatch_fixtures::eventgrid::Entra;
    use dispatch_fixtures::rsa::RsaKey;

    use super::*;

    async fn pass(time: Duration) {
        tokio::time::pause();
        tokio::time::advance(time).await;
        tokio::time::resume();
    }

    #[tokio::test]
    async fn a_new_key_is_found_and_the_issuer_asked_at_most_twice_a_minute_and_once_a_day() {
        let entra = Entra::start().await.unwrap();
        let keys = Keys::of(entra.issuer().parse().unwrap()).unwrap();
        keys.get("k1").await.unwrap();
        entra.publish("k2", RsaKey::second().unwrap());

        for _ in 0..10 {
            assert_eq!(keys.get("k2").await.err(), Some(KeyError::Unknown));
        }
        assert_eq!(entra.reads(), 1);
        pass(AT_MOST_EVERY).await;
        keys.get("k2").await.unwrap();
        assert_eq!(entra.reads(), 2);

        pass(KEPT_FOR).await;
        keys.get("k1").await.unwrap();
        keys.get("k2").await.unwrap();
        assert_eq!(entra.reads(), 3);
    }

    #[tokio::test]
    async fn the_configuration_of_another_issuer_is_not_believed() {
        let entra = Entra::start().await.unwrap();
        let other = entra.issuer().replace("127.0.0.1", "localhost");
        let keys = Keys::of(other.parse().unwrap()).unwrap();
        let error = keys.get("k1").await.err().unwrap();
        assert!(matches!(error, KeyError::Configuration(_)), "{error}");
        assert_eq!(entra.reads(), 0);
    }
}
