//! Who may call an API.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use crate::Invalid;
use crate::absent::null_is_default;
use crate::invalid::at_most;
use crate::name::check_reference;

/// A way to say who one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthKind {
    /// Everybody may call.
    Public,
    /// A key in a header.
    ApiKey,
    /// User and password (RFC 7617).
    Basic,
    /// A signed token (RFC 7519) as bearer.
    Jwt,
    /// A signature of the body, as web hooks have it.
    Hmac,
}

impl AuthKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Public, Self::ApiKey, Self::Basic, Self::Jwt, Self::Hmac];

    /// The word in `authentication`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::ApiKey => "api-key",
            Self::Basic => "basic",
            Self::Jwt => "jwt",
            Self::Hmac => "hmac",
        }
    }

    /// The kind with this word.
    pub fn by_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// What `authentication` compares with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApiCredentials {
    /// Name of a secret. `api-key`: a consumer and its key in each entry; `basic`: a user and the password; `hmac`:
    /// shared secrets, one of which must fit; `jwt`: shared secrets, public keys as PEM, or key sets (JWKS).
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub secret: String,
    /// The header with the key (`x-api-key` unless said) or the signature (`x-hub-signature-256`).
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub header: String,
    /// Where the keys of `jwt` are, instead of a secret.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub jwks_url: String,
    /// Who must have issued the token (`iss`).
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub issuer: String,
    /// For whom: one of these must be in its `aud`.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub audience: Vec<String>,
}

pub(super) fn check(api: &Api) -> Result<(), Invalid> {
    let Some(kind) = AuthKind::by_word(&api.authentication) else {
        let known = AuthKind::ALL.map(AuthKind::as_str).join(", ");
        let problem = format!("is {:?}; must be one of {known}", api.authentication);
        return Err(Invalid::new("authentication", problem));
    };
    let said = api.credentials.clone().unwrap_or_default();
    let jwt = kind == AuthKind::Jwt;
    for (field, given, takes) in [
        (
            "credentials.secret",
            !said.secret.is_empty(),
            kind != AuthKind::Public,
        ),
        (
            "credentials.header",
            !said.header.is_empty(),
            matches!(kind, AuthKind::ApiKey | AuthKind::Hmac),
        ),
        ("credentials.jwksUrl", !said.jwks_url.is_empty(), jwt),
        ("credentials.issuer", !said.issuer.is_empty(), jwt),
        ("credentials.audience", !said.audience.is_empty(), jwt),
    ] {
        if given && !takes {
            let problem = format!("is given, but authentication {} has no use for it", kind.as_str());
            return Err(Invalid::new(field, problem));
        }
    }
    match (kind, said.secret.is_empty(), said.jwks_url.is_empty()) {
        (AuthKind::Public, ..) => return Ok(()),
        (AuthKind::Jwt, true, true) => {
            return Err(Invalid::new(
                "credentials.jwksUrl or credentials.secret",
                "is required: where the keys of the tokens are",
            ));
        }
        (AuthKind::Jwt, false, false) => {
            return Err(Invalid::new(
                "credentials.jwksUrl and credentials.secret",
                "are both given: keys come from one place",
            ));
        }
        (AuthKind::Jwt, true, false) => check_jwks_url(&said.jwks_url)?,
        (_, true, _) => {
            let problem = format!(
                "is required: authentication {} compares with the values of a secret",
                kind.as_str()
            );
            return Err(Invalid::new("credentials.secret", problem));
        }
        (_, false, _) => check_reference("credentials.secret", &said.secret)?,
    }
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if said.header.len() > 128 || !said.header.bytes().all(token) {
        return Err(Invalid::new("credentials.header", "must be the name of a header"));
    }
    at_most("credentials.issuer", "characters", said.issuer.len(), 1024)?;
    at_most("credentials.audience", "items", said.audience.len(), 16)
}

fn check_jwks_url(url: &str) -> Result<(), Invalid> {
    let host = |rest: &str| {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        match authority.strip_prefix('[') {
            Some(v6) => v6.split(']').next().unwrap_or_default().to_owned(),
            None => authority.split(':').next().unwrap_or_default().to_owned(),
        }
    };
    let printable = url.len() <= 2048 && url.bytes().all(|b| b.is_ascii_graphic() && b != b'@');
    let fine = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => !host(rest).is_empty(),
        (None, Some(rest)) => ["localhost", "127.0.0.1", "::1"].contains(&host(rest).as_str()),
        (None, None) => false,
    };
    match printable && fine {
        true => Ok(()),
        false => Err(Invalid::new(
            "credentials.jwksUrl",
            "must be https://…; http:// only on this machine (127.0.0.1, localhost), and without a password",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Resource as _;

    #[test]
    fn each_kind_says_what_it_needs_and_what_it_has_no_use_for() {
        let table = [
            (r#""authentication":"public""#, None),
            (r#""authentication":"basic","credentials":{"secret":"s"}"#, None),
            (
                r#""authentication":"api-key","credentials":{"secret":"s","header":"X-Key"}"#,
                None,
            ),
            (r#""authentication":"hmac","credentials":{"secret":"s"}"#, None),
            (
                r#""authentication":"jwt","credentials":{"jwksUrl":"https://id.example.org/keys","issuer":"i","audience":["a"]}"#,
                None,
            ),
            (
                r#""authentication":"jwt","credentials":{"jwksUrl":"http://127.0.0.1:80/keys"}"#,
                None,
            ),
            (
                r#""authentication":"basic""#,
                Some(
                    "credentials.secret is required: authentication basic compares with the values of a secret",
                ),
            ),
            (
                r#""authentication":"public","credentials":{"secret":"s"}"#,
                Some("credentials.secret is given, but authentication public has no use for it"),
            ),
            (
                r#""authentication":"basic","credentials":{"secret":"s","issuer":"i"}"#,
                Some("credentials.issuer is given, but authentication basic has no use for it"),
            ),
            (
                r#""authentication":"jwt""#,
                Some(
                    "credentials.jwksUrl or credentials.secret is required: where the keys of the tokens are",
                ),
            ),
            (
                r#""authentication":"jwt","credentials":{"jwksUrl":"http://id.example.org"}"#,
                Some(
                    "credentials.jwksUrl must be https://…; http:// only on this machine (127.0.0.1, localhost), and without a password",
                ),
            ),
            (
                r#""authentication":"api-key","credentials":{"secret":"s","header":"a b"}"#,
                Some("credentials.header must be the name of a header"),
            ),
        ];
        for (more, problem) in table {
            let json = format!(r#"{{"name":"a","function":"f","uris":["/a"],{more}}}"#);
            let api: Api = serde_json::from_str(&json).unwrap();
            let found = api.check().err().map(|e| e.to_string());
            assert_eq!(found.as_deref(), problem, "{more}");
        }
    }
}
