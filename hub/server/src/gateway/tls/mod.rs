//! The gateway's certificates: one for everybody, given or made by the hub itself on its first start, and those of a
//! folder for the hosts they name.
//!
//! Connections get whichever is current when they begin: of the folder's the first, by file name, that is for the host
//! the client asks for, else the one for everybody. The files are looked at every few seconds and on every reload; when
//! one of them cannot be used, for instance half written, all stay as they were, and it is told in the log.

mod folder;
mod own;
mod pair;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use self::folder::FOLDER;
use self::pair::Files;
use crate::config::ServerConfig;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// What others speak behind it.
const HTTP_1: &[u8] = b"http/1.1";
/// The settings of the one for everybody.
const CERTIFICATE: &str = "gateway-tls-cert";
const KEY: &str = "gateway-tls-key";

/// The certificates as they are now.
#[derive(Debug)]
pub(crate) struct Certificates {
    /// Of the one for everybody.
    files: Files,
    folder: Option<PathBuf>,
    now: ArcSwap<Current>,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Current {
    everybody: Arc<CertifiedKey>,
    /// For the hosts they name.
    named: Vec<Arc<CertifiedKey>>,
}

/// Which files there are and when they were last changed, as far as it was seen.
type Seen = Vec<(PathBuf, Option<SystemTime>)>;

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
    #[error("{} ({}) is not the key of {} ({}): {reason}", key.display(), settings[1], certificate.display(), settings[0])]
    Pair {
        certificate: PathBuf,
        key: PathBuf,
        settings: [&'static str; 2],
        reason: String,
    },
}

impl Certificates {
    /// Reads those that are given, and the hub's own, which is made if there is none and none is given. Blocks.
    pub(crate) fn open(config: &ServerConfig) -> Result<Arc<Self>, CertificateError> {
        let files = match (&config.gateway_tls_cert, &config.gateway_tls_key) {
            (Some(certificate), Some(key)) => Files {
                certificate: certificate.clone(),
                key: key.clone(),
                settings: [CERTIFICATE, KEY],
            },
            (None, None) => own::own(config)?,
            (Some(_), None) => return Err(CertificateError::Half(KEY)),
            (None, Some(_)) => return Err(CertificateError::Half(CERTIFICATE)),
        };
        let folder = config.gateway_tls_folder.clone();
        let named = pairs(&folder)?;
        let seen = seen(&files, &named);
        let now = Current::read(&files, &named)?;
        Ok(Arc::new(Self {
            files,
            folder,
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

    /// Reads the files again if they have changed; says which settings have other certificates now.
    pub(crate) async fn reread(self: &Arc<Self>) -> Result<Vec<&'static str>, CertificateError> {
        let certificates = self.clone();
        // A folder may hold many, and lie elsewhere.
        let read = spawn_blocking(move || certificates.look());
        read.await.unwrap_or_else(|error| {
            tracing::error!(%error, "the gateway's certificates cannot be looked at");
            Ok(Vec::new())
        })
    }

    /// The same. Files that cannot be used count as not seen: what is wrong with them need not be in them (who may
    /// read them is not), so they are read until they can be. Blocks.
    fn look(&self) -> Result<Vec<&'static str>, CertificateError> {
        let mut before = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let named = pairs(&self.folder)?;
        let seen = seen(&self.files, &named);
        if *before == seen {
            return Ok(Vec::new());
        }
        self.now.store(Arc::new(Current::read(&self.files, &named)?));
        let own = self.files.seen().len();
        let settings = [
            (CERTIFICATE, before[..own] != seen[..own]),
            (FOLDER, before[own..] != seen[own..]),
        ];
        *before = seen;
        let changed = settings.into_iter().filter(|(_, changed)| *changed);
        Ok(changed.map(|(setting, _)| setting).collect())
    }

    /// The same every few seconds until the hub stops.
    pub(crate) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut told = None;
        while stop.run_until_cancelled(sleep(LOOK)).await.is_some() {
            match self.reread().await {
                Ok(changed) => {
                    told = None;
                    if !changed.is_empty() {
                        let settings = changed.join(", ");
                        tracing::info!(settings, "the gateway's certificates were read again");
                    }
                }
                // What is wrong is wrong every time it is looked at.
                Err(error) if told.as_ref() == Some(&error.to_string()) => {}
                Err(error) => {
                    tracing::error!(%error, "the gateway's certificate stays as it was");
                    told = Some(error.to_string());
                }
            }
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.now.load().of(hello.server_name()))
    }
}

impl Current {
    fn read(files: &Files, named: &[Files]) -> Result<Self, CertificateError> {
        Ok(Self {
            everybody: files.read()?,
            named: named.iter().map(Files::read).collect::<Result<_, _>>()?,
        })
    }

    fn of(&self, host: Option<&str>) -> Arc<CertifiedKey> {
        let named = host.and_then(|host| self.named.iter().find(|named| pair::is_for(named, host)));
        named.unwrap_or(&self.everybody).clone()
    }
}

fn pairs(folder: &Option<PathBuf>) -> Result<Vec<Files>, CertificateError> {
    folder.as_deref().map_or(Ok(Vec::new()), folder::pairs)
}

fn seen(everybody: &Files, named: &[Files]) -> Seen {
    [everybody]
        .into_iter()
        .chain(named)
        .flat_map(Files::seen)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    fn config(folder: &Path) -> ServerConfig {
        ServerConfig {
            data: folder.to_owned(),
            gateway_url: Some("https://hub.example.org:444/x".to_owned()),
            host: "0.0.0.0".to_owned(),
            ..ServerConfig::default()
        }
    }

    fn leaf(certificates: &Certificates, host: Option<&str>) -> Vec<u8> {
        certificates.now.load().of(host).cert[0].to_vec()
    }

    /// Writes a certificate for these hosts and its key; the certificate's bytes. A file system's clock may be coarse.
    fn write(certificate: &Path, key: &Path, hosts: &[&str], second: u64) -> Vec<u8> {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(hosts).unwrap();
        for (file, text) in [
            (certificate, made.cert.pem()),
            (key, made.signing_key.serialize_pem()),
        ] {
            std::fs::write(file, text).unwrap();
            let file = std::fs::File::options().write(true).open(file).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(second))
                .unwrap();
        }
        made.cert.der().to_vec()
    }

    #[test]
    fn the_hub_s_own_certificate_is_made_once_and_its_key_is_for_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());

        let first = Certificates::open(&config).unwrap();
        let second = Certificates::open(&config).unwrap();

        assert_eq!(leaf(&first, None), leaf(&second, None));
        let key = folder.path().join("gateway/key.pem");
        assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(own::names(&config).contains(&"hub.example.org".to_owned()));
        assert!(!own::names(&config).contains(&"0.0.0.0".to_owned()));
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
        let first = write(&given("c.pem"), &given("k.pem"), &["a.org"], 1);
        let certificates = Certificates::open(&config).unwrap();
        assert!(certificates.look().unwrap().is_empty());

        let unread = write(&given("c.pem"), &given("other.pem"), &["a.org"], 2);
        let half = certificates.look().unwrap_err().to_string();
        assert!(half.contains("(gateway-tls-key) is not the key of"), "{half}");
        assert_eq!(leaf(&certificates, None), first);
        assert!(certificates.look().is_err(), "a reload says so too");

        // As when somebody lets the hub read it, or a clock is coarse: the files' times are the same.
        std::fs::rename(given("other.pem"), given("k.pem")).unwrap();
        let file = std::fs::File::options().write(true).open(given("k.pem")).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1))
            .unwrap();
        assert_eq!(certificates.look().unwrap(), [CERTIFICATE]);
        assert_eq!(leaf(&certificates, None), unread);

        let second = write(&given("c.pem"), &given("k.pem"), &["a.org"], 3);
        assert_eq!(certificates.look().unwrap(), [CERTIFICATE]);
        assert_eq!(leaf(&certificates, None), second);
    }

    #[test]
    fn a_host_gets_the_certificate_that_names_it_and_others_the_hub_s_own() {
        let folder = tempfile::tempdir().unwrap();
        let tls = folder.path().join("tls");
        for name in ["c", "d", "..data"] {
            std::fs::create_dir_all(tls.join(name)).unwrap();
        }
        let pair = |certificate: &str, key: &str, hosts: &[&str], second| {
            write(&tls.join(certificate), &tls.join(key), hosts, second)
        };
        let a = pair("a.pem", "a.key", &["a.org", "www.a.org"], 1);
        let b = pair("b.crt", "b.key", &["*.b.org", "127.0.0.1"], 1);
        let c = pair("c/fullchain.pem", "c/privkey.pem", &["c.org"], 1);
        let d = pair("d/tls.crt", "d/tls.key", &["d.org", "a.org"], 1);
        std::fs::write(tls.join("README"), "not one").unwrap();
        let config = ServerConfig {
            gateway_tls_folder: Some(tls.clone()),
            ..config(folder.path())
        };
        let certificates = Certificates::open(&config).unwrap();
        let own = leaf(&certificates, None);

        for (host, expected) in [
            ("a.org", &a),
            ("WWW.a.org", &a),
            ("x.b.org", &b),
            ("b.org", &own),
            ("x.y.b.org", &own),
            ("c.org", &c),
            ("d.org", &d),
            ("localhost", &own),
            ("no host at all", &own),
        ] {
            assert!(leaf(&certificates, Some(host)) == *expected, "{host}");
        }

        let new = pair("e.pem", "e.key", &["e.org"], 1);
        std::fs::remove_file(tls.join("a.pem")).unwrap();
        assert_eq!(certificates.look().unwrap(), [FOLDER]);
        assert!(leaf(&certificates, Some("e.org")) == new);
        assert!(
            leaf(&certificates, Some("a.org")) == d,
            "the next one that is for it"
        );
        assert!(certificates.look().unwrap().is_empty());

        std::fs::remove_file(tls.join("e.key")).unwrap();
        let refused = certificates.look().unwrap_err().to_string();
        assert!(
            refused.contains("e.key (gateway-tls-folder) cannot be used"),
            "{refused}"
        );
        assert!(leaf(&certificates, Some("e.org")) == new, "as it was");
    }

    #[test]
    fn what_cannot_be_a_certificate_names_its_setting() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let with = |certificate: Option<&str>, key: Option<&str>, more: Option<&str>| {
            let config = ServerConfig {
                gateway_tls_cert: certificate.map(path),
                gateway_tls_key: key.map(path),
                gateway_tls_folder: more.map(path),
                ..config(folder.path())
            };
            Certificates::open(&config).unwrap_err().to_string()
        };
        std::fs::write(folder.path().join("text"), "no").unwrap();
        std::fs::create_dir(folder.path().join("hosts")).unwrap();
        std::fs::write(folder.path().join("hosts/a.pem"), "no").unwrap();

        assert!(with(Some("gone"), Some("gone"), None).contains("(gateway-tls-cert) cannot be used"));
        assert!(with(Some("text"), Some("text"), None).contains("no certificate"));
        assert!(with(Some("text"), None, None).contains("gateway-tls-key is missing"));
        assert!(with(None, Some("text"), None).contains("gateway-tls-cert is missing"));
        assert!(with(None, None, Some("nowhere")).contains("nowhere (gateway-tls-folder) cannot be used"));
        assert!(with(None, None, Some("hosts")).contains("a.pem (gateway-tls-folder) cannot be used"));
    }
}
