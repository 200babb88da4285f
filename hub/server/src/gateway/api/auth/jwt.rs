//! Signed tokens (RFC 7519) as bearer: signature, time, issuer and audience are checked, each by the kind of its key.
//!
//! The key says which algorithms it is for, never the token alone: a public key is no shared secret, whatever a token
//! claims. `exp` must be there.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use dispatch_contract::ExposeSecret as _;
use dispatch_schemas::ApiCredentials;
use dispatch_store::Store;
use http::header::{AUTHORIZATION, HeaderMap};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use serde_json::Value;

use super::jwks::KeySet;
use super::secret::{Entries, Known, Values};
use super::{Consumer, Refused, ring_keys};

/// Keys of one API; more are not looked at.
pub(super) const MOST_KEYS: usize = 100;
const MOST_BYTES: usize = 16 << 10;
/// Seconds two clocks may differ.
const LEEWAY: u64 = 60;

/// A key that checks tokens.
#[derive(Clone)]
pub(super) struct Key {
    /// As tokens name it; one without a name is tried for all.
    pub(super) name: Option<String>,
    key: DecodingKey,
}

/// Where the keys are.
enum From {
    Secret {
        values: Values,
        /// Made of the values that were there then.
        made: ArcSwapOption<(Known, Arc<[Key]>)>,
    },
    Url(KeySet),
}

/// How an API's tokens are checked.
pub(in crate::gateway::api) struct Tokens {
    from: From,
    issuer: String,
    audience: Vec<String>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

impl Tokens {
    pub(super) fn of(said: ApiCredentials) -> Self {
        ring_keys::install();
        Self {
            from: match said.jwks_url.is_empty() {
                true => From::Secret {
                    values: Values::of(&said.secret),
                    made: ArcSwapOption::empty(),
                },
                false => From::Url(KeySet::at(said.jwks_url)),
            },
            issuer: said.issuer,
            audience: said.audience,
        }
    }

    pub(super) async fn admit(
        &self,
        store: &Store,
        organization: &str,
        headers: &HeaderMap,
    ) -> Result<Consumer, Refused> {
        let token = bearer(headers)
            .ok_or_else(|| refused("a token is required, as Authorization: Bearer".to_owned()))?;
        if token.len() > MOST_BYTES {
            return Err(refused("the token is too long".to_owned()));
        }
        let header = decode_header(token).map_err(|_| refused("the token is no JWT".to_owned()))?;
        let keys = self.keys(store, organization, header.kid.as_deref()).await?;
        let fits = |key: &&Key| match (&key.name, &header.kid) {
            (Some(name), Some(said)) => name == said,
            _ => true,
        };
        let mut problem = "is signed with a key that is not known".to_owned();
        for key in keys.iter().filter(fits) {
            match decode::<Value>(token, &key.key, &self.validation(key)) {
                Ok(token) => {
                    let name = ["sub", "client_id", "azp"]
                        .iter()
                        .find_map(|claim| token.claims[claim].as_str());
                    return Ok(Consumer {
                        name: Some(name.unwrap_or("token").to_owned()),
                        claims: Some(token.claims),
                    });
                }
                Err(error) => problem = error.to_string(),
            }
        }
        Err(refused(format!("the token is refused: {problem}")))
    }

    fn validation(&self, key: &Key) -> Validation {
        let mut validation = Validation::new_for_family(key.key.family());
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.validate_aud = !self.audience.is_empty();
        let mut required = vec!["exp"];
        if !self.issuer.is_empty() {
            validation.set_issuer(&[&self.issuer]);
            required.push("iss");
        }
        if !self.audience.is_empty() {
            validation.set_audience(&self.audience);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        validation
    }

    async fn keys(
        &self,
        store: &Store,
        organization: &str,
        name: Option<&str>,
    ) -> Result<Arc<[Key]>, Refused> {
        match &self.from {
            From::Url(set) => set.keys(name).await,
            From::Secret { values, made } => {
                let known = values.get(store, organization).await?;
                if let Some(made) = made.load_full()
                    && Arc::ptr_eq(&made.0, &known)
                {
                    return Ok(made.1.clone());
                }
                let keys: Arc<[Key]> = of_entries(&known).into();
                if keys.is_empty() {
                    tracing::warn!(organization, "an API's secret has no keys for tokens");
                    return Err(Refused::Unchecked);
                }
                made.store(Some(Arc::new((known, keys.clone()))));
                Ok(keys)
            }
        }
    }
}

fn refused(message: String) -> Refused {
    Refused::Who {
        message,
        challenge: "Bearer error=\"invalid_token\"",
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The keys in a secret: key sets, public keys as PEM, and shared secrets. Those without a name are tried for every token.
fn of_entries(entries: &Entries) -> Vec<Key> {
    let mut keys = Vec::new();
    for (name, value) in &entries.values {
        let text = value.expose_secret().trim();
        if text.is_empty() {
            continue;
        }
        if let Ok(set) = serde_json::from_str::<JwkSet>(text) {
            keys.extend(of_set(&set, true));
        } else if text.starts_with("-----BEGIN") {
            let pem = text.as_bytes();
            let made = DecodingKey::from_rsa_pem(pem)
                .or_else(|_| DecodingKey::from_ec_pem(pem))
                .or_else(|_| DecodingKey::from_ed_pem(pem));
            match made {
                Ok(key) => keys.push(Key { name: None, key }),
                Err(_) => tracing::warn!(entry = name, "an API's secret has a PEM that is no public key"),
            }
        } else {
            keys.push(Key {
                name: None,
                key: DecodingKey::from_secret(text.as_bytes()),
            });
        }
    }
    keys.truncate(MOST_KEYS);
    keys
}

/// The keys of a set that are for signatures; shared secrets among them only where nobody else reads the set.
pub(super) fn of_set(set: &JwkSet, private: bool) -> Vec<Key> {
    let usable = |jwk: &Jwk| {
        let shared = matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_));
        let other_use = jwk
            .common
            .public_key_use
            .as_ref()
            .is_some_and(|purpose| *purpose != PublicKeyUse::Signature);
        if (shared && !private) || other_use {
            return None;
        }
        Some(Key {
            name: jwk.common.key_id.clone(),
            key: DecodingKey::from_jwk(jwk).ok()?,
        })
    };
    set.keys.iter().filter_map(usable).take(MOST_KEYS).collect()
}
