//! Certificates of SNS, fetched from SNS and kept for a day; one at a time is fetched, and a few are kept.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dispatch_driver_sdk::{BodyError, body, outgoing};
use reqwest::Client;
use tokio::time::Instant;
use url::Url;

use crate::signature::PublicKey;

/// SNS waits 15 s for an answer.
const TIMEOUT: Duration = Duration::from_secs(4);
const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);
const MOST_KEPT: usize = 16;
const MOST_BYTES: usize = 16 << 10;

/// The outside, as far as SNS has something there.
#[derive(Debug)]
pub(crate) struct Certificates {
    client: Client,
    kept: Mutex<Vec<Kept>>,
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone)]
struct Kept {
    url: Url,
    key: PublicKey,
    since: Instant,
}

impl Certificates {
    /// None yet.
    pub(crate) fn new() -> Result<Self, reqwest::Error> {
        Ok(Self {
            client: outgoing(TIMEOUT)?,
            kept: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        })
    }

    /// The key of the certificate there.
    pub(crate) async fn key(&self, url: &Url) -> Result<PublicKey, String> {
        if let Some(key) = self.known(url) {
            return Ok(key);
        }
        let _one_at_a_time = self.fetching.lock().await;
        if let Some(key) = self.known(url) {
            return Ok(key);
        }
        let pem = self.fetch(url).await?;
        let key = PublicKey::of_certificate(&pem)?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|one| one.url != *url);
        if kept.len() >= MOST_KEPT {
            kept.remove(0);
        }
        kept.push(Kept {
            url: url.clone(),
            key: key.clone(),
            since: Instant::now(),
        });
        Ok(key)
    }

    fn known(&self, url: &Url) -> Option<PublicKey> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().find(|one| one.url == *url)?;
        (found.since.elapsed() < KEPT_FOR).then(|| found.key.clone())
    }

    /// What is there, if it is little. Also how a subscription is confirmed.
    pub(crate) async fn fetch(&self, url: &Url) -> Result<Vec<u8>, String> {
        let unreachable = |error: reqwest::Error| format!("cannot be fetched: {}", error.without_url());
        let mut response = self.client.get(url.clone()).send().await.map_err(unreachable)?;
        if !response.status().is_success() {
            return Err(format!("cannot be fetched: {}", response.status()));
        }
        match body(&mut response, MOST_BYTES).await {
            Ok(body) => Ok(body.into()),
            Err(BodyError::Broken(error)) => Err(unreachable(error)),
            Err(BodyError::TooLarge(most)) => Err(format!("has more than {most} bytes")),
        }
    }
}
