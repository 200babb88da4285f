//! `--test`: whether who is to be spoken to lets this driver in, and whether Event Grid would be let in by it. No event is
//! taken.

use std::time::Duration;

use dispatch_driver_sdk::{ExposeSecret as _, Failure, SecretString, SettingError, outgoing, public_url};
use http::{Method, StatusCode};
use url::Url;

use crate::config::{Config, Plan};
use crate::namespace::Namespace;
use crate::token::Tokens;
use crate::web::{self, WebError};

/// Event Grid waits as long.
const TIMEOUT: Duration = Duration::from_secs(30);
const MOST_BYTES: usize = 64 << 10;
/// Who asks in the handshake of CloudEvents web hooks.
const ORIGIN: &str = "eventgrid.azure.net";

/// Why the driver would do no work: one line.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("the namespace does not let the driver in: {0}")]
    Stranger(WebError),
    #[error("the namespace has no such topic, or the topic no such subscription: {0}")]
    Missing(WebError),
    #[error("the namespace cannot be asked: {0}")]
    Namespace(WebError),
    #[error("the issuer's tokens {0}")]
    Keys(String),
    #[error("Event Grid would not reach the driver: {0}")]
    Hook(WebError),
    #[error("Event Grid would not deliver: the answer to its handshake does not name {ORIGIN}")]
    Consent,
}

/// Tries the settings; what was found, for people.
pub async fn test(config: Config) -> Result<String, Failure> {
    let secret = config.first_secret();
    let plan = Plan::try_from(config)?;
    let mut found = String::new();
    if let Some(pull) = &plan.pull {
        subscription(&pull.from).await.map_err(Failure::failed)?;
        found += "the subscription is there, and lets the driver in\n";
    }
    if let Some(guard) = &plan.guard {
        if let Some(tokens) = &guard.tokens {
            let keys = keys(tokens).await.map_err(Failure::failed)?;
            found += &format!("the issuer is there, with keys to sign with: {keys}\n");
        }
        found += &match public_url() {
            Some(url) => {
                let url = place(&url, secret.as_ref())?;
                let host = url.host_str().unwrap_or_default().to_owned();
                handshake(url).await?;
                format!("the driver answers Event Grid's handshake at {host}\n")
            }
            None => "deliveries to the driver's url are taken; with --url=... it is tried\n".to_owned(),
        };
    }
    Ok(found)
}

async fn subscription(namespace: &Namespace) -> Result<(), Fault> {
    namespace.probe().await.map_err(|error| match error.status() {
        Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Fault::Stranger(error),
        Some(StatusCode::NOT_FOUND | StatusCode::GONE) => Fault::Missing(error),
        _ => Fault::Namespace(error),
    })
}

async fn keys(tokens: &Tokens) -> Result<usize, Fault> {
    match tokens.keys().count().await {
        Ok(0) => Err(Fault::Keys(
            "cannot be checked: it has no key for signatures".to_owned(),
        )),
        Ok(count) => Ok(count),
        Err(error) => Err(Fault::Keys(error.to_string())),
    }
}

/// The endpoint as it is written in Event Grid: with the secret in its query.
fn place(url: &str, secret: Option<&SecretString>) -> Result<Url, SettingError> {
    let mut place = web::secure("url", url)?;
    let is_said = place.query_pairs().any(|(key, _)| key == "secret");
    if let Some(secret) = secret.filter(|_| !is_said) {
        place
            .query_pairs_mut()
            .append_pair("secret", secret.expose_secret());
    }
    Ok(place)
}

/// Asks as Event Grid asks before it delivers CloudEvents.
async fn handshake(place: Url) -> Result<(), Failure> {
    let client = outgoing(TIMEOUT).map_err(Failure::failed)?;
    let request = client
        .request(Method::OPTIONS, place)
        .header("webhook-request-origin", ORIGIN);
    let answer = web::answer(request, MOST_BYTES).await;
    let answer = answer.map_err(|error| Failure::failed(Fault::Hook(error)))?;
    let granted = answer.headers.get("webhook-allowed-origin");
    match granted.is_some_and(|origin| origin == ORIGIN || origin == "*") {
        true => Ok(()),
        false => Err(Failure::failed(Fault::Consent)),
    }
}
