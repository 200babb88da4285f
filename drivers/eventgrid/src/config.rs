//! What the user writes, and the checks that need no network.

use std::time::Duration;

use dispatch_contract::{Event, parse_duration};
use dispatch_driver_sdk::{ExposeSecret as _, Key, SecretString, SettingError};

use crate::credential::Credential;
use crate::guard::{Guard, Secret};
use crate::keys::Keys;
use crate::namespace::Namespace;
use crate::token::Tokens;
use crate::web;

/// All settings of the driver.
pub(crate) const KEYS: &[Key] = &[
    Key::secret(
        "shared-secret",
        "what the query parameter `secret`, or the header, must say; several, comma separated, all count",
    ),
    Key::plain(
        "secret-header",
        "the header that carries the secret; Authorization unless given",
    ),
    Key::plain(
        "audience",
        "what the bearer token of Entra must be for; several with commas",
    ),
    Key::plain(
        "issuer",
        "who must have signed it: https://sts.windows.net/<tenant>/",
    ),
    Key::plain("app-id", "who must have asked for it; Event Grid unless given"),
    Key::plain(
        "namespace-endpoint",
        "pull from this namespace: https://<name>.<region>-1.eventgrid.azure.net",
    ),
    Key::plain("topic", "the namespace's topic"),
    Key::plain(
        "subscription",
        "the topic's event subscription, of delivery mode queue",
    ),
    Key::secret("access-key", "one of the namespace's keys"),
    Key::secret("tenant-id", "of an application of Entra, instead of a key"),
    Key::secret("client-id", "that application"),
    Key::secret("client-secret", "its secret"),
    Key::plain(
        "authority",
        "where Entra is; https://login.microsoftonline.com unless given",
    ),
    Key::plain(
        "lock-duration",
        "how long the subscription locks events; 1m unless given",
    ),
    Key::plain("source", "the events' source instead of the topic"),
];

/// Event Grid's own application, the same in every tenant (azure-docs, secure-webhook-delivery).
const EVENT_GRID: &str = "4962773b-9cdb-44cf-a8bf-237846a00ab7";
const AUTHORITY: &str = "https://login.microsoftonline.com";
/// The shortest a subscription can have, and what it has unless told otherwise.
const LOCK: Duration = Duration::from_secs(60);
const SHORTEST_LOCK: Duration = Duration::from_secs(1);
const LONGEST_LOCK: Duration = Duration::from_secs(300);

/// Settings as given. Turn them into a [`Plan`].
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    shared_secret: Option<SecretString>,
    secret_header: Option<String>,
    #[serde(default)]
    audience: Vec<String>,
    issuer: Option<String>,
    #[serde(default)]
    app_id: Vec<String>,
    namespace_endpoint: Option<String>,
    topic: Option<String>,
    subscription: Option<String>,
    access_key: Option<SecretString>,
    tenant_id: Option<SecretString>,
    client_id: Option<SecretString>,
    client_secret: Option<SecretString>,
    authority: Option<String>,
    lock_duration: Option<String>,
    source: Option<String>,
}

impl Config {
    /// The first of the shared secrets, which a sender may know.
    pub(crate) fn first_secret(&self) -> Option<SecretString> {
        let all = self.shared_secret.as_ref()?.expose_secret();
        let first = all.split(',').map(str::trim).find(|secret| !secret.is_empty())?;
        Some(first.to_owned().into())
    }
}

/// Checked settings: a web hook, a subscription to pull from, or both.
#[derive(Debug)]
pub struct Plan {
    pub(crate) guard: Option<Guard>,
    pub(crate) pull: Option<Pull>,
    pub(crate) source: Option<String>,
}

/// What to pull from.
#[derive(Debug)]
pub(crate) struct Pull {
    pub(crate) from: Namespace,
    pub(crate) lock: Duration,
}

impl TryFrom<Config> for Plan {
    type Error = SettingError;

    fn try_from(config: Config) -> Result<Self, SettingError> {
        let secret = match &config.shared_secret {
            Some(secret) => Some(Secret::new(secret, config.secret_header.as_deref())?),
            None if config.secret_header.is_some() => {
                return Err(SettingError::Missing("shared-secret".to_owned()));
            }
            None => None,
        };
        let tokens = tokens(&config)?;
        let guard = (secret.is_some() || tokens.is_some()).then_some(Guard { secret, tokens });
        let pull = pull(&config)?;
        if guard.is_none() && pull.is_none() {
            let problem = "is required, or else audience and issuer, or namespace-endpoint";
            return Err(SettingError::invalid("shared-secret", problem));
        }
        let source = config.source;
        if let Err(error) = Event::builder("id", source.as_deref().unwrap_or("/s"), "t").build() {
            return Err(SettingError::invalid(error.attribute, error.problem));
        }
        Ok(Self { guard, pull, source })
    }
}

fn tokens(config: &Config) -> Result<Option<Tokens>, SettingError> {
    let missing = |key: &str| Err(SettingError::Missing(key.to_owned()));
    let issuer = match &config.issuer {
        Some(_) if config.audience.is_empty() => return missing("audience"),
        Some(issuer) => issuer,
        None if !config.audience.is_empty() => return missing("issuer"),
        None if !config.app_id.is_empty() => return missing("issuer"),
        None => return Ok(None),
    };
    let url = web::secure("issuer", issuer)?;
    let keys = Keys::of(url).map_err(|error| SettingError::invalid("issuer", error))?;
    let applications = match &config.app_id[..] {
        [] => vec![EVENT_GRID.to_owned()],
        given => given.to_vec(),
    };
    Ok(Some(Tokens::new(issuer, &config.audience, applications, keys)))
}

fn pull(config: &Config) -> Result<Option<Pull>, SettingError> {
    let Some(endpoint) = &config.namespace_endpoint else {
        let others = [
            ("topic", config.topic.is_some()),
            ("subscription", config.subscription.is_some()),
            ("lock-duration", config.lock_duration.is_some()),
        ];
        return match others.iter().find(|(_, is_given)| *is_given) {
            Some((key, _)) => Err(SettingError::invalid(*key, "needs namespace-endpoint")),
            None => Ok(None),
        };
    };
    let endpoint = match endpoint.contains("://") {
        true => web::secure("namespace-endpoint", endpoint)?,
        false => web::secure("namespace-endpoint", &format!("https://{endpoint}"))?,
    };
    let topic = name("topic", config.topic.as_deref())?;
    let subscription = name("subscription", config.subscription.as_deref())?;
    let credential = credential(config)?;
    let from = Namespace::new(&endpoint, topic, subscription, credential)
        .map_err(|error| SettingError::invalid("namespace-endpoint", error))?;
    let lock = lock(config.lock_duration.as_deref())?;
    Ok(Some(Pull { from, lock }))
}

fn credential(config: &Config) -> Result<Credential, SettingError> {
    let application = [
        ("tenant-id", &config.tenant_id),
        ("client-id", &config.client_id),
        ("client-secret", &config.client_secret),
    ];
    match (&config.access_key, application) {
        (Some(key), [(_, None), (_, None), (_, None)]) => Ok(Credential::key(key)),
        (None, [(_, None), (_, None), (_, None)]) => {
            let problem = "is required, or else tenant-id, client-id and client-secret";
            Err(SettingError::invalid("access-key", problem))
        }
        (None, [(_, Some(tenant)), (_, Some(client)), (_, Some(secret))]) => {
            let authority = web::secure("authority", config.authority.as_deref().unwrap_or(AUTHORITY))?;
            Credential::application(&authority, tenant, client, secret)
        }
        (None, parts) => {
            let missing = parts.iter().find(|(_, value)| value.is_none());
            Err(SettingError::Missing(
                missing.map_or("", |(key, _)| key).to_owned(),
            ))
        }
        (Some(_), _) => {
            let problem = "leave it out, or else tenant-id, client-id and client-secret";
            Err(SettingError::invalid("access-key", problem))
        }
    }
}

fn name<'a>(key: &str, name: Option<&'a str>) -> Result<&'a str, SettingError> {
    let name = name.ok_or_else(|| SettingError::Missing(key.to_owned()))?;
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
    match (1..=64).contains(&name.len()) && name.chars().all(fits) {
        true => Ok(name),
        false => Err(SettingError::invalid(
            key,
            format!("{name:?} is no name: letters, digits and hyphens, at most 64"),
        )),
    }
}

fn lock(text: Option<&str>) -> Result<Duration, SettingError> {
    let Some(text) = text else {
        return Ok(LOCK);
    };
    match parse_duration(text) {
        Ok(time) if (SHORTEST_LOCK..=LONGEST_LOCK).contains(&time) => Ok(time),
        _ => Err(SettingError::invalid(
            "lock-duration",
            format!("{text:?} is no duration from 1s to 5m"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use dispatch_driver_sdk::Settings;

    use super::*;

    fn read(args: &[&str]) -> Result<Plan, String> {
        let settings = Settings::parse(args.iter().map(|a| (*a).to_owned())).unwrap();
        let config: Config = settings
            .config_with(&["shared-secret", "access-key"], |_| None)
            .map_err(|e| e.to_string())?;
        Plan::try_from(config).map_err(|e| e.to_string())
    }

    const PULL: [&str; 4] = [
        "--namespace-endpoint=ns.westeurope-1.eventgrid.azure.net",
        "--topic=orders",
        "--subscription=hub",
        "--access-key=k",
    ];

    #[test]
    fn a_web_hook_a_subscription_or_both() {
        let plan = read(&["--shared-secret=s"]).unwrap();
        assert!(plan.guard.is_some() && plan.pull.is_none());
        let plan = read(&["--audience=api://hub", "--issuer=https://sts.windows.net/t/"]).unwrap();
        assert!(plan.guard.is_some_and(|guard| guard.tokens.is_some()));
        let plan = read(&PULL).unwrap();
        assert!(plan.guard.is_none() && plan.pull.is_some());
        let plan = read(&[&PULL[..], &["--shared-secret=s"]].concat()).unwrap();
        assert!(plan.guard.is_some() && plan.pull.is_some());
    }

    #[test]
    fn a_mistake_names_the_setting_and_what_is_allowed() {
        let pull = |more: &'static str| [&PULL[..], &[more]].concat();
        let table: Vec<(Vec<&str>, &str)> = vec![
            (
                vec![],
                "--shared-secret: is required, or else audience and issuer, or namespace-endpoint",
            ),
            (vec!["--audience=a"], "the setting --issuer is required"),
            (vec!["--issuer=https://x/"], "the setting --audience is required"),
            (
                vec!["--audience=a", "--issuer=http://sts.windows.net/t/"],
                "--issuer: \"http://sts.windows.net/t/\" must begin with https:// (http:// only for this machine) and \
                 name a host",
            ),
            (
                vec!["--shared-secret=s", "--topic=t"],
                "--topic: needs namespace-endpoint",
            ),
            (
                PULL[..3].to_vec(),
                "--access-key: is required, or else tenant-id, client-id and client-secret",
            ),
            (
                pull("--client-id=c"),
                "--access-key: leave it out, or else tenant-id, client-id and client-secret",
            ),
            (
                [&PULL[..3], &["--client-id=c", "--tenant-id=t"]].concat(),
                "the setting --client-secret is required",
            ),
            (
                pull("--lock-duration=1h"),
                "--lock-duration: \"1h\" is no duration from 1s to 5m",
            ),
        ];
        for (args, message) in table {
            assert_eq!(read(&args).unwrap_err(), message);
        }
    }
}
