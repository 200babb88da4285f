//! What the user writes, and the checks that need no network.

use std::time::Duration;

use dispatch_contract::parse_duration;
use dispatch_driver_sdk::{Key, SecretString, SettingError};
use serde_json::value::RawValue;
use url::Url;

use crate::destination::{KEY_HEADER, Keys};
use crate::door::Senders;
use crate::message::Origin;
use crate::secret::Secrets;
use crate::subscription::Subscriptions;
use crate::topic::{Topic, Topics};

/// All settings of the driver. Credentials are none of them: the AWS SDK reads its own variables.
pub(crate) const KEYS: &[Key] = &[
    Key::plain("region", "the AWS region; AWS_REGION unless given"),
    Key::plain(
        "event-patterns",
        "JSON array of EventBridge patterns: one rule each, all to one queue",
    ),
    Key::plain(
        "schedule-expression",
        "an EventBridge schedule: rate(5 minutes) or cron(0 20 * * ? *)",
    ),
    Key::plain("event-bus", "the event bus of the patterns; default unless given"),
    Key::plain(
        "queue-name",
        "how the name of the made queue begins; dispatch unless given",
    ),
    Key::plain("queue-url", "read this queue and make nothing"),
    Key::secret(
        "api-key",
        "listen for an EventBridge API destination that sends this key; several with commas",
    ),
    Key::plain("api-key-header", "the header of that key; X-Api-Key unless given"),
    Key::plain(
        "sns-topics",
        "listen for SNS over HTTPS: the ARNs of topics, with commas",
    ),
    Key::secret(
        "sns-secret",
        "what the query parameter `secret` of the subscription's URL must say; several with commas",
    ),
    Key::plain("mode", "how events are made: cloudevents (default) or classic"),
    Key::plain("source", "the events' source, instead of what AWS says"),
    Key::plain(
        "visibility-timeout",
        "how long others do not see what is being delivered; 2m unless given",
    ),
    Key::plain("endpoint-url", "where AWS is, for instance http://127.0.0.1:4566"),
];

/// Longer names leave no room for what is appended (a rule's name has 64 characters).
const LONGEST_QUEUE_NAME: usize = 40;
/// AWS lets one bus have 300 rules.
const MOST_PATTERNS: usize = 100;
const SHORTEST_VISIBILITY: Duration = Duration::from_secs(2);
const LONGEST_VISIBILITY: Duration = Duration::from_secs(12 * 3600);

/// The settings as written. Turn it into a [`Config`].
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Written {
    region: Option<String>,
    event_patterns: Option<String>,
    schedule_expression: Option<String>,
    event_bus: Option<String>,
    queue_name: Option<String>,
    queue_url: Option<String>,
    #[serde(default)]
    api_key: Vec<SecretString>,
    api_key_header: Option<String>,
    #[serde(default)]
    sns_topics: Vec<String>,
    #[serde(default)]
    sns_secret: Vec<SecretString>,
    #[serde(default)]
    mode: Mode,
    source: Option<String>,
    visibility_timeout: Option<String>,
    endpoint_url: Option<String>,
}

/// How an EventBridge event becomes a CloudEvent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// `type` names service and detail-type, `data` is the detail.
    #[default]
    CloudEvents,
    /// As the original driver: `type` is the service (`aws.ec2`), `data` the whole envelope.
    Classic,
}

/// Settings that fit together.
#[derive(Debug)]
pub struct Config {
    pub(crate) region: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) queue: Option<Queue>,
    pub(crate) senders: Option<Senders>,
    pub(crate) mode: Mode,
    pub(crate) source: Option<String>,
    pub(crate) visibility: Duration,
}

/// Where the messages are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Queue {
    /// In a queue somebody else made.
    Given(String),
    /// In one of our own, with rules that send to it.
    Made(Wanted),
}

/// A queue and the rules that send to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) bus: Option<String>,
    pub(crate) patterns: Vec<String>,
    pub(crate) schedule: Option<String>,
}

impl Config {
    /// What all events from that place have in common.
    pub(crate) fn origin(&self, place: &str) -> Origin {
        Origin {
            place: place.to_owned(),
            mode: self.mode,
            source: self.source.clone(),
        }
    }
}

impl TryFrom<Written> for Config {
    type Error = SettingError;

    fn try_from(written: Written) -> Result<Self, SettingError> {
        let endpoint = written
            .endpoint_url
            .map(|url| web("endpoint-url", url))
            .transpose()?;
        let mut patterns = Vec::new();
        if let Some(text) = &written.event_patterns {
            patterns = self::patterns(text).map_err(|e| SettingError::invalid("event-patterns", e))?;
        }
        if let Some(schedule) = &written.schedule_expression {
            check_schedule(schedule)?;
            if written.event_bus.is_some() {
                let problem = "a schedule belongs to the default bus; leave event-bus out";
                return Err(SettingError::invalid("schedule-expression", problem));
            }
        }
        let makes_rules = !patterns.is_empty() || written.schedule_expression.is_some();
        let listens = !written.api_key.is_empty() || !written.sns_topics.is_empty();
        let queue = match written.queue_url {
            Some(_) if makes_rules || written.queue_name.is_some() || written.event_bus.is_some() => {
                let problem = "a given queue is only read: leave event-patterns, schedule-expression, event-bus \
                               and queue-name out";
                return Err(SettingError::invalid("queue-url", problem));
            }
            Some(url) => Some(Queue::Given(web("queue-url", url)?)),
            None if !makes_rules && listens => None,
            None if !makes_rules => {
                let problem =
                    "is required, or else event-patterns, schedule-expression, api-key or sns-topics";
                return Err(SettingError::invalid("queue-url", problem));
            }
            None => Some(Queue::Made(Wanted {
                name: queue_name(written.queue_name)?,
                bus: written.event_bus,
                patterns,
                schedule: written.schedule_expression,
            })),
        };
        if let Some(source) = &written.source
            && (source.is_empty() || source.contains(|c: char| c.is_whitespace() || c.is_control()))
        {
            let problem = format!("{source:?} is no URI reference: it must not be empty and has no spaces");
            return Err(SettingError::invalid("source", problem));
        }
        let senders = Senders {
            keys: keys(written.api_key, written.api_key_header)?,
            subscriptions: subscriptions(&written.sns_topics, written.sns_secret, endpoint.as_deref())?,
        };
        Ok(Self {
            region: written.region,
            endpoint,
            queue,
            senders: listens.then_some(senders),
            mode: written.mode,
            source: written.source,
            visibility: visibility(written.visibility_timeout.as_deref())?,
        })
    }
}

fn keys(keys: Vec<SecretString>, header: Option<String>) -> Result<Option<Keys>, SettingError> {
    let Some(keys) = Secrets::new("api-key", keys)? else {
        return Ok(None);
    };
    let header = header
        .unwrap_or_else(|| KEY_HEADER.to_owned())
        .to_ascii_lowercase();
    match !header.is_empty() && header.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        true => Ok(Some(Keys { header, keys })),
        false => Err(SettingError::invalid(
            "api-key-header",
            format!("{header:?} is no name of a header"),
        )),
    }
}

fn subscriptions(
    topics: &[String],
    secrets: Vec<SecretString>,
    endpoint: Option<&str>,
) -> Result<Option<Subscriptions>, SettingError> {
    let secret = Secrets::new("sns-secret", secrets)?;
    match topics {
        [] if secret.is_some() => return Err(SettingError::Missing("sns-topics".to_owned())),
        [] => return Ok(None),
        _ => {}
    }
    let topics = Topics {
        all: topics
            .iter()
            .map(|arn| Topic::parse(arn))
            .collect::<Result<_, _>>()?,
        endpoint: endpoint.and_then(|url| Url::parse(url).ok()),
    };
    let made = Subscriptions::new(topics, secret);
    made.map(Some)
        .map_err(|error| SettingError::invalid("sns-topics", error))
}

fn web(key: &str, url: String) -> Result<String, SettingError> {
    match Url::parse(&url) {
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") => Ok(url),
        _ => Err(SettingError::invalid(
            key,
            format!("{url:?} is no URL that begins with http:// or https://"),
        )),
    }
}

/// One pattern or an array of them, each an object, as they were written.
fn patterns(text: &str) -> Result<Vec<String>, String> {
    let text = text.trim();
    let all: Vec<&RawValue> = match text.starts_with('[') {
        true => serde_json::from_str(text),
        false => serde_json::from_str(text).map(|one| vec![one]),
    }
    .map_err(|e| format!("is not JSON: {e}"))?;
    if all.is_empty() || all.len() > MOST_PATTERNS {
        return Err(format!("must be 1 to {MOST_PATTERNS} patterns"));
    }
    for (position, pattern) in all.iter().enumerate() {
        if !pattern.get().starts_with('{') {
            return Err(format!(
                "pattern {} is no object; write [{{\"source\":[\"aws.ec2\"]}}]",
                position + 1
            ));
        }
    }
    Ok(all.into_iter().map(|pattern| pattern.get().to_owned()).collect())
}

fn check_schedule(schedule: &str) -> Result<(), SettingError> {
    let begins = schedule.starts_with("rate(") || schedule.starts_with("cron(");
    match begins && schedule.ends_with(')') {
        true => Ok(()),
        false => Err(SettingError::invalid(
            "schedule-expression",
            format!("{schedule:?} is neither rate(5 minutes) nor cron(0 20 * * ? *)"),
        )),
    }
}

fn queue_name(name: Option<String>) -> Result<String, SettingError> {
    let name = name.unwrap_or_else(|| "dispatch".to_owned());
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match (1..=LONGEST_QUEUE_NAME).contains(&name.len()) && name.chars().all(fits) {
        true => Ok(name),
        false => Err(SettingError::invalid(
            "queue-name",
            format!("{name:?} must be 1 to {LONGEST_QUEUE_NAME} letters, digits, - and _"),
        )),
    }
}

fn visibility(text: Option<&str>) -> Result<Duration, SettingError> {
    let Some(text) = text else {
        return Ok(Duration::from_secs(120));
    };
    match parse_duration(text) {
        Ok(time) if (SHORTEST_VISIBILITY..=LONGEST_VISIBILITY).contains(&time) => Ok(time),
        _ => Err(SettingError::invalid(
            "visibility-timeout",
            format!("{text:?} is no duration from 2s to 12h"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use dispatch_driver_sdk::Settings;

    use super::*;

    fn read(args: &[&str]) -> Result<Config, String> {
        let settings = Settings::parse(args.iter().map(|a| (*a).to_owned())).unwrap();
        let written: Written = settings.config(KEYS).map_err(|e| e.to_string())?;
        Config::try_from(written).map_err(|e| e.to_string())
    }

    #[test]
    fn the_originals_settings_are_enough() {
        let patterns = r#"--event-patterns=[{"source":["aws.ec2"]}, {"source":["aws.s3"]}]"#;
        let config = read(&[
            "--region=us-west-2",
            patterns,
            "--schedule-expression=rate(5 minutes)",
        ])
        .unwrap();
        let wanted = Wanted {
            name: "dispatch".to_owned(),
            bus: None,
            patterns: vec![
                r#"{"source":["aws.ec2"]}"#.to_owned(),
                r#"{"source":["aws.s3"]}"#.to_owned(),
            ],
            schedule: Some("rate(5 minutes)".to_owned()),
        };
        assert_eq!(config.queue, Some(Queue::Made(wanted)));
        assert_eq!(
            (config.mode, config.visibility),
            (Mode::CloudEvents, Duration::from_secs(120))
        );
    }

    #[test]
    fn a_given_queue_needs_nothing_else() {
        let url = "https://sqs.eu-central-1.amazonaws.com/123456789012/orders";
        let config = read(&[&format!("--queue-url={url}"), "--mode=classic"]).unwrap();
        assert_eq!(config.queue, Some(Queue::Given(url.to_owned())));
        assert_eq!(config.mode, Mode::Classic);
    }

    #[test]
    fn a_mistake_names_the_setting_and_what_is_allowed() {
        let table: &[(&[&str], &str)] = &[
            (
                &[],
                "--queue-url: is required, or else event-patterns, schedule-expression, api-key or sns-topics",
            ),
            (
                &["--queue-url=https://x/y", "--queue-name=z"],
                "--queue-url: a given queue is only read: leave event-patterns, schedule-expression, event-bus and \
                 queue-name out",
            ),
            (
                &["--queue-url=sqs"],
                "--queue-url: \"sqs\" is no URL that begins with http:// or https://",
            ),
            (
                &["--event-patterns=[\"aws.ec2\"]"],
                "--event-patterns: pattern 1 is no object; write [{\"source\":[\"aws.ec2\"]}]",
            ),
            (
                &["--schedule-expression=5 minutes"],
                "--schedule-expression: \"5 minutes\" is neither rate(5 minutes) nor cron(0 20 * * ? *)",
            ),
            (
                &["--schedule-expression=rate(1 day)", "--queue-name=a b"],
                "--queue-name: \"a b\" must be 1 to 40 letters, digits, - and _",
            ),
            (
                &["--queue-url=https://x/y", "--visibility-timeout=1s"],
                "--visibility-timeout: \"1s\" is no duration from 2s to 12h",
            ),
            (
                &["--queue-url=https://x/y", "--mode=old"],
                "--mode: \"old\" is not one of cloudevents, classic",
            ),
        ];
        for (args, message) in table {
            assert_eq!(read(args).unwrap_err(), *message);
        }
    }
}
