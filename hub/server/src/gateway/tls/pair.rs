//! A certificate with those above it and its key: two files, read together or not at all.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::verify_server_name;
use rustls::crypto::ring;
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::CertificateError;

/// Where a certificate and its key are, and which settings say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    /// The settings' names, of the certificate and of the key.
    pub(super) settings: [&'static str; 2],
}

impl Files {
    /// When they were last changed.
    pub(super) fn seen(&self) -> [(PathBuf, Option<SystemTime>); 2] {
        [&self.certificate, &self.key].map(|file| (file.clone(), changed(file)))
    }

    pub(super) fn read(&self) -> Result<Arc<CertifiedKey>, CertificateError> {
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
            settings: self.settings,
            reason: error.to_string(),
        })?;
        Ok(Arc::new(pair))
    }

    pub(super) fn of_certificate(&self, reason: String) -> CertificateError {
        CertificateError::File {
            setting: self.settings[0],
            file: self.certificate.clone(),
            reason,
        }
    }

    pub(super) fn of_key(&self, reason: String) -> CertificateError {
        CertificateError::File {
            setting: self.settings[1],
            file: self.key.clone(),
            reason,
        }
    }
}

pub(super) fn changed(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|data| data.modified()).ok()
}

/// Whether a certificate says it is for this host.
pub(super) fn is_for(pair: &CertifiedKey, host: &str) -> bool {
    let Some(Ok(certificate)) = pair.cert.first().map(ParsedCertificate::try_from) else {
        return false;
    };
    ServerName::try_from(host).is_ok_and(|host| verify_server_name(&certificate, &host).is_ok())
}
