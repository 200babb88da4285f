//! Who may call an API: what its `authentication` says, enforced before the function hears of a request.
//!
//! Credentials are the values of a named secret; what a caller sends is compared in constant time with all of them,
//! and is in no event, run or log. A changed secret counts within a second.

mod basic;
mod jwks;
mod jwt;
mod keys;
mod ring_keys;
mod secret;
mod signature;

use bytes::Bytes;
use dispatch_schemas::{Api, AuthKind};
use http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderName, PROXY_AUTHORIZATION};
use serde_json::Value;

use self::jwt::Tokens;
use self::secret::Values;
use crate::hub::Foundation;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const SIGNATURE: HeaderName = HeaderName::from_static("x-hub-signature-256");

/// Who called.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Consumer {
    /// The name of the key, the user, or the token's subject; none where everybody may call.
    pub(super) name: Option<String>,
    /// What the token says.
    pub(super) claims: Option<Value>,
}

impl Consumer {
    fn named(name: impl Into<String>) -> Self {
        Self {
            name: Some(name.into()),
            claims: None,
        }
    }
}

/// Why somebody may not call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is not said, or not rightly said, who calls: 401, and what to answer as `WWW-Authenticate`.
    Who {
        /// For the caller, without a hint at what would have been right.
        message: String,
        challenge: &'static str,
    },
    /// It cannot be checked now: 503. The log says why.
    Unchecked,
}

/// What an API's `authentication` came to.
#[derive(Debug)]
pub(super) enum Guard {
    Public,
    ApiKey { values: Values, header: HeaderName },
    Basic { values: Values },
    Jwt(Box<Tokens>),
    Hmac { values: Values, header: HeaderName },
}

impl Guard {
    /// Of a checked API.
    pub(super) fn of(api: &Api) -> Result<Self, String> {
        let kind = AuthKind::by_word(&api.authentication)
            .ok_or_else(|| format!("authentication {:?} is not known", api.authentication))?;
        let said = api.credentials.clone().unwrap_or_default();
        let header = |default| match said.header.is_empty() {
            true => Ok(default),
            false => said
                .header
                .parse()
                .map_err(|_| "credentials.header is no header".to_owned()),
        };
        let values = || Values::of(&said.secret);
        Ok(match kind {
            AuthKind::Public => Self::Public,
            AuthKind::ApiKey => Self::ApiKey {
                values: values(),
                header: header(API_KEY)?,
            },
            AuthKind::Basic => Self::Basic { values: values() },
            AuthKind::Jwt => Self::Jwt(Box::new(Tokens::of(said))),
            AuthKind::Hmac => Self::Hmac {
                values: values(),
                header: header(SIGNATURE)?,
            },
        })
    }

    /// Whether the body must be there to check.
    pub(super) fn needs_body(&self) -> bool {
        matches!(self, Self::Hmac { .. })
    }

    /// Who calls, if they may. `body` is empty unless it is needed.
    pub(super) async fn admit(
        &self,
        foundation: &Foundation,
        organization: &str,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<Consumer, Refused> {
        let store = &foundation.store;
        match self {
            Self::Public => Ok(Consumer::default()),
            Self::ApiKey { values, header } => {
                keys::admit(&*values.get(store, organization).await?, headers, header)
            }
            Self::Basic { values } => basic::admit(&*values.get(store, organization).await?, headers),
            Self::Jwt(tokens) => tokens.admit(store, organization, headers).await,
            Self::Hmac { values, header } => {
                signature::admit(&*values.get(store, organization).await?, headers, header, body)
            }
        }
    }

    /// Whether a header says who calls, so that it is told to nobody.
    pub(super) fn hides(&self, name: &HeaderName) -> bool {
        [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE].contains(name)
            || matches!(self, Self::ApiKey { header, .. } if header == name)
    }
}
