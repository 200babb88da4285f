//! What the user writes, the checks that make a [`Plan`] of it, and who is let in.

use dispatch_contract::Event;
use dispatch_driver_sdk::{Arrival, ExposeSecret as _, SecretString, SettingError};
use http::HeaderName;
use ring::hmac::{self, HMAC_SHA256, Key};
use serde::Deserialize;

/// Settings as given.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// What Event Grid must know.
    pub shared_secret: SecretString,
    /// The header that may carry it.
    #[serde(default)]
    pub secret_header: Option<String>,
    /// `source` of the events.
    #[serde(default)]
    pub source: Option<String>,
}

/// Checked settings.
#[derive(Debug)]
pub struct Plan {
    keys: Vec<Key>,
    secret_header: HeaderName,
    pub(crate) source: Option<String>,
}

impl TryFrom<Config> for Plan {
    type Error = SettingError;

    fn try_from(config: Config) -> Result<Self, SettingError> {
        let secrets = config.shared_secret.expose_secret().split(',').map(str::trim);
        let keys: Vec<Key> = secrets
            .filter(|secret| !secret.is_empty())
            .map(|secret| Key::new(HMAC_SHA256, secret.as_bytes()))
            .collect();
        if keys.is_empty() {
            return Err(SettingError::invalid("shared-secret", "must not be empty"));
        }
        let header = config.secret_header.as_deref().unwrap_or("authorization");
        let secret_header = header.parse().map_err(|_| {
            SettingError::invalid("secret-header", format!("{header:?} is not the name of a header"))
        })?;
        let source = config.source;
        match Event::builder("id", source.as_deref().unwrap_or("/s"), "t").build() {
            Ok(_) => Ok(Self {
                keys,
                secret_header,
                source,
            }),
            Err(error) => Err(SettingError::invalid(error.attribute, error.problem)),
        }
    }
}

impl Plan {
    /// Whether the request carries the secret: the query parameter `secret`, or the header, with or without `Bearer`.
    pub(crate) fn admits(&self, arrival: &Arrival) -> bool {
        let query = arrival.uri.query().unwrap_or_default();
        let mut given = url::form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == "secret");
        if let Some((_, secret)) = given.next() {
            return self.knows(&secret);
        }
        let header = arrival.header(self.secret_header.as_str());
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
