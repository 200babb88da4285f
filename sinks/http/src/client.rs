//! Connections, shared by all sinks: plain ones by `pool.rs`, https by hyper-util's pool with the machine's own
//! root certificates and HTTP/2 where the other side has it.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::pool::{Host, IDLE_PER_HOST, IDLE_TIME, Pool};

pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections over TLS.
pub(crate) type Secure = hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Made for the first https sink: the root certificates are many, and not every hub needs them.
type Late = LazyLock<Secure, Box<dyn FnOnce() -> Secure + Send>>;

/// A pool of connections. Cheap to clone; all clones share it.
#[derive(Clone)]
pub struct Client {
    plain: Arc<Pool>,
    secure: Arc<Late>,
}

/// How to get to one target.
pub(crate) enum Way {
    Plain(Arc<Host>),
    Secure(Box<Secure>),
}

impl Client {
    /// A client that trusts the machine's root certificates (`SSL_CERT_FILE`, `SSL_CERT_DIR`, else the system's) as
    /// they are when the first https sink is made. Without any, https sinks fail and say so; http ones work.
    pub fn new() -> Self {
        Self::late(|| secure(trusting_the_machine()))
    }

    /// A client with TLS settings of one's own.
    pub fn with_tls(tls: rustls::ClientConfig) -> Self {
        Self::late(|| secure(tls))
    }

    fn late(secure: impl FnOnce() -> Secure + Send + 'static) -> Self {
        Self {
            plain: Arc::default(),
            secure: Arc::new(Late::new(Box::new(secure))),
        }
    }

    /// Closes what was idle for long. To be called every few seconds: idle connections have no task of their own.
    pub fn tidy(&self) {
        self.plain.tidy();
    }

    pub(crate) fn way_to(&self, uri: &Uri) -> Way {
        if uri.scheme_str() == Some("https") {
            return Way::Secure(Box::new(Secure::clone(&self.secure)));
        }
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Way::Plain(self.plain.host(host, uri.port_u16().unwrap_or(80)))
    }
}

fn trusting_the_machine() -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, ignored) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        tracing::warn!(
            ignored,
            "no root certificates found: https sinks cannot be verified"
        );
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring knows TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn secure(tls: rustls::ClientConfig) -> Secure {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_only()
        .enable_all_versions()
        .wrap_connector(http);
    hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIME)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .build(connector)
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}
