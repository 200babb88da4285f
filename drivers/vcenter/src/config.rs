//! What the user writes, and the checks that need no network.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use dispatch_contract::parse_duration;
use dispatch_driver_sdk::{ExposeSecret as _, Key, SecretString, SettingError};

use crate::address::Address;
use crate::parts;
use crate::selection::Selection;
use crate::surroundings::Enrich;

/// All settings of the driver.
pub(crate) const KEYS: &[Key] = &[
    Key::secret("host", "the vCenter or ESXi host: HOST or HOST:PORT"),
    Key::secret("username", "who logs in"),
    Key::secret("password", "the user's password"),
    Key::secret("vcenterurl", "the original driver's way: USER:PASSWORD@HOST:PORT"),
    Key::plain(
        "ca",
        "whom to trust for the server's certificate: a PEM file, or PEM text",
    ),
    Key::plain(
        "thumbprint",
        "trust exactly the certificate with this SHA-256 or SHA-1 thumbprint",
    ),
    Key::plain("insecure", "true: do not check the certificate at all"),
    Key::plain(
        "start",
        "where the first start begins: now (default), beginning, 1h, or an RFC 3339 time",
    ),
    Key::plain(
        "types",
        "only these: types (vm.powered.on), classes (VmPoweredOnEvent) or eventTypeIds",
    ),
    Key::plain(
        "users",
        "only events of these users, as vCenter writes them (VSPHERE.LOCAL\\Administrator); system: those of none",
    ),
    Key::plain("except-users", "no events of these users"),
    Key::plain("severities", "only these of info, warning, error, user"),
    Key::plain(
        "scheme",
        "how event types are named: dispatch (default), veba or router",
    ),
    Key::plain(
        "data",
        "names of the fields: vim25 (vm), or veba (Vm), as with the schemes veba and router unless given",
    ),
    Key::plain(
        "within",
        "only events of these parts of the inventory, paths: /DC0, /DC0/vm/web, /DC0/host/cluster1",
    ),
    Key::plain(
        "enrich",
        "what of an event's object is looked up and added: path, attributes, tags; nothing unless given",
    ),
    Key::plain(
        "replay",
        "how much of a pause is caught up: all (default), or at most a duration (24h); vcenter.gap tells the rest",
    ),
];

/// The settings as written. Turn it into a [`Config`].
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Written {
    host: Option<String>,
    username: Option<String>,
    password: Option<SecretString>,
    vcenterurl: Option<SecretString>,
    ca: Option<String>,
    thumbprint: Option<String>,
    #[serde(default)]
    insecure: bool,
    start: Option<String>,
    #[serde(default)]
    types: Vec<String>,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    except_users: Vec<String>,
    #[serde(default)]
    severities: Vec<String>,
    #[serde(default)]
    scheme: Scheme,
    data: Option<Casing>,
    #[serde(default)]
    enrich: Vec<String>,
    replay: Option<String>,
    #[serde(default)]
    within: Vec<String>,
}

/// How event types are named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// `vm.powered.on`; EventEx and ExtendedEvent under their `eventTypeId`.
    #[default]
    Dispatch,
    /// `com.vmware.vsphere.VmPoweredOnEvent.v0`, as VEBA since 0.8.
    Veba,
    /// `com.vmware.event.router/event` with the name as subject, as VEBA's event router up to 0.7.
    Router,
}

/// How the fields of `data` are named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Casing {
    /// As vim25 does: `vm`, `fullFormattedMessage`.
    #[default]
    Vim25,
    /// As vCenter Event Broker's functions know them: `Vm`, `FullFormattedMessage`.
    Veba,
}

/// Settings that fit together.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) address: Address,
    pub(crate) username: String,
    pub(crate) password: SecretString,
    pub(crate) trust: Trust,
    pub(crate) start: Start,
    pub(crate) selection: Selection,
    pub(crate) scheme: Scheme,
    pub(crate) casing: Casing,
    pub(crate) enrich: Enrich,
    /// The most of a pause that is caught up; all of it unless given.
    pub(crate) replay: Option<Duration>,
    /// Inventory paths below which events are read, without the first slash; everything when there is none.
    pub(crate) within: Vec<String>,
}

/// Which server certificate is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trust {
    /// Who must have signed it.
    pub(crate) roots: Roots,
    /// What its digest must be.
    pub(crate) thumbprint: Option<Thumbprint>,
}

/// Who must have signed the certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Roots {
    /// One of the machine's own roots.
    System,
    /// A certificate in this file.
    File(PathBuf),
    /// One of these certificates.
    Pem(String),
    /// Nobody: the thumbprint alone decides.
    Unchecked,
    /// Nobody, and nothing else decides: `insecure`.
    Anybody,
}

/// Digest of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Thumbprint {
    /// As browsers show it.
    Sha256([u8; 32]),
    /// As vCenter prints it.
    Sha1([u8; 20]),
}

/// Where a driver without a checkpoint begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// With what happens from now on, by the server's clock.
    Now,
    /// With the oldest event the server has.
    Beginning,
    /// This long before now, by the server's clock.
    Ago(Duration),
    /// At this time.
    At(DateTime<Utc>),
}

impl TryFrom<Written> for Config {
    type Error = SettingError;

    fn try_from(written: Written) -> Result<Self, SettingError> {
        let wrong = |key: &'static str| move |problem: String| SettingError::invalid(key, problem);
        let (mut address, mut user) = (None, None);
        if let Some(url) = &written.vcenterurl {
            let parsed = Address::parse_with_user(url.expose_secret()).map_err(wrong("vcenterurl"))?;
            (address, user) = (Some(parsed.0), parsed.1);
        }
        if let Some(host) = &written.host {
            address = Some(Address::parse(host).map_err(wrong("host"))?);
        }
        let (url_user, url_password) = user.unzip();
        let missing = |key: &str| SettingError::Missing(key.to_owned());
        let trust = trust(&written)?;
        Ok(Self {
            address: address.ok_or_else(|| missing("host"))?,
            username: written.username.or(url_user).ok_or_else(|| missing("username"))?,
            password: written
                .password
                .or(url_password.map(SecretString::from))
                .ok_or_else(|| missing("password"))?,
            trust,
            start: start(written.start.as_deref().unwrap_or("now")).map_err(wrong("start"))?,
            selection: Selection::new(&written.types)
                .of_users(&written.users, &written.except_users)
                .of_severities(&written.severities)
                .map_err(wrong("severities"))?,
            scheme: written.scheme,
            casing: written.data.unwrap_or(match written.scheme {
                Scheme::Dispatch => Casing::Vim25,
                Scheme::Veba | Scheme::Router => Casing::Veba,
            }),
            enrich: Enrich::new(&written.enrich).map_err(wrong("enrich"))?,
            within: parts::paths(&written.within).map_err(wrong("within"))?,
            replay: replay(written.replay.as_deref().unwrap_or("all")).map_err(wrong("replay"))?,
        })
    }
}

fn trust(written: &Written) -> Result<Trust, SettingError> {
    let thumbprint = written.thumbprint.as_deref().map(thumbprint).transpose();
    let thumbprint = thumbprint.map_err(|problem| SettingError::invalid("thumbprint", problem))?;
    if written.insecure && (thumbprint.is_some() || written.ca.is_some()) {
        return Err(SettingError::invalid(
            "insecure",
            "cannot be true together with ca or thumbprint",
        ));
    }
    let roots = match &written.ca {
        // A shell or a form may have kept the line ends as two characters.
        Some(pem) if pem.contains("-----BEGIN") => Roots::Pem(pem.replace("\\n", "\n")),
        Some(path) if !path.is_empty() => Roots::File(path.into()),
        _ if written.insecure => Roots::Anybody,
        _ if thumbprint.is_some() => Roots::Unchecked,
        _ => Roots::System,
    };
    Ok(Trust { roots, thumbprint })
}

fn thumbprint(text: &str) -> Result<Thumbprint, String> {
    let problem =
        || "must be the 64 or 40 hexadecimal digits of a SHA-256 or SHA-1 digest, colons allowed".to_owned();
    let digits: Vec<u32> = text
        .chars()
        .filter(|c| !matches!(c, ':' | ' '))
        .map(|c| c.to_digit(16).ok_or_else(problem))
        .collect::<Result<_, _>>()?;
    let bytes: Vec<u8> = digits
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |byte, d| byte << 4 | *d as u8))
        .collect();
    match digits.len() {
        64 => bytes.try_into().map(Thumbprint::Sha256).map_err(|_| problem()),
        40 => bytes.try_into().map(Thumbprint::Sha1).map_err(|_| problem()),
        _ => Err(problem()),
    }
}

pub(crate) fn start(text: &str) -> Result<Start, String> {
    let text = text.trim();
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(Start::At(at.to_utc()));
    }
    match text {
        "now" => Ok(Start::Now),
        "beginning" => Ok(Start::Beginning),
        _ => parse_duration(text).map(Start::Ago).map_err(|_| {
            format!("{text:?} is none of: now, beginning, a duration (1h), a time (2026-01-31T23:59:59Z)")
        }),
    }
}

fn replay(text: &str) -> Result<Option<Duration>, String> {
    match text.trim() {
        "all" => Ok(None),
        text => parse_duration(text)
            .map(Some)
            .map_err(|_| format!("{text:?} is neither all nor a duration (24h)")),
    }
}

#[cfg(test)]
mod tests {
    use dispatch_driver_sdk::Settings;

    use super::*;

    fn read(args: &[&str], environment: &[(&str, &str)]) -> Result<Config, String> {
        let settings = Settings::parse(args.iter().map(|a| (*a).to_owned())).unwrap();
        let secret: Vec<&str> = KEYS.iter().filter(|k| k.secret).map(|k| k.name).collect();
        let variable = |name: &str| {
            environment
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).to_owned())
        };
        let written: Written = settings
            .config_with(&secret, variable)
            .map_err(|e| e.to_string())?;
        Config::try_from(written).map_err(|e| e.to_string())
    }
    const SECRET: [(&str, &str); 3] = [("HOST", "vc"), ("USERNAME", "admin"), ("PASSWORD", "s3cret&<x>")];

    #[test]
    fn a_secret_with_three_keys_is_enough() {
        let config = read(&[], &SECRET).unwrap();
        assert_eq!(config.address.source(), "https://vc/sdk");
        assert_eq!(
            (config.username.as_str(), config.password.expose_secret()),
            ("admin", "s3cret&<x>")
        );
        assert_eq!(config.start, Start::Now);
        assert_eq!(
            config.trust.roots,
            Roots::System,
            "certificates are checked unless told otherwise"
        );
        assert!(!format!("{config:?}").contains("s3cret"));
    }

    #[test]
    fn the_original_s_vcenterurl_is_enough_too() {
        let config = read(&[], &[("VCENTERURL", "admin:pa:ss@vc:8443")]).unwrap();
        assert_eq!(config.address.source(), "https://vc:8443/sdk");
        assert_eq!(
            (config.username.as_str(), config.password.expose_secret()),
            ("admin", "pa:ss")
        );
    }

    #[test]
    fn start_is_one_of_four_forms() {
        let hour = Duration::from_secs(3600);
        let time = DateTime::parse_from_rfc3339("2026-01-31T23:59:59Z")
            .unwrap()
            .to_utc();
        let table = [
            ("now", Start::Now),
            ("beginning", Start::Beginning),
            ("1h", Start::Ago(hour)),
            ("2026-02-01T00:59:59+01:00", Start::At(time)),
        ];
        for (text, want) in table {
            assert_eq!(
                read(&[&format!("--start={text}")], &SECRET).unwrap().start,
                want,
                "{text}"
            );
        }
    }

    #[test]
    fn trust_is_what_was_asked_for() {
        let sha1 = "AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd";
        let sha256 = "00".repeat(32);
        let roots = |args: &[&str]| read(args, &SECRET).unwrap().trust;
        assert_eq!(roots(&["--insecure"]).roots, Roots::Anybody);
        assert_eq!(
            roots(&["--ca=/etc/ca.pem"]).roots,
            Roots::File("/etc/ca.pem".into())
        );
        let inline = roots(&["--ca=-----BEGIN CERTIFICATE-----\\nx\\n-----END CERTIFICATE-----"]).roots;
        assert_eq!(
            inline,
            Roots::Pem("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----".to_owned())
        );
        let pinned = roots(&[&format!("--thumbprint={sha1}")]);
        assert_eq!(pinned.roots, Roots::Unchecked);
        assert!(matches!(
            pinned.thumbprint,
            Some(Thumbprint::Sha1([0xaa, 0xbb, ..]))
        ));
        let both = roots(&["--ca=/etc/ca.pem", &format!("--thumbprint={sha256}")]);
        assert_eq!(both.roots, Roots::File("/etc/ca.pem".into()));
        assert_eq!(both.thumbprint, Some(Thumbprint::Sha256([0; 32])));
    }

    #[test]
    fn a_mistake_names_the_setting_and_what_is_allowed() {
        let table: &[(&[&str], &str)] = &[
            (
                &["--scheme=knative"],
                "--scheme: \"knative\" is not one of dispatch, veba, router",
            ),
            (
                &["--severities=error,fatal"],
                "--severities: \"fatal\" is not one of info, warning, error, user",
            ),
            (
                &["--replay=some"],
                "--replay: \"some\" is neither all nor a duration (24h)",
            ),
            (
                &["--start=soon"],
                "--start: \"soon\" is none of: now, beginning, a duration (1h), a time (2026-01-31T23:59:59Z)",
            ),
            (
                &["--thumbprint=12:34"],
                "--thumbprint: must be the 64 or 40 hexadecimal digits of a SHA-256 or SHA-1 digest, colons allowed",
            ),
            (
                &["--insecure", "--ca=x"],
                "--insecure: cannot be true together with ca or thumbprint",
            ),
            (
                &["--host=http://vc"],
                "--host: only https:// is spoken; leave the scheme out",
            ),
        ];
        for (args, message) in table {
            assert_eq!(read(args, &SECRET).unwrap_err(), *message);
        }
        assert_eq!(read(&[], &[]).unwrap_err(), "the setting --host is required");
        assert_eq!(
            read(&["--host=vc", "--username=u"], &[]).unwrap_err(),
            "the setting --password is required"
        );
    }
}
