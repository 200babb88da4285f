//! What an operator can say about a hub: a YAML file, then flags and `DISPATCH_SERVER_*` over it.
//!
//! The keys of the file are the names of the flags. Everything has a default; nothing here touches the disk
//! or the network but [`ServerConfig::from_file`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// A hub's configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct ServerConfig {
    /// Folder of journal, store, images and functions.
    pub data: PathBuf,
    /// Address to listen on.
    pub host: String,
    /// Port of the API; 0 takes a free one.
    pub port: u16,
    /// Port of the API gateway. Reserved: nothing listens there yet.
    pub gateway_port: u16,
    /// Listen on an address that others can reach although nobody has to say who they are.
    pub insecure_no_auth: bool,
    /// Folder of driver executables that do not lie beside the hub's own.
    pub plugins: Option<PathBuf>,
    /// Seed a first example, and print every run.
    pub quickstart: bool,
    /// What the journal keeps.
    pub retention: Retention,
    /// Bounds.
    pub limits: Limits,
}

/// What the journal keeps; whichever comes first ends it. An event that is still owed is kept.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Retention {
    /// How long.
    #[serde(deserialize_with = "duration")]
    pub max_age: Duration,
    /// How many bytes.
    pub max_bytes: u64,
}

/// Bounds of what the hub takes and holds.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Limits {
    /// Bytes of one event as it is posted.
    pub event_bytes: usize,
    /// Bytes of a batch.
    pub batch_bytes: usize,
    /// Events in a batch.
    pub batch_events: usize,
    /// Connections at once.
    pub connections: usize,
    /// Events waiting in memory per subscription.
    pub lane_events: usize,
    /// How long a stop may take until what is under way is left to the next start.
    #[serde(deserialize_with = "duration")]
    pub drain: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            data: PathBuf::from(".dispatch"),
            host: "127.0.0.1".to_owned(),
            port: 8080,
            gateway_port: 8081,
            insecure_no_auth: false,
            plugins: None,
            quickstart: false,
            retention: Retention::default(),
            limits: Limits::default(),
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(7 * 24 * 3600),
            max_bytes: 8 << 30,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            event_bytes: 1 << 20,
            batch_bytes: 4 << 20,
            batch_events: 1000,
            connections: 4096,
            lane_events: 1024,
            drain: Duration::from_secs(5),
        }
    }
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
    /// `--insecure-no-auth`.
    pub insecure_no_auth: Option<bool>,
    /// `--plugins`.
    pub plugins: Option<PathBuf>,
    /// `--quickstart`.
    pub quickstart: Option<bool>,
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
        let read: Option<Self> = serde_norway::from_str(text).map_err(|e| e.to_string())?;
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
        put(&mut self.insecure_no_auth, overrides.insecure_no_auth);
        put(&mut self.quickstart, overrides.quickstart);
        if overrides.plugins.is_some() {
            self.plugins = overrides.plugins;
        }
        self
    }

    /// Folder of the journal.
    pub fn journal_dir(&self) -> PathBuf {
        self.data.join("journal")
    }

    /// File of the store.
    pub fn store_file(&self) -> PathBuf {
        self.data.join("store.db")
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    dispatch_contract::parse_duration(&text).map_err(serde::de::Error::custom)
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
    fn a_wrong_duration_says_what_is_allowed() {
        let problem = ServerConfig::from_yaml("limits:\n  drain: soon\n").unwrap_err();

        assert!(problem.contains("ISO 8601"), "{problem}");
    }
}
