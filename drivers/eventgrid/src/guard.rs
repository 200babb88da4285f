//! Who may send to the web hook: who knows the shared secret, and whose bearer token Entra signed.

use dispatch_driver_sdk::{Arrival, ExposeSecret as _, SecretString, SettingError};
use http::{HeaderName, Method};
use ring::hmac::{self, HMAC_SHA256, Key};

use crate::token::{TokenError, Tokens};

/// All that is asked of a request; at least one of the two.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) secret: Option<Secret>,
    pub(crate) tokens: Option<Tokens>,
}

/// Why a request is not let in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stranger {
    #[error("the shared secret is missing or wrong")]
    Secret,
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl Guard {
    /// Both must be right when both are set. The handshake of CloudEvents needs no token: consent says only that
    /// deliveries may come, and each of them is looked at.
    pub(crate) async fn admit(&self, arrival: &Arrival) -> Result<(), Stranger> {
        if self.secret.as_ref().is_some_and(|secret| !secret.is_in(arrival)) {
            return Err(Stranger::Secret);
        }
        match &self.tokens {
            Some(tokens) if arrival.method != Method::OPTIONS => {
                Ok(tokens.admit(arrival.header("authorization")).await?)
            }
            _ => Ok(()),
        }
    }
}

/// What Event Grid must know; several while they are changed.
#[derive(Debug)]
pub(crate) struct Secret {
    keys: Vec<Key>,
    header: HeaderName,
}

impl Secret {
    /// Secrets with commas between them.
    pub(crate) fn new(secrets: &SecretString, header: Option<&str>) -> Result<Self, SettingError> {
        let secrets = secrets.expose_secret().split(',').map(str::trim);
        let keys: Vec<Key> = secrets
            .filter(|secret| !secret.is_empty())
            .map(|secret| Key::new(HMAC_SHA256, secret.as_bytes()))
            .collect();
        if keys.is_empty() {
            return Err(SettingError::invalid("shared-secret", "must not be empty"));
        }
        let header = header.unwrap_or("authorization");
        let header = header.parse().map_err(|_| {
            SettingError::invalid("secret-header", format!("{header:?} is not the name of a header"))
        })?;
        Ok(Self { keys, header })
    }

    /// The query parameter `secret`, or the header, with or without `Bearer`.
    fn is_in(&self, arrival: &Arrival) -> bool {
        let query = arrival.uri.query().unwrap_or_default();
        let mut given = url::form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == "secret");
        if let Some((_, secret)) = given.next() {
            return self.knows(&secret);
        }
        let header = arrival.header(self.header.as_str());
        header.is_some_and(|value| self.knows(value.strip_prefix("Bearer ").unwrap_or(value).trim()))
    }

    /// In constant time: both are the key of an HMAC over the same bytes.
    fn knows(&self, given: &str) -> bool {
        const OVER: &[u8] = b"the same secret";
        let tag = hmac::sign(&Key::new(HMAC_SHA256, given.as_bytes()), OVER);
        self.keys
            .iter()
            .any(|key| hmac::verify(key, OVER, tag.as_ref()).is_ok())
    }
}
