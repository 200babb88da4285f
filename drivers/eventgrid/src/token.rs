//! Bearer tokens of Microsoft Entra, as Event Grid sends them: RS256, from the right issuer, for the right audience, in
//! its time, and given to Event Grid and nobody else.

use jsonwebtoken::{Algorithm, Validation, decode, decode_header};

use crate::keys::{KeyError, Keys};
use crate::rs256;

/// How far clocks may be apart, in seconds.
const LEEWAY: u64 = 60;

/// Why a token does not let anybody in. Never repeats the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("the bearer token is missing")]
    Missing,
    #[error("the bearer token is not accepted: {0}")]
    Invalid(String),
    #[error("the bearer token {0}")]
    Key(#[from] KeyError),
    #[error("the bearer token is that of the application {0:?}, which app-id does not name")]
    Application(String),
}

/// What a token must be.
#[derive(Debug)]
pub(crate) struct Tokens {
    validation: Validation,
    applications: Vec<String>,
    keys: Keys,
}

#[derive(Debug, serde::Deserialize)]
struct Claims {
    /// Who asked for it: tokens of version 1.
    appid: Option<String>,
    /// The same of version 2.
    azp: Option<String>,
}

impl Tokens {
    /// Tokens for one of these audiences, by one of these applications.
    pub(crate) fn new(issuer: &str, audiences: &[String], applications: Vec<String>, keys: Keys) -> Self {
        rs256::install();
        let mut validation = Validation::new(Algorithm::RS256);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_audience(audiences);
        // Version 1 ends it with a slash, version 2 does not; who sets it need not know.
        let bare = issuer.trim_end_matches('/');
        validation.set_issuer(&[bare, &format!("{bare}/")]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud"]);
        Self {
            validation,
            applications,
            keys,
        }
    }

    /// The keys by which they are known.
    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Whether the value of an `Authorization` header lets in.
    pub(crate) async fn admit(&self, header: Option<&str>) -> Result<(), TokenError> {
        let token = header.and_then(|value| value.strip_prefix("Bearer "));
        let token = token.map(str::trim).ok_or(TokenError::Missing)?;
        let invalid = |error: jsonwebtoken::errors::Error| TokenError::Invalid(error.to_string());
        let header = decode_header(token).map_err(invalid)?;
        if header.alg != Algorithm::RS256 {
            return Err(TokenError::Invalid("it is not signed by RS256".to_owned()));
        }
        let key = self.keys.get(&header.kid.unwrap_or_default()).await?;
        let claims: Claims = decode(token, &key, &self.validation).map_err(invalid)?.claims;
        let application = claims.appid.or(claims.azp).unwrap_or_default();
        match self.applications.contains(&application) {
            true => Ok(()),
            false => Err(TokenError::Application(application)),
        }
    }
}
