//! The gateway's certificate: given, or made by the hub itself on its first start and kept with its data.
//!
//! Connections get whichever is current when they begin. The files are looked at every few seconds and on every
//! reload; a pair that cannot be used, for instance half written, leaves the one before in place and is told in the
//! log.

use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::config::ServerConfig;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// What others speak behind it.
const HTTP_1: &[u8] = b"http/1.1";

/// The certificate as it is now.
#[derive(Debug)]
pub(crate) struct Certificate {
    files: Files,
    now: ArcSwap<CertifiedKey>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// When the files were last changed, as far as it was seen.
type Seen = [Option<SystemTime>; 2];

/// Why a certificate cannot be used. One line, with the setting.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    /// One of the two alone is nothing.
    #[error("gateway-tls-cert and gateway-tls-key go together: {0} is missing")]
    Half(&'static str),
    /// A file cannot be read, or holds something else.
    #[error("{} ({setting}) cannot be used: {reason}", file.display())]
    File {
        setting: &'static str,
        file: PathBuf,
        reason: String,
    },
    /// The two are not of each other.
    #[error("{} (gateway-tls-key) is not the key of {} (gateway-tls-cert): {reason}", key.display(), certificate.display())]
    Pair {
        certificate: PathBuf,
        key: PathBuf,
        reason: String,
    },
}

impl Certificate {
    /// Reads the given one, or the hub's own, which is made if there is none. Blocks.
    pub(crate) fn open(config: &ServerConfig) -> Result<Arc<Self>, CertificateError> {
        let files = match (&config.gateway_tls_cert, &config.gateway_tls_key) {
            (Some(certificate), Some(key)) => Files {
                certificate: certificate.clone(),
                key: key.clone(),
            },
            (None, None) => own(config)?,
            (Some(_), None) => return Err(CertificateError::Half("gateway-tls-key")),
            (None, Some(_)) => return Err(CertificateError::Half("gateway-tls-cert")),
        };
        let seen = files.seen();
        let now = files.read()?;
        Ok(Arc::new(Self {
            files,
            now: ArcSwap::from_pointee(now),
            seen: Mutex::new(seen),
        }))
    }

    /// Takes connections with whichever certificate is current.
    pub(crate) fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, rustls::Error> {
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![HTTP_1.to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Reads the files again if they have changed; says whether there is another certificate now. Blocks for a moment.
    pub(crate) fn reread(&self) -> Result<bool, CertificateError> {
        let seen = self.files.seen();
        {
            let mut before = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *before == seen {
                return Ok(false);
            }
            *before = seen;
        }
        let read = self.files.read()?;
        self.now.store(Arc::new(read));
        Ok(true)
    }

    /// The same every few seconds until the hub stops.
    pub(crate) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
            match self.reread() {
                Ok(true) => tracing::info!("the gateway's certificate was read again"),
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "the gateway's certificate stays as it was"),
            }
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.now.load_full())
    }
}

impl Files {
    fn seen(&self) -> Seen {
        let changed = |file: &Path| std::fs::metadata(file).and_then(|data| data.modified()).ok();
        [changed(&self.certificate), changed(&self.key)]
    }

    fn read(&self) -> Result<CertifiedKey, CertificateError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect)
            .map_err(|error| self.of_certificate(error.to_string()))?;
        if chain.is_empty() {
            return Err(self.of_certificate("it has no certificate".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| self.of_key(error.to_string()))?;
        let key = ring::sign::any_supported_type(&key).map_err(|error| self.of_key(error.to_string()))?;
        let pair = CertifiedKey::new(chain, key);
        pair.keys_match().map_err(|error| CertificateError::Pair {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            reason: error.to_string(),
        })?;
        Ok(pair)
    }

    fn of_certificate(&self, reason: String) -> CertificateError {
        CertificateError::File {
            setting: "gateway-tls-cert",
            file: self.certificate.clone(),
            reason,
        }
    }

    fn of_key(&self, reason: String) -> CertificateError {
        CertificateError::File {
            setting: "gateway-tls-key",
            file: self.key.clone(),
            reason,
        }
    }
}

/// The hub's own certificate, made if there is none: for this machine's names and the gateway's.
fn own(config: &ServerConfig) -> Result<Files, CertificateError> {
    let folder = config.data.join("gateway");
    let files = Files {
        certificate: folder.join("certificate.pem"),
        key: folder.join("key.pem"),
    };
    if files.certificate.exists() && files.key.exists() {
        return Ok(files);
    }
    let made = rcgen::generate_simple_self_signed(names(config))
        .map_err(|error| files.of_certificate(error.to_string()))?;
    std::fs::create_dir_all(&folder).map_err(|error| files.of_certificate(error.to_string()))?;
    write_private(&files.key, &made.signing_key.serialize_pem())
        .map_err(|error| files.of_key(error.to_string()))?;
    std::fs::write(&files.certificate, made.cert.pem())
        .map_err(|error| files.of_certificate(error.to_string()))?;
    tracing::info!(certificate = %files.certificate.display(), "made a certificate for the gateway");
    Ok(files)
}

fn write_private(file: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(file)?.write_all(text.as_bytes())
}

fn names(config: &ServerConfig) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let public = config
        .gateway_url
        .as_ref()
        .and_then(|url| url.parse::<http::Uri>().ok());
    let public = public.as_ref().and_then(http::Uri::host);
    for name in [config.host.as_str(), machine.trim(), public.unwrap_or_default()] {
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let everywhere = name.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
        if !name.is_empty() && name.is_ascii() && !everywhere && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn config(folder: &Path) -> ServerConfig {
        ServerConfig {
            data: folder.to_owned(),
            gateway_url: Some("https://hub.example.org:444/x".to_owned()),
            host: "0.0.0.0".to_owned(),
            ..ServerConfig::default()
        }
    }

    fn leaf(certificate: &Certificate) -> Vec<u8> {
        certificate.now.load().cert[0].to_vec()
    }

    #[test]
    fn the_hub_s_own_certificate_is_made_once_and_its_key_is_for_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());

        let first = Certificate::open(&config).unwrap();
        let second = Certificate::open(&config).unwrap();

        assert_eq!(leaf(&first), leaf(&second));
        let key = folder.path().join("gateway/key.pem");
        assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(names(&config).contains(&"hub.example.org".to_owned()));
        assert!(!names(&config).contains(&"0.0.0.0".to_owned()));
    }

    #[test]
    fn another_pair_is_taken_and_half_of_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let given = |name: &str| folder.path().join(name);
        let config = ServerConfig {
            gateway_tls_cert: Some(given("c.pem")),
            gateway_tls_key: Some(given("k.pem")),
            ..config(folder.path())
        };
        let make = || rcgen::generate_simple_self_signed(vec!["a.org".to_owned()]).unwrap();
        // A file system's clock may be coarse.
        let write = |name: &str, text: String, second: u64| {
            std::fs::write(given(name), text).unwrap();
            let file = std::fs::File::options().write(true).open(given(name)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(second))
                .unwrap();
        };
        let (one, two) = (make(), make());
        write("c.pem", one.cert.pem(), 1);
        write("k.pem", one.signing_key.serialize_pem(), 1);
        let certificate = Certificate::open(&config).unwrap();
        assert!(!certificate.reread().unwrap());
        let before = leaf(&certificate);

        write("c.pem", two.cert.pem(), 2);
        let half = certificate.reread().unwrap_err().to_string();
        assert!(half.contains("gateway-tls-key"), "{half}");
        assert_eq!(leaf(&certificate), before);

        write("k.pem", two.signing_key.serialize_pem(), 2);
        assert!(certificate.reread().unwrap());
        assert_ne!(leaf(&certificate), before);
    }

    #[test]
    fn what_cannot_be_a_certificate_names_its_setting() {
        let folder = tempfile::tempdir().unwrap();
        let with = |certificate: Option<&str>, key: Option<&str>| {
            let path = |name: &str| folder.path().join(name);
            let config = ServerConfig {
                gateway_tls_cert: certificate.map(path),
                gateway_tls_key: key.map(path),
                ..config(folder.path())
            };
            Certificate::open(&config).unwrap_err().to_string()
        };
        std::fs::write(folder.path().join("text"), "no").unwrap();

        assert!(with(Some("gone"), Some("gone")).contains("(gateway-tls-cert) cannot be used"));
        assert!(with(Some("text"), Some("text")).contains("no certificate"));
        assert!(with(Some("text"), None).contains("gateway-tls-key is missing"));
        assert!(with(None, Some("text")).contains("gateway-tls-cert is missing"));
    }
}
