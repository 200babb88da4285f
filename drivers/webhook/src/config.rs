//! What the user writes, and the checks that make a [`Plan`] of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dispatch_contract::Event;
use dispatch_driver_sdk::{ExposeSecret as _, SecretString, SettingError};
use http::HeaderName;
use ring::hmac::{HMAC_SHA256, Key};
use serde::Deserialize;

/// Deliveries a minute that a CloudEvents sender is granted unless said.
const RATE: u32 = 600;

/// Settings as given.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Who sends.
    pub provider: Provider,
    /// What is shared with the sender.
    pub secret: SecretString,
    /// `type` of the events.
    #[serde(default, rename = "type")]
    pub ty: Option<String>,
    /// `source` of the events.
    #[serde(default)]
    pub source: Option<String>,
    /// Where a generic sender puts its signature.
    #[serde(default)]
    pub signature_header: Option<String>,
    /// Deliveries a minute.
    #[serde(default)]
    pub rate: Option<u32>,
}

/// Who sends, which says how it signs and what an event is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// `X-Hub-Signature-256`.
    Github,
    /// `X-Gitlab-Token`.
    Gitlab,
    /// `Stripe-Signature`.
    Stripe,
    /// `X-Slack-Signature`.
    Slack,
    /// `webhook-signature`.
    StandardWebhooks,
    /// An HMAC in a header of one's choice.
    Generic,
    /// A CloudEvents web hook with its token.
    #[serde(rename = "cloudevents")]
    CloudEvents,
}

/// Checked settings.
#[derive(Debug)]
pub struct Plan {
    /// Who sends.
    pub provider: Provider,
    /// A signature by any of them is good.
    pub(crate) keys: Vec<Key>,
    pub(crate) ty: Option<String>,
    pub(crate) source: Option<String>,
    /// The source where the provider has none.
    pub(crate) own_source: String,
    pub(crate) signature_header: HeaderName,
    pub(crate) rate: u32,
}

impl TryFrom<Config> for Plan {
    type Error = SettingError;

    fn try_from(config: Config) -> Result<Self, SettingError> {
        let provider = config.provider;
        let only = |key: &str, given: bool, of: Provider| match given && provider != of {
            true => Err(SettingError::invalid(key, "is not a setting of this provider")),
            false => Ok(()),
        };
        only(
            "signature-header",
            config.signature_header.is_some(),
            Provider::Generic,
        )?;
        only("rate", config.rate.is_some(), Provider::CloudEvents)?;
        if provider == Provider::CloudEvents && (config.ty.is_some() || config.source.is_some()) {
            let problem = "a CloudEvent brings its own type and source";
            return Err(SettingError::invalid("type", problem));
        }
        let secrets = config.secret.expose_secret().split(',').map(str::trim);
        let keys = secrets
            .filter(|secret| !secret.is_empty())
            .map(|secret| key(provider, secret));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err(SettingError::invalid("secret", "must not be empty"));
        }
        let header = config.signature_header.as_deref().unwrap_or("x-signature-256");
        let signature_header = header.parse().map_err(|_| {
            SettingError::invalid(
                "signature-header",
                format!("{header:?} is not the name of a header"),
            )
        })?;
        let rate = config.rate.unwrap_or(RATE);
        if !(1..=1_000_000).contains(&rate) {
            return Err(SettingError::invalid(
                "rate",
                "must be a number from 1 to 1000000",
            ));
        }
        let plan = Self {
            provider,
            keys,
            ty: config.ty,
            source: config.source,
            own_source: own_source(),
            signature_header,
            rate,
        };
        let ty = plan.ty.as_deref().unwrap_or("t");
        match Event::builder("id", plan.source.as_deref().unwrap_or("/s"), ty).build() {
            Ok(_) => Ok(plan),
            Err(error) => Err(SettingError::invalid(error.attribute, error.problem)),
        }
    }
}

/// Standard Webhooks writes its keys in base64; everybody else's are the bytes of the text.
fn key(provider: Provider, secret: &str) -> Result<Key, SettingError> {
    if provider != Provider::StandardWebhooks {
        return Ok(Key::new(HMAC_SHA256, secret.as_bytes()));
    }
    let bytes = STANDARD.decode(secret.strip_prefix("whsec_").unwrap_or(secret));
    match bytes {
        Ok(bytes) if !bytes.is_empty() => Ok(Key::new(HMAC_SHA256, &bytes)),
        _ => {
            let problem = "the secret value must be whsec_ and then base64";
            Err(SettingError::invalid("secret", problem))
        }
    }
}

fn own_source() -> String {
    match std::env::var("DISPATCH_DRIVER_NAME") {
        Ok(name) => format!("/dispatch/webhook/{name}"),
        Err(_) => "/dispatch/webhook".to_owned(),
    }
}
