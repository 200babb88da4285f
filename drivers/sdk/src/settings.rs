//! Settings as they come: `--key=value` from the command line, secrets from the environment.
//!
//! A driver writes its own `Config` with serde (`deny_unknown_fields`); values are text here and become what
//! the field wants (see `parse.rs`). A mistake names the key, what is wrong and what is allowed, and never
//! repeats the value of a secret.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use crate::parse::{self, Entry};

/// One setting of a driver, for `--help` and for knowing what to look up in the environment.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// As on the command line, without the dashes.
    pub name: &'static str,
    /// One line for `--help`.
    pub help: &'static str,
    /// Also looked up in the environment: upper-case, `-` becomes `_`.
    pub secret: bool,
}

impl Key {
    /// A setting that comes from the command line only.
    pub const fn plain(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            secret: false,
        }
    }
    /// A setting that may come from a secret, that is, from the environment.
    pub const fn secret(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            secret: true,
        }
    }
}

/// The command line, parsed: long flags only.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    values: BTreeMap<String, String>,
    endpoint: Option<String>,
    help: bool,
}

/// What is wrong with a setting, for the one who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// Not of the form `--key=value`.
    #[error("{0:?} is no setting: write --key=value")]
    NotASetting(String),
    /// The same key more than once.
    #[error("--{0} is given twice")]
    Twice(String),
    /// No such key.
    #[error("there is no setting --{key}; allowed are {allowed}")]
    Unknown {
        /// The key.
        key: String,
        /// All there are, for people.
        allowed: String,
    },
    /// A key that must be given.
    #[error("the setting --{0} is required")]
    Missing(String),
    /// A value that cannot be used.
    #[error("--{key}: {problem}")]
    Invalid {
        /// The key.
        key: String,
        /// What is wrong and what is allowed.
        problem: String,
    },
}

impl SettingError {
    /// A value that cannot be used, found by the driver's own checks.
    pub fn invalid(key: impl Into<String>, problem: impl ToString) -> Self {
        Self::Invalid {
            key: key.into(),
            problem: problem.to_string(),
        }
    }
}

/// The configuration from a command line and the environment: [`Settings::parse`], then [`Settings::config`].
pub fn settings<C: DeserializeOwned>(
    args: impl IntoIterator<Item = String>,
    secret_keys: &[&str],
) -> Result<C, SettingError> {
    Settings::parse(args)?.config_with(secret_keys, |name| std::env::var(name).ok())
}

impl Settings {
    /// Parses arguments (without the program's name): `--key=value`, `--key value`, or `--key` alone for
    /// `true`. `--help` and `--dispatch-api-endpoint` are kept apart.
    pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Self, SettingError> {
        let mut parsed = Self::default();
        let mut args = args.into_iter().peekable();
        while let Some(arg) = args.next() {
            let flag = arg
                .strip_prefix("--")
                .filter(|f| !f.is_empty() && !f.starts_with('='));
            let flag = flag.ok_or_else(|| SettingError::NotASetting(shown(&arg)))?;
            let (key, value) = match flag.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (flag.to_owned(), args.next_if(|next| !next.starts_with("--"))),
            };
            match key.as_str() {
                "help" => parsed.help = true,
                "dispatch-api-endpoint" => parsed.endpoint = value,
                _ => {
                    let value = value.unwrap_or_else(|| "true".to_owned());
                    if parsed.values.insert(key.clone(), value).is_some() {
                        return Err(SettingError::Twice(key));
                    }
                }
            }
        }
        Ok(parsed)
    }

    /// The value of one key of the command line.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// Takes a key away, for what a driver handles before its configuration is read (`--next=3`).
    pub fn take(&mut self, key: &str) -> Option<String> {
        self.values.remove(key)
    }

    /// Reads the driver's configuration; keys that may be secret come from the environment when the command line
    /// has none.
    pub fn config<C: DeserializeOwned>(&self, keys: &[Key]) -> Result<C, SettingError> {
        let secret: Vec<&str> = keys.iter().filter(|k| k.secret).map(|k| k.name).collect();
        self.config_with(&secret, |name| std::env::var(name).ok())
    }

    /// The same with an environment of one's own.
    pub fn config_with<C: DeserializeOwned>(
        &self,
        secret_keys: &[&str],
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<C, SettingError> {
        let mut entries: Vec<Entry> = self
            .values
            .iter()
            .map(|(key, value)| Entry::new(key, value, secret_keys.contains(&key.as_str())))
            .collect();
        for key in secret_keys.iter().filter(|key| !self.values.contains_key(**key)) {
            if let Some(value) = environment(&variable(key)) {
                entries.push(Entry::new(key, &value, true));
            }
        }
        parse::config(entries)
    }

    /// Whether somebody wants to read about the keys.
    pub(crate) fn wants_help(&self) -> bool {
        self.help
    }

    /// `HOST:PORT` of a hub, as older hubs give it.
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }
}

/// The environment variable of a key.
fn variable(key: &str) -> String {
    key.to_uppercase().replace('-', "_")
}

/// An argument for an error message: it might hold a secret, so only its beginning.
fn shown(arg: &str) -> String {
    arg.chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ExposeSecret, SecretString};

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    struct Config {
        host: String,
        password: SecretString,
        #[serde(default)]
        insecure: bool,
        page_size: Option<u32>,
        #[serde(default)]
        types: Vec<String>,
        #[serde(default)]
        start: Start,
    }
    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Start {
        #[default]
        Now,
        Oldest,
    }

    fn read(args: &[&str], environment: &[(&str, &str)]) -> Result<Config, SettingError> {
        let settings = Settings::parse(args.iter().map(|a| (*a).to_owned()))?;
        settings.config_with(&["host", "password"], |name| {
            let found = environment.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn settings_come_from_the_command_line_and_secrets_from_the_environment() {
        let args = [
            "--insecure",
            "--page-size=7",
            "--types",
            "a, b",
            "--start=oldest",
            "--dispatch-api-endpoint=127.0.0.1:8080",
        ];

        let config = read(&args, &[("HOST", "vc"), ("PASSWORD", "a=b&<c>")]).unwrap();

        assert_eq!(
            (config.host.as_str(), config.insecure, config.page_size),
            ("vc", true, Some(7))
        );
        assert_eq!(config.password.expose_secret(), "a=b&<c>");
        assert_eq!(
            (config.types, config.start),
            (vec!["a".to_owned(), "b".to_owned()], Start::Oldest)
        );
    }

    #[test]
    fn the_command_line_wins_over_the_environment() {
        let config = read(&["--host=mine", "--password=p"], &[("HOST", "theirs")]).unwrap();
        assert_eq!(config.host, "mine");
        assert!(!config.insecure);
    }

    #[test]
    fn a_mistake_names_the_key_and_what_is_allowed() {
        let secrets = [("HOST", "vc"), ("PASSWORD", "hunter2")];
        let table: &[(&[&str], &str)] = &[
            (
                &["--hots=x"],
                "there is no setting --hots; allowed are host, password, insecure, page-size, types, start",
            ),
            (
                &["--page-size=many"],
                "--page-size: \"many\" is not a whole number from 0 to 4294967295",
            ),
            (
                &["--insecure=perhaps"],
                "--insecure: \"perhaps\" is neither true nor false",
            ),
            (&["--start=soon"], "--start: \"soon\" is not one of now, oldest"),
            (&["host"], "\"host\" is no setting: write --key=value"),
            (&["-h"], "\"-h\" is no setting: write --key=value"),
            (&["--insecure", "--insecure"], "--insecure is given twice"),
        ];
        for (args, message) in table {
            assert_eq!(read(args, &secrets).unwrap_err().to_string(), *message);
        }
        assert_eq!(
            read(&[], &[]).unwrap_err(),
            SettingError::Missing("host".to_owned())
        );
    }

    #[test]
    fn no_secret_is_ever_repeated() {
        #[derive(Debug, serde::Deserialize)]
        struct Pin {
            #[allow(dead_code, reason = "only its reading can fail; nobody looks at it")]
            pin: u32,
        }
        let settings = Settings::parse(["--pin=hunter2".to_owned()]).unwrap();

        let error = settings.config_with::<Pin>(&["pin"], |_| None).unwrap_err();

        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}
