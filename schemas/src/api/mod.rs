//! APIs: HTTP routes in front of functions.
//!
//! The original's fields are here as they were; `corsOrigins`, `credentials`, `rateLimit`, `timeout` and
//! `maxBodyBytes` are ours. What paths and hosts may look like is in `place`, who may call in `guard`.

mod guard;
mod place;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::absent::{is_zero, null_is_default};
use crate::invalid::{Invalid, at_most};
use crate::name::check_reference;
use crate::resource::resource;
use crate::{Status, Tag};

pub use guard::{ApiCredentials, AuthKind};
pub use place::{Segment, segments};

/// The longest `timeout`, in milliseconds: one hour, as of a function.
const MAX_TIMEOUT: i64 = 3_600_000;
/// The largest `maxBodyBytes`: what one event can hold.
const MAX_BODY_BYTES: i64 = 8 << 20;
/// The largest rate, requests a second.
const MAX_RATE: u32 = 1_000_000;
const MAX_ITEMS: usize = 64;

/// A route of the gateway: which requests, who may send them, and the function that answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Api {
    /// Unique per organization.
    pub name: String,
    /// Name of the function that answers.
    pub function: String,
    /// Who may call: `public`, `api-key`, `basic`, `jwt` or `hmac`.
    #[serde(default = "public", deserialize_with = "null_is_public")]
    pub authentication: String,
    /// What `authentication` compares with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<ApiCredentials>,
    /// Scripts of other sites may call it.
    #[serde(default, deserialize_with = "null_is_default")]
    pub cors: bool,
    /// Only those of these origins, such as `https://shop.example.org`; all when empty.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub cors_origins: Vec<String>,
    /// Whether it is served; true unless said otherwise.
    #[serde(default = "yes", deserialize_with = "null_is_yes")]
    pub enabled: bool,
    /// Hosts, `api.example.org` or `*.example.org`, at which the paths are meant as they are. Without any they are
    /// below `/<organization>` at every host.
    #[serde(default, deserialize_with = "null_is_default")]
    pub hosts: Vec<String>,
    /// Methods; every method when empty.
    #[serde(default, deserialize_with = "null_is_default")]
    pub methods: Vec<String>,
    /// `http`, `https`; both when empty.
    #[serde(default, deserialize_with = "null_is_default")]
    pub protocols: Vec<String>,
    /// Kept for the original's clients; must be empty: the gateway chooses a certificate by the host.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub tls: String,
    /// Paths: `/exact`, `/users/{id}`, `/below/*`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub uris: Vec<String>,
    /// Milliseconds a caller waits at most; 0 for the hub's own bound.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "is_zero"
    )]
    pub timeout: i64,
    /// Bytes of a request's body; 0 for the hub's own bound, which holds in any case.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "is_zero"
    )]
    pub max_body_bytes: i64,
    /// How many requests are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<ApiRateLimit>,
    /// Full addresses. Set by the hub.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub urls: Vec<String>,
    /// Set by the hub.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Uuid::is_nil"
    )]
    pub id: Uuid,
    /// `API`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub kind: String,
    /// Set by the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Unix seconds. Set by the hub.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "is_zero"
    )]
    pub created_time: i64,
    /// Unix seconds. Set by the hub.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "is_zero"
    )]
    pub modified_time: i64,
    /// Labels.
    #[serde(default, deserialize_with = "null_is_default")]
    pub tags: Vec<Tag>,
}

/// How many requests a second are taken, those of one second at once after a rest; above that they are told 429.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApiRateLimit {
    /// Of everybody together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_second: Option<u32>,
    /// Of one consumer: who authenticated, else the address the request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_consumer: Option<u32>,
}

impl Api {
    /// Whether scripts of other sites may call it.
    pub fn allows_cors(&self) -> bool {
        self.cors || !self.cors_origins.is_empty()
    }

    /// The same in the form it is kept in: methods upper case, hosts and protocols lower case, nothing twice.
    pub fn normalised(mut self) -> Self {
        fn each(texts: &mut Vec<String>, change: impl Fn(&str) -> String) {
            let mut kept = Vec::new();
            for text in texts.drain(..) {
                let text = change(text.trim());
                if !kept.contains(&text) {
                    kept.push(text);
                }
            }
            *texts = kept;
        }
        each(&mut self.methods, str::to_ascii_uppercase);
        each(&mut self.hosts, str::to_ascii_lowercase);
        each(&mut self.protocols, str::to_ascii_lowercase);
        each(&mut self.uris, |uri| match uri.starts_with('/') {
            true => uri.to_owned(),
            false => format!("/{uri}"),
        });
        each(&mut self.cors_origins, |origin| {
            origin.trim_end_matches('/').to_ascii_lowercase()
        });
        if self.protocols.is_empty() {
            self.protocols = vec!["http".to_owned(), "https".to_owned()];
        }
        self
    }
}

fn public() -> String {
    AuthKind::Public.as_str().to_owned()
}

fn null_is_public<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let said: Option<String> = Option::deserialize(from)?;
    Ok(said.filter(|kind| !kind.is_empty()).unwrap_or_else(public))
}

fn yes() -> bool {
    true
}

fn null_is_yes<'de, D: serde::Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(true))
}

fn check(api: &Api) -> Result<(), Invalid> {
    check_reference("function", &api.function)?;
    for (field, list) in [
        ("hosts", &api.hosts),
        ("methods", &api.methods),
        ("protocols", &api.protocols),
        ("uris", &api.uris),
        ("corsOrigins", &api.cors_origins),
    ] {
        at_most(field, "items", list.len(), MAX_ITEMS)?;
    }
    if api.uris.is_empty() {
        return Err(Invalid::new(
            "uris",
            "is required: at least one path, such as /hello",
        ));
    }
    for (at, uri) in api.uris.iter().enumerate() {
        place::check_uri(&format!("uris[{at}]"), uri)?;
    }
    for (at, host) in api.hosts.iter().enumerate() {
        place::check_host(&format!("hosts[{at}]"), host)?;
    }
    one_of("methods", &api.methods, &place::METHODS)?;
    one_of("protocols", &api.protocols, &["http", "https"])?;
    for (at, origin) in api.cors_origins.iter().enumerate() {
        place::check_origin(&format!("corsOrigins[{at}]"), origin)?;
    }
    guard::check(api)?;
    if !api.tls.is_empty() {
        return Err(Invalid::new(
            "tls",
            "must be empty: the gateway chooses a certificate by the host (--gateway-tls-folder)",
        ));
    }
    within("timeout", "milliseconds", api.timeout, MAX_TIMEOUT)?;
    within("maxBodyBytes", "bytes", api.max_body_bytes, MAX_BODY_BYTES)?;
    if let Some(ApiRateLimit {
        per_second,
        per_consumer,
    }) = api.rate_limit
    {
        for (field, rate) in [
            ("rateLimit.perSecond", per_second),
            ("rateLimit.perConsumer", per_consumer),
        ] {
            if rate.is_some_and(|rate| !(1..=MAX_RATE).contains(&rate)) {
                return Err(Invalid::new(
                    field,
                    format!("must be 1 to {MAX_RATE} requests a second"),
                ));
            }
        }
    }
    Ok(())
}

fn one_of(field: &str, said: &[String], known: &[&str]) -> Result<(), Invalid> {
    let unknown = |text: &&String| !known.iter().any(|known| known.eq_ignore_ascii_case(text));
    match said.iter().find(unknown) {
        Some(text) => {
            let problem = format!("has {text:?}; must be of {}", known.join(", "));
            Err(Invalid::new(field, problem))
        }
        None => Ok(()),
    }
}

fn within(field: &str, unit: &str, number: i64, most: i64) -> Result<(), Invalid> {
    match (0..=most).contains(&number) {
        true => Ok(()),
        false => Err(Invalid::new(
            field,
            format!("must be 0 to {most} ({unit}), not {number}"),
        )),
    }
}

fn forget_urls(api: &mut Api) {
    api.urls.clear();
}

// `check` here sees what was written; the hub keeps what `normalised` makes of it.
resource!(Api, "API", "api", times: [created_time, modified_time], stamped: forget_urls, check: check);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Resource as _;

    fn api(more: &str) -> Api {
        serde_json::from_str(&format!("{{\"name\":\"a\",\"function\":\"f\"{more}}}")).unwrap()
    }

    #[test]
    fn what_is_not_said_is_public_enabled_and_of_both_protocols() {
        let api =
            api(r#","uris":["hello"],"methods":["post","POST"],"hosts":["API.example.org"]"#).normalised();

        assert_eq!(
            (api.authentication.as_str(), api.enabled, api.cors),
            ("public", true, false)
        );
        assert_eq!(api.protocols, ["http", "https"]);
        assert_eq!(
            (api.uris, api.methods),
            (vec!["/hello".to_owned()], vec!["POST".to_owned()])
        );
        assert_eq!(api.hosts, ["api.example.org"]);
    }

    #[test]
    fn each_wrong_field_is_named_with_what_is_allowed() {
        let table = [
            ("", "uris is required: at least one path, such as /hello"),
            (
                r#","uris":["/a"],"methods":["FETCH"]"#,
                "methods has \"FETCH\"; must be of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
            ),
            (
                r#","uris":["/a"],"protocols":["gopher"]"#,
                "protocols has \"gopher\"; must be of http, https",
            ),
            (
                r#","uris":["/a"],"authentication":"oidc""#,
                "authentication is \"oidc\"; must be one of public, api-key, basic, jwt, hmac",
            ),
            (
                r#","uris":["/a"],"timeout":-1"#,
                "timeout must be 0 to 3600000 (milliseconds), not -1",
            ),
            (
                r#","uris":["/a"],"rateLimit":{"perSecond":0}"#,
                "rateLimit.perSecond must be 1 to 1000000 requests a second",
            ),
            (
                r#","uris":["/a"],"tls":"mine""#,
                "tls must be empty: the gateway chooses a certificate by the host (--gateway-tls-folder)",
            ),
        ];
        for (more, problem) in table {
            assert_eq!(api(more).check().unwrap_err().to_string(), problem);
        }
        assert!(!api(r#","uris":["/a"]"#).allows_cors());
        assert!(
            api(r#","uris":["/a"],"corsOrigins":["https://x.org"]"#)
                .check()
                .is_ok()
        );
    }
}
