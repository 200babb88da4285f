//! What the user writes, and the checks that make a [`Plan`] of it.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use dispatch_driver_sdk::SettingError;
use serde::Deserialize;
use uuid::Uuid;

use crate::checkpoint::Checkpoint;
use crate::event;
use crate::missed::Missed;
use crate::schedule::Schedule;

const LONGEST_JITTER: Duration = Duration::from_secs(60 * 60);

/// Settings as given.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// The schedule.
    #[serde(default)]
    pub cron: Option<String>,
    /// The one time, instead of a schedule.
    #[serde(default)]
    pub at: Option<String>,
    /// The longest a tick may be emitted late, so that many schedules do not fire at once.
    #[serde(default)]
    pub jitter: Option<String>,
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
    /// How long after its time every tick is emitted.
    pub(crate) delay: TimeDelta,
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
        let (schedule, words) = when(&config, timezone)?;
        let named = format!("{:?} {zone} {words}", config.dialect);
        let plan = Self {
            schedule,
            missed: config.missed,
            delay: delay(config.jitter.as_deref(), &named)?,
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

/// The schedule and what identifies it.
fn when(config: &Config, timezone: Tz) -> Result<(Schedule, String), SettingError> {
    match (&config.cron, &config.at) {
        (Some(cron), None) => {
            let schedule = Schedule::parse(cron, config.dialect, timezone)
                .map_err(|error| SettingError::invalid("cron", format!("{cron:?} {error}")))?;
            let words: Vec<&str> = cron.split_whitespace().collect();
            Ok((schedule, words.join(" ")))
        }
        (None, Some(at)) => {
            let time = DateTime::parse_from_rfc3339(at.trim()).map_err(|_| {
                let problem = format!("{at:?} is no time: write for instance 2026-12-01T09:00:00+01:00");
                SettingError::invalid("at", problem)
            })?;
            let time = time.to_utc();
            Ok((
                Schedule::At { time, timezone },
                format!("at {}", time.timestamp_millis()),
            ))
        }
        (Some(_), Some(_)) => Err(SettingError::invalid(
            "at",
            "is given beside --cron: give one of them",
        )),
        (None, None) => Err(SettingError::Missing("cron".to_owned())),
    }
}

/// Always the same for one driver and schedule: a restart neither repeats nor leaves out a tick because of it.
fn delay(jitter: Option<&str>, named: &str) -> Result<TimeDelta, SettingError> {
    let Some(jitter) = jitter else {
        return Ok(TimeDelta::zero());
    };
    let longest = dispatch_contract::parse_duration(jitter)
        .ok()
        .filter(|longest| *longest <= LONGEST_JITTER)
        .and_then(|longest| u64::try_from(longest.as_millis()).ok())
        .ok_or_else(|| {
            SettingError::invalid(
                "jitter",
                format!("{jitter:?} must be a time up to an hour, as 30s"),
            )
        })?;
    let driver = std::env::var("DISPATCH_DRIVER_ID").unwrap_or_default();
    let drawn = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{driver} {named}").as_bytes());
    let millis = drawn.as_u64_pair().0 % (longest + 1);
    Ok(TimeDelta::milliseconds(millis as i64))
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
            cron: Some(cron.to_owned()),
            at: None,
            jitter: None,
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
    fn a_schedule_or_one_time_is_given_and_never_both() {
        let at = |cron: Option<&str>, at: &str| Config {
            cron: cron.map(str::to_owned),
            at: Some(at.to_owned()),
            ..config("@daily")
        };
        assert_eq!(
            problem(at(Some("@daily"), "2026-12-01T09:00:00Z")),
            "--at: is given beside --cron: give one of them"
        );
        assert_eq!(
            problem(at(None, "tomorrow")),
            "--at: \"tomorrow\" is no time: write for instance 2026-12-01T09:00:00+01:00"
        );
        let neither = Config {
            at: None,
            ..at(None, "")
        };
        assert_eq!(problem(neither), "the setting --cron is required");
    }

    #[test]
    fn jitter_is_bounded_and_always_the_same_for_one_driver() {
        let delay = |jitter: &str| {
            Plan::try_from(Config {
                jitter: Some(jitter.to_owned()),
                ..config("@daily")
            })
            .map(|plan| plan.delay)
        };

        let drawn = delay("30s").unwrap();

        assert_eq!(delay("30s").unwrap(), drawn);
        assert!(
            drawn <= TimeDelta::seconds(30) && drawn > TimeDelta::zero(),
            "{drawn}"
        );
        assert_eq!(
            delay("2h").unwrap_err().to_string(),
            "--jitter: \"2h\" must be a time up to an hour, as 30s"
        );
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
