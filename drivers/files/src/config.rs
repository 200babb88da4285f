//! What the user writes, and the checks that make a [`Plan`] of it.

use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use dispatch_contract::Event;
use dispatch_driver_sdk::SettingError;
use glob::Pattern;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

/// How often the directory is read.
pub(crate) const LOOK: Duration = Duration::from_secs(1);
/// The most content the user can ask for: the hub takes events of 1 MiB, and base64 makes four bytes of three.
const MAX_CONTENT: usize = 700 * 1024;
const LONGEST_SETTLE: Duration = Duration::from_secs(24 * 60 * 60);
/// What stays as it is in the path of a URI.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Settings as given.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// The directory.
    pub directory: PathBuf,
    /// Names of files.
    #[serde(default)]
    pub pattern: Option<String>,
    /// When a file is finished.
    #[serde(default)]
    pub settle: Option<String>,
    /// The most bytes of content.
    #[serde(default)]
    pub max_content: Option<usize>,
    /// Where to begin without a checkpoint.
    #[serde(default)]
    pub start: Start,
    /// `source` of the events.
    #[serde(default)]
    pub source: Option<String>,
    /// `type` of the events.
    #[serde(default, rename = "type")]
    pub ty: Option<String>,
}

/// Where to begin without a checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// With files that change from now on.
    #[default]
    Now,
    /// With all that are there.
    Oldest,
}

/// Checked settings.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(crate) directory: PathBuf,
    pub(crate) pattern: Option<Pattern>,
    pub(crate) settle: TimeDelta,
    pub(crate) max_content: usize,
    pub(crate) start: Start,
    pub(crate) source: String,
    pub(crate) ty: String,
}

impl TryFrom<Config> for Plan {
    type Error = SettingError;

    fn try_from(config: Config) -> Result<Self, SettingError> {
        let wrong = |key: &str, problem: String| SettingError::invalid(key, problem);
        if !config.directory.is_absolute() {
            let given = config.directory.display();
            return Err(wrong(
                "directory",
                format!("{given} must be a whole path, from / on"),
            ));
        }
        let pattern = config
            .pattern
            .as_deref()
            .map(Pattern::new)
            .transpose()
            .map_err(|error| wrong("pattern", format!("cannot be understood: {error}")))?;
        let settle = config.settle.as_deref().unwrap_or("2s");
        let settle = dispatch_contract::parse_duration(settle)
            .ok()
            .filter(|settle| *settle <= LONGEST_SETTLE)
            .and_then(|settle| TimeDelta::from_std(settle).ok())
            .ok_or_else(|| wrong("settle", format!("{settle:?} must be a time up to a day, as 2s")))?;
        let max_content = config.max_content.unwrap_or(256 * 1024);
        if max_content > MAX_CONTENT {
            return Err(wrong(
                "max-content",
                format!("{max_content} is too much: at most {MAX_CONTENT}"),
            ));
        }
        let path = config.directory.to_string_lossy();
        let source = config
            .source
            .unwrap_or_else(|| format!("file://{}", utf8_percent_encode(&path, PATH)));
        let ty = config.ty.unwrap_or_else(|| "file.written".to_owned());
        if let Err(error) = Event::builder("id", &source, &ty).build() {
            return Err(SettingError::invalid(error.attribute, error.problem));
        }
        Ok(Self {
            pattern,
            settle,
            max_content,
            start: config.start,
            source,
            ty,
            directory: config.directory,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn config(directory: impl Into<PathBuf>) -> Config {
        Config {
            directory: directory.into(),
            pattern: None,
            settle: None,
            max_content: None,
            start: Start::Now,
            source: None,
            ty: None,
        }
    }

    #[test]
    fn a_mistake_names_the_setting_and_what_is_allowed() {
        let problem = |config: Config| Plan::try_from(config).unwrap_err().to_string();
        let table = [
            (config("in"), "--directory: in must be a whole path, from / on"),
            (
                Config {
                    settle: Some("soon".to_owned()),
                    ..config("/in")
                },
                "--settle: \"soon\" must be a time up to a day, as 2s",
            ),
            (
                Config {
                    max_content: Some(1 << 30),
                    ..config("/in")
                },
                "--max-content: 1073741824 is too much: at most 716800",
            ),
            (
                Config {
                    ty: Some(String::new()),
                    ..config("/in")
                },
                "--type: must not be empty",
            ),
        ];
        for (config, message) in table {
            assert_eq!(problem(config), message);
        }
    }

    #[test]
    fn a_directory_of_any_name_is_a_uri() {
        let plan = Plan::try_from(config("/srv/Ü b")).unwrap();

        assert_eq!(plan.source, "file:///srv/%C3%9C%20b");
    }
}
