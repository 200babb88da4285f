//! Whom to believe: the machine's roots, certificates of one's own, one pinned certificate, or (loudly) anybody.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest as _, Sha256};

use crate::config::{Roots, Thumbprint, Trust};

/// Why there is no TLS to speak: the settings are wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrustError {
    /// The CA file is not there.
    #[error("--ca: cannot read {path:?}", path = .0)]
    File(PathBuf, #[source] std::io::Error),
    /// The CA file or text holds nothing to trust.
    #[error("--ca: {0}")]
    Pem(String),
    /// The machine itself trusts nobody.
    #[error("this machine has no root certificates; give --ca or --thumbprint")]
    NoRoots,
    /// The HTTP client cannot be set up.
    #[error("cannot set up the HTTP client: {0}")]
    Client(String),
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
}

/// The TLS settings of a client.
pub(crate) fn client_config(trust: &Trust) -> Result<ClientConfig, TrustError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = match roots(&trust.roots)? {
        Some(roots) => {
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
            Some(verifier.build().map_err(|e| TrustError::Pem(e.to_string()))?)
        }
        None => None,
    };
    let verifier = Verifier {
        chain,
        thumbprint: trust.thumbprint.clone(),
        provider: provider.clone(),
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(config)
}

/// Says what to do about a certificate that nobody who is trusted has signed: most vCenters have one of their own.
fn explained(error: rustls::Error, certificate: &CertificateDer<'_>) -> rustls::Error {
    let unsigned = matches!(
        error,
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)
    );
    if !unsigned {
        return error;
    }
    let seen = hex(&Sha256::digest(certificate));
    rustls::Error::General(format!(
        "{error}: no authority that is trusted has signed the server's certificate; give its authority with --ca, or \
         pin the certificate: --thumbprint={seen}, if that is really the server's"
    ))
}

fn roots(roots: &Roots) -> Result<Option<RootCertStore>, TrustError> {
    let pem = match roots {
        Roots::Unchecked | Roots::Anybody => return Ok(None),
        Roots::System => {
            let mut store = RootCertStore::empty();
            let found = rustls_native_certs::load_native_certs();
            let (added, _) = store.add_parsable_certificates(found.certs);
            return if added == 0 {
                Err(TrustError::NoRoots)
            } else {
                Ok(Some(store))
            };
        }
        Roots::File(path) => std::fs::read(path).map_err(|e| TrustError::File(path.clone(), e))?,
        Roots::Pem(text) => text.clone().into_bytes(),
    };
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|e| TrustError::Pem(format!("is not PEM: {e}")))?;
        store
            .add(certificate)
            .map_err(|e| TrustError::Pem(format!("holds a certificate nobody can use: {e}")))?;
    }
    match store.is_empty() {
        true => Err(TrustError::Pem("holds no certificate".to_owned())),
        false => Ok(Some(store)),
    }
}

/// Checks the chain, the thumbprint, both or nothing; always that the peer holds the certificate's key.
#[derive(Debug)]
struct Verifier {
    chain: Option<Arc<WebPkiServerVerifier>>,
    thumbprint: Option<Thumbprint>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(wanted) = &self.thumbprint
            && !matches(wanted, end_entity)
        {
            let seen = hex(&Sha256::digest(end_entity));
            return Err(rustls::Error::General(format!(
                "the server's certificate is not the pinned one; its SHA-256 thumbprint is {seen}"
            )));
        }
        match &self.chain {
            Some(chain) => {
                let checked =
                    chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
                checked.map_err(|error| explained(error, end_entity))
            }
            None if end_entity.is_empty() => Err(CertificateError::BadEncoding.into()),
            None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn matches(wanted: &Thumbprint, certificate: &[u8]) -> bool {
    match wanted {
        Thumbprint::Sha256(digest) => Sha256::digest(certificate).as_slice() == digest,
        Thumbprint::Sha1(digest) => sha1_smol::Sha1::from(certificate).digest().bytes() == *digest,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|b| format!("{b:02X}"))
        .collect::<Vec<_>>()
        .join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(roots: Roots) -> Result<ClientConfig, TrustError> {
        client_config(&Trust {
            roots,
            thumbprint: None,
        })
    }

    #[test]
    fn a_ca_that_cannot_be_used_is_named() {
        let table = [
            (
                Roots::File("/no/such/ca.pem".into()),
                "--ca: cannot read \"/no/such/ca.pem\"",
            ),
            (Roots::Pem("nothing".to_owned()), "--ca: holds no certificate"),
        ];
        for (roots, message) in table {
            assert_eq!(with(roots).unwrap_err().to_string(), message);
        }
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(
            with(Roots::Pem(broken.to_owned()))
                .unwrap_err()
                .to_string()
                .starts_with("--ca: holds a certificate")
        );
    }

    #[test]
    fn thumbprints_are_of_the_whole_certificate() {
        let sha1 = [
            0xaa, 0xf4, 0xc6, 0x1d, 0xdc, 0xc5, 0xe8, 0xa2, 0xda, 0xbe, 0xde, 0x0f, 0x3b, 0x48, 0x2c, 0xd9,
            0xae, 0xa9, 0x43, 0x4d,
        ];
        assert!(matches(&Thumbprint::Sha1(sha1), b"hello"));
        assert!(!matches(&Thumbprint::Sha1(sha1), b"hellO"));
        assert!(matches(
            &Thumbprint::Sha256(Sha256::digest(b"hello").into()),
            b"hello"
        ));
    }
}
