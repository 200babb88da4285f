//! What the user writes, and the checks that make a [`Plan`] of it.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use dispatch_driver_sdk::SettingError;
use serde::Deserialize;
use uuid::Uuid;

use crate::checkpoint::Checkpoint;
use crate::event;
use crate::missed::Missed;
use crate::schedule::Schedule;

/// Settings as given.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// The schedule.
    pub cron: String,
    /// Its time zone.
    #[serde(default)]
    pub timezone: Option<String>,
    /// What the fields of the schedule mean.
    #[serde(default)]
    pub dialect: Dialect,
    /// What becomes of missed ticks.
    #[serde(default)]
    pub missed: Missed,
    /// `source` of the events.
    #[serde(default)]
    pub source: Option<String>,
    /// `type` of the events.
    #[serde(default, rename = "type")]
    pub ty: Option<String>,
}

/// What the fields of a schedule mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// Five fields begin with minutes; six begin with seconds.
    #[default]
    Unix,
    /// As in the image `dispatchframework/dispatch-events-cron:0.0.1`: seconds come first, and the day of the
    /// week may be left out.
    Dispatch,
}

/// Checked settings.
#[derive(Debug, Clone)]
pub struct Plan {
    /// When.
    pub schedule: Schedule,
    /// What of the past is made up for.
    pub missed: Missed,
    pub(crate) source: String,
    pub(crate) ty: String,
    /// Tells this schedule from others.
    pub(crate) fingerprint: String,
}

impl Plan {
    /// The checkpoint that says everything up to this tick was emitted.
    pub(crate) fn checkpoint(&self, tick: DateTime<Utc>) -> Bytes {
        let schedule = self.fingerprint.clone();
        Checkpoint { tick, schedule }.write()
    }
}

impl TryFrom<Config> for Plan {
    type Error = SettingError;

    fn try_from(config: Config) -> Result<Self, SettingError> {
        let zone = config.timezone.as_deref().map(str::trim).unwrap_or("UTC");
        let timezone = zone.parse().map_err(|_| {
            SettingError::invalid(
                "timezone",
                format!("{zone:?} is no time zone: write for instance Europe/Berlin"),
            )
        })?;
        let schedule = Schedule::parse(&config.cron, config.dialect, timezone)
            .map_err(|error| SettingError::invalid("cron", format!("{:?} {error}", config.cron)))?;
        let words: Vec<&str> = config.cron.split_whitespace().collect();
        let named = format!("{:?} {zone} {}", config.dialect, words.join(" "));
        let plan = Self {
            schedule,
            missed: config.missed,
            source: config.source.unwrap_or_else(default_source),
            ty: config.ty.unwrap_or_else(|| "cron.trigger".to_owned()),
            fingerprint: Uuid::new_v5(&Uuid::NAMESPACE_OID, named.as_bytes())
                .simple()
                .to_string()[..16]
                .to_owned(),
        };
        match event::tick(&plan, DateTime::UNIX_EPOCH) {
            Ok(_) => Ok(plan),
            Err(error) => Err(SettingError::invalid(error.attribute, error.problem)),
        }
    }
}

/// Two drivers with one schedule are two sources, or the hub would take their ticks for one.
fn default_source() -> String {
    match std::env::var("DISPATCH_DRIVER_NAME") {
        Ok(name) => format!("/dispatch/cron/{name}"),
        Err(_) => "/dispatch/cron".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(cron: &str) -> Config {
        Config {
            cron: cron.to_owned(),
            timezone: None,
            dialect: Dialect::Unix,
            missed: Missed::Once,
            source: None,
            ty: None,
        }
    }
    fn problem(config: Config) -> String {
        Plan::try_from(config).unwrap_err().to_string()
    }

    #[test]
    fn a_mistake_names_the_setting_and_what_is_allowed() {
        let cron = problem(config("61 * * * *"));
        assert!(cron.starts_with("--cron: \"61 * * * *\" "), "{cron}");
        let zone = problem(Config {
            timezone: Some("Berlin".to_owned()),
            ..config("@daily")
        });
        assert_eq!(
            zone,
            "--timezone: \"Berlin\" is no time zone: write for instance Europe/Berlin"
        );
        let ty = problem(Config {
            ty: Some(String::new()),
            ..config("@daily")
        });
        assert_eq!(ty, "--type: must not be empty");
    }

    #[test]
    fn schedules_have_different_fingerprints_whatever_their_spaces() {
        let fingerprint = |config| Plan::try_from(config).unwrap().fingerprint;
        let one = fingerprint(config("*/5 * * * *"));
        assert_eq!(one, fingerprint(config(" */5  * * * *")));
        assert_ne!(one, fingerprint(config("*/6 * * * *")));
        assert_ne!(
            one,
            fingerprint(Config {
                dialect: Dialect::Dispatch,
                ..config("*/5 * * * *")
            })
        );
        assert_ne!(
            one,
            fingerprint(Config {
                timezone: Some("Asia/Tokyo".into()),
                ..config("*/5 * * * *")
            })
        );
    }
}
