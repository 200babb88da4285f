//! Flags of every command, and what they come to together with the environment and the context.
//!
//! A flag wins over `DISPATCH_<FLAG>`, that over the context in use, that over the default. The environment
//! is read here and not by the parser, so that `dispatch server` with its own `--host` stays untouched by it.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use dispatch_contract::SecretString;

use crate::config::{ConfigFile, Context};
use crate::output::Format;

/// Flags of every command.
#[derive(Args, Default)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// Configuration file [env: DISPATCH_CONFIG] [default: $HOME/.dispatch/config.json]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Host of the hub [env: DISPATCH_HOST] [default: localhost]
    #[arg(long, global = true, value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// Port of the hub's API [env: DISPATCH_PORT] [default: 8080]
    #[arg(long, global = true, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// http or https [env: DISPATCH_SCHEME] [default: http]
    #[arg(long, global = true, value_name = "SCHEME", value_parser = ["http", "https"], hide_possible_values = true)]
    pub(crate) scheme: Option<String>,
    /// Organization to work in [env: DISPATCH_ORGANIZATION]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) organization: Option<String>,
    /// Accept any TLS certificate [env: DISPATCH_INSECURE]
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) insecure: Option<bool>,
    /// Print json or yaml instead of a table, or a wide table [env: DISPATCH_OUTPUT]
    #[arg(
        long,
        short,
        global = true,
        value_name = "FORMAT",
        hide_possible_values = true
    )]
    pub(crate) output: Option<Format>,
    /// The same as --output json
    #[arg(long, global = true, hide = true)]
    pub(crate) json: bool,
    /// Bearer token, better given by the environment [env: DISPATCH_TOKEN]
    #[arg(long, global = true, value_name = "TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
}

/// What a command works with.
#[derive(Debug)]
pub(crate) struct Settings {
    /// `http://localhost:8080`, without a path.
    pub(crate) base: String,
    /// Sent only when there is one.
    pub(crate) organization: Option<String>,
    /// Accept any TLS certificate.
    pub(crate) insecure: bool,
    /// Bearer token.
    pub(crate) token: Option<SecretString>,
    /// How results are printed.
    pub(crate) format: Format,
}

impl Global {
    /// The configuration file these flags and this environment name.
    pub(crate) fn config_path(&self) -> PathBuf {
        self.config
            .clone()
            .or_else(|| variable("CONFIG").map(PathBuf::from))
            .unwrap_or_else(ConfigFile::default_path)
    }

    /// How results are printed.
    pub(crate) fn format(&self) -> anyhow::Result<Format> {
        self.format_with(&variable)
    }

    /// Everything together.
    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        let context = ConfigFile::read(&self.config_path())?.context()?;
        self.resolve(&variable, context)
    }

    fn format_with(&self, variable: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<Format> {
        if self.json {
            return Ok(Format::Json);
        }
        match (self.output, variable("OUTPUT")) {
            (Some(format), _) => Ok(format),
            (None, Some(text)) => match text.as_str() {
                "json" => Ok(Format::Json),
                "yaml" => Ok(Format::Yaml),
                "wide" => Ok(Format::Wide),
                _ => bail!("DISPATCH_OUTPUT is {text:?}: json, yaml or wide"),
            },
            (None, None) => Ok(Format::Table),
        }
    }

    fn resolve(
        &self,
        variable: &dyn Fn(&str) -> Option<String>,
        context: Context,
    ) -> anyhow::Result<Settings> {
        let text = |flag: &Option<String>, name: &str, context: Option<String>| {
            flag.clone().or_else(|| variable(name)).or(context)
        };
        let host = text(&self.host, "HOST", context.host).unwrap_or_else(|| "localhost".to_owned());
        let scheme = text(&self.scheme, "SCHEME", context.scheme).unwrap_or_else(|| "http".to_owned());
        if !matches!(scheme.as_str(), "http" | "https") {
            bail!("scheme is {scheme:?}: http or https");
        }
        let port = match (self.port, variable("PORT")) {
            (Some(port), _) => port,
            (None, Some(text)) => text
                .parse()
                .with_context(|| format!("DISPATCH_PORT is {text:?}"))?,
            (None, None) => context.port.unwrap_or(8080),
        };
        let insecure = match (self.insecure, variable("INSECURE")) {
            (Some(insecure), _) => insecure,
            (None, Some(text)) => match text.as_str() {
                "1" | "true" => true,
                "0" | "false" => false,
                _ => bail!("DISPATCH_INSECURE is {text:?}: true or false"),
            },
            (None, None) => context.insecure.unwrap_or(false),
        };
        let host = if host.contains(':') && !host.starts_with('[') {
            format!("[{host}]")
        } else {
            host
        };
        Ok(Settings {
            base: format!("{scheme}://{host}:{port}"),
            organization: text(&self.organization, "ORGANIZATION", context.organization)
                .filter(|name| !name.is_empty()),
            insecure,
            token: text(&self.token, "TOKEN", None).map(SecretString::from),
            format: self.format_with(variable)?,
        })
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(format!("DISPATCH_{name}"))
        .ok()
        .filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        Context {
            host: Some("context".to_owned()),
            port: Some(3),
            scheme: Some("https".to_owned()),
            organization: Some("context-org".to_owned()),
            insecure: Some(true),
        }
    }

    fn environment(name: &str) -> Option<String> {
        let value = match name {
            "HOST" => "environment",
            "PORT" => "2",
            "ORGANIZATION" => "environment-org",
            "INSECURE" => "false",
            "OUTPUT" => "yaml",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn a_flag_wins_over_the_environment_that_over_the_context_that_over_the_default() {
        let flags = Global {
            host: Some("flag".to_owned()),
            port: Some(1),
            organization: Some("flag-org".to_owned()),
            insecure: Some(true),
            output: Some(Format::Json),
            ..Global::default()
        };
        let nothing = |_: &str| None;

        let by_flag = flags.resolve(&environment, context()).unwrap();
        let by_environment = Global::default().resolve(&environment, context()).unwrap();
        let by_context = Global::default().resolve(&nothing, context()).unwrap();
        let by_default = Global::default().resolve(&nothing, Context::default()).unwrap();

        let told = |s: &Settings| (s.base.clone(), s.organization.clone(), s.insecure, s.format);
        let org = |name: &str| Some(name.to_owned());
        assert_eq!(
            told(&by_flag),
            ("https://flag:1".to_owned(), org("flag-org"), true, Format::Json)
        );
        assert_eq!(
            told(&by_environment),
            (
                "https://environment:2".to_owned(),
                org("environment-org"),
                false,
                Format::Yaml
            )
        );
        assert_eq!(
            told(&by_context),
            (
                "https://context:3".to_owned(),
                org("context-org"),
                true,
                Format::Table
            )
        );
        assert_eq!(
            told(&by_default),
            ("http://localhost:8080".to_owned(), None, false, Format::Table)
        );
    }

    #[test]
    fn a_variable_that_cannot_be_read_is_named() {
        let wrong = |name: &str| (name == "PORT").then(|| "many".to_owned());

        let error = Global::default().resolve(&wrong, Context::default()).unwrap_err();

        assert!(error.to_string().contains("DISPATCH_PORT is \"many\""), "{error}");
    }

    #[test]
    fn an_ipv6_host_gets_its_brackets() {
        let flags = Global {
            host: Some("::1".to_owned()),
            ..Global::default()
        };

        let settings = flags.resolve(&|_| None, Context::default()).unwrap();

        assert_eq!(settings.base, "http://[::1]:8080");
    }
}
