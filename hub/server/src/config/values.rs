//! Values that are more than text or a number. What is wrong with one is found while it is read, not after: only
//! then does the message name its key and its line.

use std::fmt;
use std::time::Duration;

use ipnet::IpNet;
use serde::de::{Error, Visitor};
use serde::{Deserialize as _, Deserializer, Serializer};

/// `PT0.2S`, `30s`, `1h`.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    struct Read;
    impl Visitor<'_> for Read {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration such as 30s or PT1M")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
            dispatch_contract::parse_duration(text).map_err(E::custom)
        }
    }
    deserializer.deserialize_str(Read)
}

/// How durations are compared: as seconds.
pub(super) fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// A number that is not 0.
pub(super) fn at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    struct Read;
    impl Visitor<'_> for Read {
        type Value = usize;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number of at least 1")
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<usize, E> {
            match usize::try_from(number) {
                Ok(1..) => Ok(number as usize),
                _ => Err(E::invalid_value(serde::de::Unexpected::Unsigned(number), &self)),
            }
        }
    }
    deserializer.deserialize_u64(Read)
}

/// Processor cores, such as 0.5.
pub(super) fn cores<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let cores = f64::deserialize(deserializer)?;
    match (0.01..=1024.0).contains(&cores) {
        true => Ok(Some(cores)),
        false => Err(D::Error::custom(format!(
            "cpu: {cores} is no number of cores: say 0.01 to 1024"
        ))),
    }
}

/// Networks such as `10.0.0.0/8`, and single addresses: those of `fetch-from`.
pub(super) fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts
        .iter()
        .map(|text| parse_network(text).map_err(|problem| D::Error::custom(format!("fetch-from: {problem}"))))
        .collect()
}

/// How they are compared.
pub(super) fn as_texts<S: Serializer>(networks: &[IpNet], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(networks.iter().map(ToString::to_string))
}

/// Reads a network, or an address as the network of itself; says what is wrong with it.
pub fn parse_network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<std::net::IpAddr>().map(IpNet::from);
    let network = text.parse::<IpNet>().or_else(|_| address());
    network.map_err(|_| format!("{text:?} is no network such as 10.0.0.0/8 or fd00::/8"))
}

/// `https://hub.example.org` or the same with a path, without a slash at its end.
pub(super) fn public_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    struct Read;
    impl Visitor<'_> for Read {
        type Value = Option<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a URL such as https://hub.example.org")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Option<String>, E> {
            parse_public_url(text).map(Some).map_err(E::custom)
        }
    }
    deserializer.deserialize_str(Read)
}

/// Checks the address under which others reach the gateway; says what is wrong with it.
pub fn parse_public_url(text: &str) -> Result<String, String> {
    let url = text.trim_end_matches('/');
    let known = url.parse::<http::Uri>().ok().filter(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.query().is_none()
    });
    match known {
        Some(_) => Ok(url.to_owned()),
        None => Err(format!(
            "{text:?} is no address: http:// or https://, a host, and perhaps a port and a path"
        )),
    }
}

/// What the log tells: `dispatch_router=debug,info`.
pub(super) fn directives<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    struct Read;
    impl Visitor<'_> for Read {
        type Value = Option<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a filter of the log such as info or dispatch_router=debug,info")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Option<String>, E> {
            match crate::logs::check(text) {
                Ok(()) => Ok(Some(text.to_owned())),
                Err(problem) => Err(E::custom(problem)),
            }
        }
    }
    deserializer.deserialize_str(Read)
}
