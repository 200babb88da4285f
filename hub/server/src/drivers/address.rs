//! Addresses: where a driver reaches the hub, where the hub reaches a driver that listens, and where the world does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use super::DriverIdentity;
use crate::gateway;
use crate::hub::Foundation;

/// The hub's own addresses.
#[derive(Debug, Clone)]
pub(super) struct Addresses {
    /// Where the API listens.
    pub(super) api: SocketAddr,
    gateway: SocketAddr,
    /// Where others reach the gateway, without a slash at its end.
    public: String,
}

/// Why nothing is passed on to where a driver says it listens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WrongAddress {
    /// No address at all.
    #[error("listen: {0:?} is no address of this machine: 127.0.0.1:PORT or [::1]:PORT")]
    Unreadable(String),
    /// Others can reach it, or it is another machine.
    #[error("listen: {0} is not on the loopback interface: 127.0.0.1:PORT or [::1]:PORT")]
    Elsewhere(SocketAddr),
    /// The hub itself.
    #[error("listen: port {0} is the hub's own")]
    TheHub(u16),
}

impl Addresses {
    pub(super) fn of(foundation: &Foundation) -> Self {
        Self::new(
            foundation.address,
            foundation.gateway,
            foundation.config.gateway_url.as_deref(),
        )
    }

    pub(super) fn new(api: SocketAddr, gateway: SocketAddr, url: Option<&str>) -> Self {
        let public = match url {
            Some(url) => url.to_owned(),
            None => format!("http://{}", reachable(gateway)),
        };
        Self { api, gateway, public }
    }

    /// The address under which the world reaches a driver.
    pub(super) fn public(&self, driver: &DriverIdentity) -> String {
        let DriverIdentity {
            organization, name, ..
        } = driver;
        format!("{}{}/{organization}/{name}", self.public, gateway::DRIVERS)
    }

    /// What a driver says, checked: it cannot make the hub speak to anybody else.
    pub(super) fn of_driver(&self, said: &str) -> Result<SocketAddr, WrongAddress> {
        let address: SocketAddr = said
            .parse()
            .map_err(|_| WrongAddress::Unreadable(said.chars().take(100).collect()))?;
        if !address.ip().is_loopback() || address.port() == 0 {
            return Err(WrongAddress::Elsewhere(address));
        }
        match [self.api.port(), self.gateway.port()].contains(&address.port()) {
            true => Err(WrongAddress::TheHub(address.port())),
            false => Ok(address),
        }
    }
}

/// Where a process on this machine reaches the hub.
pub(crate) fn reachable(hub: SocketAddr) -> SocketAddr {
    let ip = match hub.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, hub.port())
}

/// A place to listen at for a program that cannot say where it does.
pub(super) fn free() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_passed_on_to_and_never_the_hub_itself() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let hub = Addresses::new(address("0.0.0.0:8080"), address("0.0.0.0:8081"), None);

        for fine in ["127.0.0.1:4000", "127.9.9.9:1", "[::1]:4000"] {
            assert_eq!(hub.of_driver(fine), Ok(address(fine)));
        }
        for (wrong, part) in [
            ("4000", "no address"),
            ("localhost:4000", "no address"),
            ("10.0.0.1:4000", "loopback"),
            ("169.254.169.254:80", "loopback"),
            ("0.0.0.0:4000", "loopback"),
            ("127.0.0.1:0", "loopback"),
            ("127.0.0.1:8080", "the hub's own"),
            ("[::1]:8081", "the hub's own"),
        ] {
            let said = hub.of_driver(wrong).unwrap_err().to_string();
            assert!(said.contains(part), "{wrong}: {said}");
        }
    }

    #[test]
    fn the_operators_word_counts_for_the_address_others_see() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let driver = DriverIdentity {
            organization: "acme".into(),
            id: uuid::Uuid::nil(),
            name: "d".into(),
        };
        let public =
            |url| Addresses::new(address("0.0.0.0:8080"), address("0.0.0.0:8081"), url).public(&driver);

        assert_eq!(public(None), "http://127.0.0.1:8081/driver/acme/d");
        assert_eq!(
            public(Some("https://h.example/x")),
            "https://h.example/x/driver/acme/d"
        );
    }
}
