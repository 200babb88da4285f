//! How the namespace knows this driver: by one of its keys, or as an application of Entra (client credentials).

use std::sync::Arc;
use std::time::Duration;

use dispatch_driver_sdk::{ExposeSecret as _, SecretString, SettingError, outgoing};
use http::HeaderValue;
use reqwest::Client;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use crate::web::{self, WebError};

/// What a token is asked for (azure-docs, authenticate with Microsoft Entra ID for namespaces).
const SCOPE: &str = "https://eventgrid.azure.net/.default";
const TIMEOUT: Duration = Duration::from_secs(10);
const MOST_BYTES: usize = 64 << 10;
/// A token is replaced that long before its end.
const MARGIN: Duration = Duration::from_secs(300);

/// The value of `Authorization`, or how to get it.
#[derive(Debug, Clone)]
pub(crate) enum Credential {
    /// `SharedAccessKey ...`.
    Key(SecretString),
    /// A token, kept as long as it lasts.
    Application(Arc<Application>),
}

/// An application that asks for tokens.
#[derive(Debug)]
pub(crate) struct Application {
    client: Client,
    place: Url,
    id: SecretString,
    secret: SecretString,
    token: Mutex<Option<Token>>,
}

#[derive(Debug)]
struct Token {
    value: SecretString,
    until: Instant,
}

#[derive(serde::Deserialize)]
struct Granted {
    access_token: SecretString,
    expires_in: u64,
}

impl Credential {
    /// One of the namespace's keys.
    pub(crate) fn key(key: &SecretString) -> Self {
        Self::Key(format!("SharedAccessKey {}", key.expose_secret()).into())
    }

    /// An application, by its id and secret.
    pub(crate) fn application(
        authority: &Url,
        tenant: &SecretString,
        id: &SecretString,
        secret: &SecretString,
    ) -> Result<Self, SettingError> {
        let mut place = authority.clone();
        if let Ok(mut path) = place.path_segments_mut() {
            path.pop_if_empty()
                .extend([tenant.expose_secret(), "oauth2", "v2.0", "token"]);
        }
        let client = outgoing(TIMEOUT).map_err(|error| SettingError::invalid("authority", error))?;
        Ok(Self::Application(Arc::new(Application {
            client,
            place,
            id: id.clone(),
            secret: secret.clone(),
            token: Mutex::default(),
        })))
    }

    /// The header's value; asks for a token if there is none that lasts.
    pub(crate) async fn header(&self) -> Result<HeaderValue, WebError> {
        let value = match self {
            Self::Key(value) => value.clone(),
            Self::Application(application) => application.token().await?,
        };
        let mut header = HeaderValue::try_from(value.expose_secret()).map_err(|_| WebError::Senseless {
            host: "the access key or token".to_owned(),
            why: "has characters that no header can carry".to_owned(),
        })?;
        header.set_sensitive(true);
        Ok(header)
    }

    /// The header was refused: the next one is asked for anew.
    pub(crate) async fn forget(&self) {
        if let Self::Application(application) = self {
            *application.token.lock().await = None;
        }
    }
}

impl Application {
    async fn token(&self) -> Result<SecretString, WebError> {
        let mut token = self.token.lock().await;
        if let Some(token) = token.as_ref().filter(|token| Instant::now() < token.until) {
            return Ok(token.value.clone());
        }
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", self.id.expose_secret()),
            ("client_secret", self.secret.expose_secret()),
            ("scope", SCOPE),
        ];
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let request = self.client.post(self.place.clone());
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let granted: Granted = web::json(request.body(body), MOST_BYTES).await?;
        let lasts = Duration::from_secs(granted.expires_in);
        // One that lasts shorter than the margin is used for half its time.
        let lasts = lasts.saturating_sub(MARGIN).max(lasts / 2);
        let value: SecretString = format!("Bearer {}", granted.access_token.expose_secret()).into();
        *token = Some(Token {
            value: value.clone(),
            until: Instant::now() + lasts,
        });
        Ok(value)
    }
}
