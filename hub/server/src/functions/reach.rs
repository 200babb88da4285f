//! From which addresses a source may be fetched: public ones, and those of the networks the operator names.
//!
//! A hub stands where those who create functions do not: what they have it fetch must not be its own ports, its
//! neighbours or a cloud's metadata. What counts is the address that is connected to: names are looked at after they
//! were resolved, by the resolver whose answer the connection uses, and every redirect anew. Where the environment
//! names a proxy, names are the proxy's to resolve and to refuse.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Host;

/// The variables that name a proxy, in either case.
const PROXIES: [&str; 3] = ["http_proxy", "https_proxy", "all_proxy"];

/// Where sources may come from. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reach {
    /// Beside public addresses.
    named: Arc<[IpNet]>,
    /// Hosts of the operator's own proxies, which may stand anywhere.
    proxies: Arc<[String]>,
}

/// Why nothing is fetched from there. Without the address a name has: who may not reach a network learns nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreachable {
    /// Not a public address, nor one of a named network.
    #[error(
        "{0} is no public address, and this hub fetches from no others; whoever runs it can allow them \
         (functions.fetch-from, --fetch-from)"
    )]
    NotPublic(String),
    /// Something else than HTTP.
    #[error("it must begin with http:// or https://")]
    Scheme,
}

impl Reach {
    /// Public addresses and these networks.
    pub(crate) fn new(named: &[IpNet]) -> Self {
        let variable = |name: &str| {
            [name.to_owned(), name.to_ascii_uppercase()]
                .iter()
                .find_map(|name| std::env::var(name).ok())
        };
        let host = |text: String| {
            let known = |text: &str| Url::parse(text).ok()?.host_str().map(str::to_owned);
            known(&text).or_else(|| known(&format!("http://{text}")))
        };
        Self {
            named: named.into(),
            proxies: PROXIES
                .into_iter()
                .filter_map(variable)
                .filter_map(host)
                .collect(),
        }
    }

    /// Whether this can be asked for at all; the addresses of names are seen to later.
    pub(super) fn check(&self, url: &Url) -> Result<(), Unreachable> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Unreachable::Scheme);
        }
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::from(address),
            Some(Host::Ipv6(address)) => IpAddr::from(address),
            Some(Host::Domain(_)) | None => return Ok(()),
        };
        match self.allows(address) {
            true => Ok(()),
            false => Err(Unreachable::NotPublic(address.to_string())),
        }
    }

    async fn lookup(self, name: Name) -> Result<Addrs, Box<dyn Error + Send + Sync>> {
        let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
        let is_proxy = self.proxies.iter().any(|proxy| proxy == name.as_str());
        let allowed: Vec<SocketAddr> = found
            .filter(|address| is_proxy || self.allows(address.ip()))
            .collect();
        match allowed.is_empty() {
            true => Err(Unreachable::NotPublic(name.as_str().to_owned()).into()),
            false => Ok(Box::new(allowed.into_iter())),
        }
    }

    fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let public = match address {
            IpAddr::V4(address) => is_public(address),
            IpAddr::V6(address) => is_public_v6(address),
        };
        public || self.named.iter().any(|network| network.contains(&address))
    }
}

impl Resolve for Reach {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(self.clone().lookup(name))
    }
}

/// Whether the whole internet can mean this address (IANA's registry of special addresses).
fn is_public(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(a == 0
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        // Shared by carriers, for protocols, for benchmarks.
        || (a == 100 && (64..128).contains(&b))
        || (a, b, c) == (192, 0, 0)
        || (a == 198 && (b == 18 || b == 19))
        // Multicast, reserved, broadcast.
        || a >= 224)
}

/// Those that are given to networks, without the ones that stand for another address or for an example.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    match a {
        // Protocols and tunnels (Teredo), examples; then another tunnel (6to4).
        0x2001 => b >= 0x200 && b != 0xdb8,
        0x2002 => false,
        0x3fff => b >= 0x1000,
        _ => a & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_whole_internet_can_mean_is_public() {
        let reach = Reach::default();
        let inside = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ];
        for address in inside {
            assert!(!reach.allows(address.parse().unwrap()), "{address}");
        }
        let outside = [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.0.1",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "223.255.255.255",
            "2001:4860:4860::8888",
            "2606:4700::1111",
            "2a00::1",
            "::ffff:8.8.8.8",
        ];
        for address in outside {
            assert!(reach.allows(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn an_address_is_the_same_however_it_is_written() {
        let reach = Reach::default();
        for written in [
            "http://127.0.0.1/x",
            "http://127.1/x",
            "http://2130706433/x",
            "http://0x7f.0.0.1/x",
            "http://0177.0.0.1/x",
            "https://[::1]/x",
            "http://[::ffff:7f00:1]/x",
            "http://169.254.169.254/latest/meta-data",
            "http://0/x",
        ] {
            let refused = reach.check(&Url::parse(written).unwrap()).unwrap_err();
            assert!(
                refused.to_string().contains("--fetch-from"),
                "{written}: {refused}"
            );
        }
        assert_eq!(
            reach.check(&Url::parse("file:///etc/passwd").unwrap()),
            Err(Unreachable::Scheme)
        );
        assert_eq!(reach.check(&Url::parse("https://1.1.1.1/x").unwrap()), Ok(()));
    }

    #[test]
    fn a_named_network_is_reached_and_no_other() {
        let reach = Reach::new(&["10.1.0.0/16".parse().unwrap(), "fd00::/8".parse().unwrap()]);

        for (address, expected) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("fd00::7", true),
            ("10.2.0.1", false),
            ("127.0.0.1", false),
            ("9.9.9.9", true),
        ] {
            assert_eq!(reach.allows(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[tokio::test]
    async fn a_name_of_this_machine_is_not_resolved_to_it_unless_that_is_allowed() {
        let name = || "localhost".parse::<Name>().unwrap();

        let refused = Reach::default().resolve(name()).await.err().unwrap();
        let allowed = Reach::new(&["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);

        assert!(
            refused.to_string().starts_with("localhost is no public address"),
            "{refused}"
        );
        assert!(allowed.resolve(name()).await.unwrap().next().is_some());
    }
}
