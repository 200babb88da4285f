//! Requests of a driver to somebody else than the hub.

use std::time::Duration;

use bytes::BytesMut;
use reqwest::redirect::Policy;
use reqwest::{Client, Response};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client for a driver's own requests: TLS as everywhere here, no redirects, and no request takes longer than this
/// unless it says so itself.
pub fn outgoing(timeout: Duration) -> Result<Client, reqwest::Error> {
    crate::run::install_tls_provider();
    Client::builder()
        .redirect(Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(timeout)
        .user_agent(concat!("dispatch-driver/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Why the body of an answer is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It broke off, or took too long.
    #[error("the answer breaks off")]
    Broken(#[from] reqwest::Error),
    /// It is longer than is taken.
    #[error("the answer is longer than {0} bytes")]
    TooLarge(usize),
}

/// The body of an answer, of at most so many bytes.
pub async fn body(response: &mut Response, most: usize) -> Result<BytesMut, BodyError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if chunk.len() > most - body.len() {
            return Err(BodyError::TooLarge(most));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
