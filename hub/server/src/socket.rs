//! The sockets API and gateway listen on: handed over by a supervisor, or bound here.
//!
//! A socket that was handed over (the first is the API's, the second the gateway's, the third that for TLS; systemd's socket activation, sd_listen_fds(3)) outlives this process: whoever
//! connects while one hub stops and the next starts waits in its queue, and nobody is refused.

use std::net::SocketAddr;

use tokio::net::{TcpListener, lookup_host};

use crate::config::ServerConfig;
use crate::start::StartError;

/// Where the gateway speaks TLS unless something else is said.
const GATEWAY_TLS_PORT: u16 = 8443;

/// Sockets that were handed to this process; what was not is bound.
#[derive(Debug, Default)]
pub struct Inherited {
    /// For the API.
    pub api: Option<std::net::TcpListener>,
    /// For the gateway.
    pub gateway: Option<std::net::TcpListener>,
    /// For the gateway with TLS.
    pub gateway_tls: Option<std::net::TcpListener>,
}

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Api,
    Gateway,
    GatewayTls,
}

impl Door {
    fn port(self, config: &ServerConfig) -> u16 {
        match self {
            Self::Api => config.port,
            Self::Gateway => config.gateway_port,
            Self::GatewayTls => match config.gateway_tls_port {
                Some(port) => port,
                // Who wants any port for the one wants it for the other.
                None if config.gateway_port == 0 => 0,
                None => GATEWAY_TLS_PORT,
            },
        }
    }

    fn flag(self) -> &'static str {
        match self {
            Self::Api => "--port",
            Self::Gateway => "--gateway-port",
            Self::GatewayTls => "--gateway-tls-port",
        }
    }
}

/// The sockets that were handed to this process, if any were: the API's first, then the gateway's, then its TLS one's.
///
/// To be called before there are threads: it takes `LISTEN_FDS` out of the environment, so that no process
/// started later believes it is meant.
pub fn inherited_listeners() -> std::io::Result<Inherited> {
    let mut handed = listenfd::ListenFd::from_env();
    Ok(Inherited {
        api: handed.take_tcp_listener(0)?,
        gateway: handed.take_tcp_listener(1)?,
        gateway_tls: handed.take_tcp_listener(2)?,
    })
}

/// Takes what was handed over, or binds what the configuration says, if that is allowed.
pub(crate) async fn listen(
    config: &ServerConfig,
    door: Door,
    inherited: Option<std::net::TcpListener>,
) -> Result<TcpListener, StartError> {
    match inherited {
        Some(socket) => adopt(config, socket),
        None => {
            let address = address(config, door).await?;
            match bind(config, door, address).await {
                // Nobody asked for just this port: APIs say where they are.
                Err(StartError::PortInUse { port, .. })
                    if door == Door::GatewayTls && config.gateway_tls_port.is_none() =>
                {
                    tracing::warn!(
                        port,
                        "the gateway's port for TLS is taken: a free one is used (--gateway-tls-port)"
                    );
                    bind(config, door, SocketAddr::new(address.ip(), 0)).await
                }
                bound => bound,
            }
        }
    }
}

fn adopt(config: &ServerConfig, socket: std::net::TcpListener) -> Result<TcpListener, StartError> {
    let unusable = |error: std::io::Error| StartError::Inherited {
        reason: error.to_string(),
    };
    let address = socket.local_addr().map_err(unusable)?;
    allowed(config, &[address], &address.to_string())?;
    socket.set_nonblocking(true).map_err(unusable)?;
    TcpListener::from_std(socket).map_err(unusable)
}

/// What to listen on, if that is allowed. To be asked before anything is opened.
pub(crate) async fn address(config: &ServerConfig, door: Door) -> Result<SocketAddr, StartError> {
    let unknown = |reason: String| StartError::Host {
        host: config.host.clone(),
        reason,
    };
    let found = lookup_host((config.host.as_str(), door.port(config))).await;
    let addresses: Vec<_> = found.map_err(|error| unknown(error.to_string()))?.collect();
    allowed(config, &addresses, &config.host)?;
    // A name such as localhost has an address of each family; the older one is what clients try first.
    let first = addresses
        .iter()
        .find(|address| address.is_ipv4())
        .or(addresses.first());
    first
        .copied()
        .ok_or_else(|| unknown("it has no address".to_owned()))
}

fn allowed(config: &ServerConfig, addresses: &[SocketAddr], said: &str) -> Result<(), StartError> {
    let open = addresses.iter().any(|address| !address.ip().is_loopback());
    match open && !config.insecure_no_auth {
        true => Err(StartError::Exposed {
            host: said.to_owned(),
        }),
        false => Ok(()),
    }
}

async fn bind(config: &ServerConfig, door: Door, address: SocketAddr) -> Result<TcpListener, StartError> {
    let (host, port, flag) = (config.host.clone(), door.port(config), door.flag());
    TcpListener::bind(address)
        .await
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::AddrInUse => StartError::PortInUse { flag, host, port },
            std::io::ErrorKind::AddrNotAvailable => StartError::Host {
                host,
                reason: error.to_string(),
            },
            _ => StartError::Port {
                flag,
                host,
                port,
                reason: error.to_string(),
            },
        })
}
