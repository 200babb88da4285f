//! In which order a hub comes to life.

use std::net::SocketAddr;

use crate::config::ServerConfig;
use crate::shutdown::Exit;

/// A hub that serves.
pub struct Server {
    address: SocketAddr,
}

/// Why a hub does not start. One line each; it names the setting to change.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {reason}; choose another with --port or --host")]
    Listen {
        /// Which.
        address: String,
        /// Why.
        reason: String,
    },
}

/// Starts a hub.
pub async fn start(_: ServerConfig) -> Result<Server, StartError> {
    Err(StartError::Listen {
        address: String::new(),
        reason: String::new(),
    })
}

impl Server {
    /// Where the API listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
    /// Drains and stops.
    pub async fn stop(self) -> Exit {
        Exit::Drained
    }
}
