//! Signatures of tokens checked by ring, for `jsonwebtoken`: RSA, ECDSA, Ed25519 and HMAC. Nothing is signed here.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::hmac;
use ring::signature as by_ring;
use ring::signature::{RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};

/// Once per process; whoever came first is fine.
pub(super) fn install() {
    static PROVIDER: CryptoProvider = CryptoProvider {
        signer_factory: no_signer,
        verifier_factory: verifier,
        key_utils: KeyUtils::new_unimplemented(),
    };
    PROVIDER.install_default().ok();
}

fn no_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    Err(ErrorKind::InvalidAlgorithm.into())
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    Ok(Box::new(Checked {
        algorithm: *algorithm,
        key: key.kind().clone(),
    }))
}

struct Checked {
    algorithm: Algorithm,
    key: DecodingKeyKind,
}

impl Checked {
    fn holds(&self, signed: &[u8], tag: &[u8]) -> Option<()> {
        match self.algorithm {
            Algorithm::HS256 => self.hmac(hmac::HMAC_SHA256, signed, tag),
            Algorithm::HS384 => self.hmac(hmac::HMAC_SHA384, signed, tag),
            Algorithm::HS512 => self.hmac(hmac::HMAC_SHA512, signed, tag),
            Algorithm::RS256 => self.rsa(&by_ring::RSA_PKCS1_2048_8192_SHA256, signed, tag),
            Algorithm::RS384 => self.rsa(&by_ring::RSA_PKCS1_2048_8192_SHA384, signed, tag),
            Algorithm::RS512 => self.rsa(&by_ring::RSA_PKCS1_2048_8192_SHA512, signed, tag),
            Algorithm::PS256 => self.rsa(&by_ring::RSA_PSS_2048_8192_SHA256, signed, tag),
            Algorithm::PS384 => self.rsa(&by_ring::RSA_PSS_2048_8192_SHA384, signed, tag),
            Algorithm::PS512 => self.rsa(&by_ring::RSA_PSS_2048_8192_SHA512, signed, tag),
            Algorithm::ES256 => self.public(&by_ring::ECDSA_P256_SHA256_FIXED, signed, tag),
            Algorithm::ES384 => self.public(&by_ring::ECDSA_P384_SHA384_FIXED, signed, tag),
            Algorithm::EdDSA => self.public(&by_ring::ED25519, signed, tag),
            #[allow(unreachable_patterns, reason = "the library may learn more of them")]
            _ => None,
        }
    }

    fn bytes(&self) -> Option<&[u8]> {
        match &self.key {
            DecodingKeyKind::SecretOrDer(bytes) => Some(bytes),
            DecodingKeyKind::RsaModulusExponent { .. } => None,
        }
    }

    fn hmac(&self, algorithm: hmac::Algorithm, signed: &[u8], tag: &[u8]) -> Option<()> {
        let key = hmac::Key::new(algorithm, self.bytes()?);
        hmac::verify(&key, signed, tag).ok()
    }

    fn rsa(&self, algorithm: &'static RsaParameters, signed: &[u8], tag: &[u8]) -> Option<()> {
        match &self.key {
            DecodingKeyKind::RsaModulusExponent { n, e } => RsaPublicKeyComponents { n, e }
                .verify(algorithm, signed, tag)
                .ok(),
            DecodingKeyKind::SecretOrDer(_) => self.public(algorithm, signed, tag),
        }
    }

    fn public(&self, algorithm: &'static dyn VerificationAlgorithm, signed: &[u8], tag: &[u8]) -> Option<()> {
        UnparsedPublicKey::new(algorithm, self.bytes()?)
            .verify(signed, tag)
            .ok()
    }
}

impl Verifier<Vec<u8>> for Checked {
    fn verify(&self, signed: &[u8], tag: &Vec<u8>) -> Result<(), signature::Error> {
        self.holds(signed, tag).ok_or_else(signature::Error::new)
    }
}

impl JwtVerifier for Checked {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
