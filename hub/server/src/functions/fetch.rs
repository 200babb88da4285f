//! A function's source from where its author keeps it: one GET, bounded in time, size and redirects, and only from
//! where the hub may be sent (`reach.rs`).

use std::sync::Arc;
use std::time::Duration;

use dispatch_sink_process::MAX_ARCHIVE;
use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};

use super::reach::Reach;
use crate::rest::error::ApiError;

const PATIENCE: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: usize = 5;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Fetches a source: an archive as it is, a file with the name it has there.
pub(super) async fn fetch(text: &str, reach: &Reach) -> Result<Vec<u8>, ApiError> {
    let refused = |problem: String| ApiError::bad_request(format!("sourceURL {problem}"));
    let url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.ok_or_else(|| refused("must begin with http:// or https://".to_owned()))?;
    reach
        .check(&url)
        .map_err(|e| refused(format!("cannot be fetched: {e}")))?;
    let name = url
        .path_segments()
        .and_then(|mut parts| parts.next_back())
        .filter(|name| !name.is_empty() && !name.contains('%'))
        .unwrap_or("handler")
        .to_owned();
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Somebody else may have just done so.
        let ring = rustls::crypto::ring::default_provider();
        ring.install_default().unwrap_or_default();
    }
    let client = Client::builder()
        .timeout(PATIENCE)
        .redirect(redirects(reach.clone()))
        .dns_resolver(Arc::new(reach.clone()))
        .build()
        .map_err(|error| {
            tracing::error!(%error, "no HTTP client");
            ApiError::internal("sourceURL cannot be fetched: no HTTP client")
        })?;
    // Without the address: it may hold a password.
    let asked = client.get(url).send().await.map_err(reqwest::Error::without_url);
    let answer = asked.map_err(|e| refused(format!("cannot be fetched: {}", chain(&e))))?;
    if !answer.status().is_success() {
        return Err(refused(format!(
            "cannot be fetched: the server answered {}",
            answer.status()
        )));
    }
    let bytes = body(answer).await?;
    match bytes.is_empty() || bytes.starts_with(&GZIP) {
        true => Ok(bytes),
        false => packed(&name, &bytes).map_err(|e| refused(format!("cannot be kept: {e}"))),
    }
}

fn redirects(reach: Reach) -> Policy {
    Policy::custom(move |next| match reach.check(next.url()) {
        Ok(()) if next.previous().len() > MAX_REDIRECTS => next.error("too many redirects"),
        Ok(()) => next.follow(),
        Err(refused) => next.error(refused),
    })
}

async fn body(mut answer: Response) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    loop {
        let part = answer.chunk().await.map_err(reqwest::Error::without_url);
        match part {
            Ok(Some(part)) => bytes.extend_from_slice(&part),
            Ok(None) => return Ok(bytes),
            Err(error) => {
                let text = format!("sourceURL cannot be fetched: {}", chain(&error));
                return Err(ApiError::bad_request(text));
            }
        }
        if bytes.len() > MAX_ARCHIVE {
            let text = format!("the source is too large: sourceURL has more than {MAX_ARCHIVE} bytes");
            return Err(ApiError::too_large(text));
        }
    }
}

/// A file with its name, as an archive.
fn packed(name: &str, content: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, content)?;
    archive.into_inner()?.finish()
}

/// An error with what lies below it: the library says little at the top.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        text = format!("{text}: {error}");
        below = error.source();
    }
    text
}
