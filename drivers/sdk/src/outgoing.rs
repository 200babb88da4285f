//! Requests of a driver to somebody else than the hub.

use std::time::Duration;

use reqwest::Client;
use reqwest::redirect::Policy;

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
