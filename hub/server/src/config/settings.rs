//! What was said: a file, and the command line or the environment over it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use super::{SandboxMode, SecretKey, ServerConfig};

/// Where a configuration comes from; it can be read as often as wanted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// Stands over the file.
    pub overrides: Overrides,
}

/// What was said on the command line or in the environment; stands over the file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides {
    /// `--data`.
    pub data: Option<PathBuf>,
    /// `--host`.
    pub host: Option<String>,
    /// `--port`.
    pub port: Option<u16>,
    /// `--gateway-port`.
    pub gateway_port: Option<u16>,
    /// `--gateway-tls-port`.
    pub gateway_tls_port: Option<u16>,
    /// `--gateway-tls-cert`.
    pub gateway_tls_cert: Option<PathBuf>,
    /// `--gateway-tls-key`.
    pub gateway_tls_key: Option<PathBuf>,
    /// `--gateway-tls-folder`.
    pub gateway_tls_folder: Option<PathBuf>,
    /// `--gateway-url`.
    pub gateway_url: Option<String>,
    /// `--secret-key-file`.
    pub secret_key_file: Option<PathBuf>,
    /// The key itself.
    pub secret_key: Option<SecretKey>,
    /// `--journal-chain`.
    pub journal_chain: Option<bool>,
    /// `--insecure-no-auth`.
    pub insecure_no_auth: Option<bool>,
    /// `--plugins`.
    pub plugins: Option<PathBuf>,
    /// `--sandbox`.
    pub sandbox: Option<SandboxMode>,
    /// `--function-network`.
    pub function_network: Option<bool>,
    /// `--fetch-from`.
    pub fetch_from: Option<Vec<IpNet>>,
    /// `--quickstart`.
    pub quickstart: Option<bool>,
    /// `--drain-timeout`.
    pub drain: Option<Duration>,
}

/// A configuration file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {} (--config)", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file says something that is not known, or not like this.
    #[error("{}: {problem}", file.display())]
    Invalid {
        /// The file.
        file: PathBuf,
        /// What and where: line, column, key.
        problem: String,
    },
}

impl Settings {
    /// Reads the file, if there is one, and puts what was said elsewhere over it.
    pub fn read(&self) -> Result<ServerConfig, ConfigError> {
        let config = match &self.file {
            Some(file) => ServerConfig::from_file(file)?,
            None => ServerConfig::default(),
        };
        Ok(config.with(self.overrides.clone()))
    }
}

impl ServerConfig {
    /// Reads a YAML file; an empty one is all defaults.
    pub fn from_file(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|source| ConfigError::Unreadable {
            file: file.to_owned(),
            source,
        })?;
        Self::from_yaml(&text).map_err(|problem| ConfigError::Invalid {
            file: file.to_owned(),
            problem,
        })
    }

    fn from_yaml(text: &str) -> Result<Self, String> {
        let read: Option<Self> = serde_norway::from_str(text).map_err(|error| error.to_string())?;
        Ok(read.unwrap_or_default())
    }

    /// This configuration with what was said on the command line over it.
    pub fn with(mut self, overrides: Overrides) -> Self {
        fn put<T>(slot: &mut T, said: Option<T>) {
            if let Some(said) = said {
                *slot = said;
            }
        }
        put(&mut self.data, overrides.data);
        put(&mut self.host, overrides.host);
        put(&mut self.port, overrides.port);
        put(&mut self.gateway_port, overrides.gateway_port);
        put(&mut self.journal_chain, overrides.journal_chain);
        put(&mut self.insecure_no_auth, overrides.insecure_no_auth);
        put(&mut self.quickstart, overrides.quickstart);
        put(&mut self.sandbox, overrides.sandbox);
        put(&mut self.functions.network, overrides.function_network);
        put(&mut self.functions.fetch_from, overrides.fetch_from);
        put(&mut self.limits.drain, overrides.drain);
        for (slot, said) in [
            (&mut self.gateway_tls_cert, overrides.gateway_tls_cert),
            (&mut self.gateway_tls_key, overrides.gateway_tls_key),
            (&mut self.gateway_tls_folder, overrides.gateway_tls_folder),
        ] {
            if said.is_some() {
                *slot = said;
            }
        }
        if overrides.gateway_tls_port.is_some() {
            self.gateway_tls_port = overrides.gateway_tls_port;
        }
        if overrides.gateway_url.is_some() {
            self.gateway_url = overrides.gateway_url;
        }
        if overrides.secret_key_file.is_some() {
            self.secret_key_file = overrides.secret_key_file;
        }
        if overrides.secret_key.is_some() {
            self.secret_key = overrides.secret_key;
        }
        if overrides.plugins.is_some() {
            self.plugins = overrides.plugins;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_and_the_command_line_stands_over_it() {
        let file =
            "port: 9000\nhost: 127.0.0.2\nretention: {max-age: 24h, max-bytes: 1000}\nlimits: {drain: PT2S}";

        let config = ServerConfig::from_yaml(file).unwrap().with(Overrides {
            port: Some(9001),
            ..Overrides::default()
        });

        assert_eq!((config.port, config.host.as_str()), (9001, "127.0.0.2"));
        assert_eq!(config.retention.max_age, Duration::from_secs(86_400));
        assert_eq!(config.limits.drain, Duration::from_secs(2));
        assert_eq!(config.limits.batch_events, 1000);
    }

    #[test]
    fn an_empty_file_is_all_defaults() {
        assert_eq!(
            ServerConfig::from_yaml("# nothing\n").unwrap(),
            ServerConfig::default()
        );
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place_and_what_is_known() {
        let problem = ServerConfig::from_yaml("host: x\nprot: 1\n").unwrap_err();

        assert!(problem.contains("prot"), "{problem}");
        assert!(problem.contains("gateway-port"), "{problem}");
        assert!(problem.contains("line 2"), "{problem}");
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_key_and_its_line() {
        let table = [
            ("limits:\n  drain: soon\n", ["limits.drain", "ISO 8601", "line 2"]),
            (
                "port: 1\nlimits:\n  connections: 0\n",
                ["limits.connections", "at least 1", "line 3"],
            ),
            ("\nlog: [a\n", ["log", "", "line"]),
            (
                "port: 1\ngateway-url: hub.example.org\n",
                ["gateway-url", "https://", "line 2"],
            ),
            ("data: x\nlog: =x=y\n", ["log", "filter", "line 2"]),
            ("sandbox: on\n", ["sandbox", "required", "line 1"]),
            (
                "functions:\n  maximum: {memory: 0}\n",
                ["functions.maximum.memory", "nonzero", "line 2"],
            ),
            (
                "functions:\n  fetch-from: [10.0.0.0/33]\n",
                ["functions", "fetch-from: \"10.0.0.0/33\" is no network", "line 2"],
            ),
            (
                "functions: {default: {cpu: 0}}\n",
                ["functions.default", "cpu", "line 1"],
            ),
            (
                "quotas:\n  default:\n    events-per-second: 0\n",
                ["quotas.default.events-per-second", "of at least 1", "line 3"],
            ),
            (
                "quotas: {default: {in-flight: -1}}\n",
                ["quotas.default.in-flight", "or unlimited", "line 1"],
            ),
            (
                "quotas:\n  organizations:\n    acme:\n      in-flight: none\n",
                ["quotas.organizations.acme.in-flight", "or unlimited", "line 4"],
            ),
            (
                "quotas:\n  organizations:\n    a/b: {in-flight: 1}\n",
                ["quotas.organizations", "letters, digits", "line 3"],
            ),
            (
                "quotas:\n  organizations:\n    acme: {inflight: 1}\n",
                ["quotas.organizations.acme", "`in-flight`", "line 3"],
            ),
        ];

        for (file, parts) in table {
            let problem = ServerConfig::from_yaml(file).unwrap_err();
            for part in parts {
                assert!(problem.contains(part), "{part} in {problem}");
            }
        }
    }
}
