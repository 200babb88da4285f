//! A key set (JWKS) at an address: read when the first token comes, kept for a while, read again for a key that is
//! not in it.
//!
//! However many strangers send tokens with keys nobody knows, the address is asked at most every half minute, by
//! one request at a time; who has a known key never waits for that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use jsonwebtoken::jwk::JwkSet;
use reqwest::Client;
use tokio::sync::Mutex;

use super::Refused;
use super::jwt::{Key, of_set};

const KEPT_FOR: Duration = Duration::from_secs(600);
const AT_MOST_EVERY: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(5);
const MOST_BYTES: usize = 256 << 10;

/// The keys at one address.
pub(super) struct KeySet {
    url: String,
    held: ArcSwapOption<(Instant, Arc<[Key]>)>,
    /// When the address was last asked; held while it is.
    asked: Mutex<Option<Instant>>,
}

impl KeySet {
    pub(super) fn at(url: String) -> Self {
        Self {
            url,
            held: ArcSwapOption::empty(),
            asked: Mutex::default(),
        }
    }

    /// The keys, with the one of this name if it is to be had.
    pub(super) async fn keys(&self, name: Option<&str>) -> Result<Arc<[Key]>, Refused> {
        if let Some(keys) = self.known(name) {
            return Ok(keys);
        }
        let mut asked = self.asked.lock().await;
        // Another may have asked meanwhile.
        if let Some(keys) = self.known(name) {
            return Ok(keys);
        }
        let held = self.held.load_full();
        if asked.is_none_or(|at| at.elapsed() >= AT_MOST_EVERY) {
            *asked = Some(Instant::now());
            match read(&self.url).await {
                Ok(keys) => {
                    let keys: Arc<[Key]> = keys.into();
                    tracing::info!(keys = keys.len(), url = self.url, "the keys for tokens are read");
                    self.held.store(Some(Arc::new((Instant::now(), keys.clone()))));
                    return Ok(keys);
                }
                Err(error) => tracing::warn!(url = self.url, error, "the keys for tokens cannot be read"),
            }
        }
        // Old keys are better than none: who issues tokens may be away for a moment.
        held.map(|held| held.1.clone()).ok_or(Refused::Unchecked)
    }

    fn known(&self, name: Option<&str>) -> Option<Arc<[Key]>> {
        let held = self.held.load_full()?;
        let has = |name: &str| {
            held.1
                .iter()
                .any(|key| key.name.as_deref().is_none_or(|key| key == name))
        };
        (held.0.elapsed() < KEPT_FOR && name.is_none_or(has)).then(|| held.1.clone())
    }
}

async fn read(url: &str) -> Result<Vec<Key>, String> {
    // A second call finds the provider installed already, which is all that is wanted.
    rustls::crypto::ring::default_provider().install_default().ok();
    let client = Client::builder()
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| error.to_string())?;
    let mut response = client
        .get(url)
        .send()
        .await
        .map_err(|error| error.without_url().to_string())?;
    if !response.status().is_success() {
        return Err(format!("it answered {}", response.status()));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| error.without_url().to_string())?
    {
        if bytes.len() + chunk.len() > MOST_BYTES {
            return Err(format!("it is longer than {MOST_BYTES} bytes"));
        }
        bytes.extend_from_slice(&chunk);
    }
    let set: JwkSet = serde_json::from_slice(&bytes).map_err(|error| format!("it is no key set: {error}"))?;
    let keys = of_set(&set, false);
    match keys.is_empty() {
        true => Err("it has no key that can be used".to_owned()),
        false => Ok(keys),
    }
}
