//! Flags of subscriptions.

use serde_json::{Map, Value, json};

use crate::filter;
use crate::names;

/// `create subscription`.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("target").required(true).args(["function", "sink"]))]
#[command(group = clap::ArgGroup::new("choice").required(true).multiple(true).args(["event_type", "filters"]))]
pub(super) struct Subscription {
    /// Name of the function that gets the events
    function: Option<String>,
    /// Its name
    #[arg(long)]
    name: Option<String>,
    /// Only events of exactly this type
    #[arg(long, value_name = "TYPE")]
    event_type: Option<String>,
    /// Only events like this: exact:type=x, prefix:source=/a, suffix:…, or a JSON filter; all must match
    #[arg(long = "filter", value_name = "FILTER", value_parser = filter::parse)]
    filters: Vec<Value>,
    /// Web hook that gets the events
    #[arg(long, value_name = "URL")]
    sink: Option<String>,
    /// How events are written to the web hook: binary or structured
    #[arg(long, value_name = "MODE", requires = "sink", conflicts_with = "function", value_parser = ["binary", "structured"], hide_possible_values = true)]
    sink_mode: Option<String>,
    /// Names of secrets the function gets besides its own
    #[arg(long = "secret", value_name = "NAME", value_delimiter = ',')]
    secrets: Vec<String>,
    /// Attempts after the first
    #[arg(long, value_name = "N", help_heading = "Delivery")]
    retry: Option<u32>,
    /// How the wait between attempts grows: linear or exponential
    #[arg(long, value_name = "POLICY", help_heading = "Delivery", value_parser = ["linear", "exponential"], hide_possible_values = true)]
    backoff_policy: Option<String>,
    /// First wait: 200ms, PT0.2S
    #[arg(long, value_name = "DURATION", help_heading = "Delivery", value_parser = duration)]
    backoff_delay: Option<String>,
    /// How long one attempt may take: 30s, PT30S
    #[arg(long, value_name = "DURATION", help_heading = "Delivery", value_parser = duration)]
    timeout: Option<String>,
    /// Attempts under way at once
    #[arg(long, value_name = "N", help_heading = "Delivery")]
    max_in_flight: Option<u32>,
    /// Whether events wait for earlier ones: none, or key (partitionkey, else subject)
    #[arg(long, value_name = "ORDER", help_heading = "Delivery", value_parser = ["none", "key"], hide_possible_values = true)]
    order: Option<String>,
    /// Attempts per second at most: 100, 0.5
    #[arg(long, value_name = "N", help_heading = "Delivery", value_parser = number)]
    rate: Option<serde_json::Number>,
    /// Web hook that gets what could not be delivered
    #[arg(long, value_name = "URL", help_heading = "Delivery")]
    dead_letter_sink: Option<String>,
}

impl Subscription {
    pub(super) fn body(self) -> Value {
        let mut body = object([
            ("eventType", self.event_type.map(Value::from)),
            (
                "filters",
                Some(self.filters).filter(|f| !f.is_empty()).map(Value::from),
            ),
            ("function", self.function.map(Value::from)),
            ("secrets", Some(json!(self.secrets))),
        ]);
        body.insert(
            "name".to_owned(),
            json!(self.name.unwrap_or_else(names::generate)),
        );
        if let Some(uri) = self.sink {
            let sink = object([
                ("uri", Some(json!(uri))),
                ("mode", self.sink_mode.map(Value::from)),
            ]);
            body.insert("sink".to_owned(), sink.into());
        }
        let delivery = object([
            ("retry", self.retry.map(Value::from)),
            ("backoffPolicy", self.backoff_policy.map(Value::from)),
            ("backoffDelay", self.backoff_delay.map(Value::from)),
            ("timeout", self.timeout.map(Value::from)),
            ("maxInFlight", self.max_in_flight.map(Value::from)),
            ("order", self.order.map(Value::from)),
            ("rate", self.rate.map(Value::from)),
            (
                "deadLetterSink",
                self.dead_letter_sink.map(|uri| json!({"uri": uri})),
            ),
        ]);
        if !delivery.is_empty() {
            body.insert("delivery".to_owned(), delivery.into());
        }
        Value::Object(body)
    }
}

fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Map<String, Value> {
    let said = fields
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)));
    said.collect()
}

/// A number as it was written, whole or not.
fn number(text: &str) -> Result<serde_json::Number, String> {
    serde_json::from_str(text).map_err(|_| "write a number: 100, 0.5".to_owned())
}

/// Checks a duration and leaves it as it was written.
fn duration(text: &str) -> Result<String, String> {
    match dispatch_contract::parse_duration(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        said: Subscription,
    }

    fn body(line: &str) -> Result<Value, clap::Error> {
        Ok(Line::try_parse_from(std::iter::once("x").chain(line.split(' ')))?
            .said
            .body())
    }

    #[test]
    fn the_published_line_makes_the_published_subscription() {
        let body = body("hello-world --name cron-sub --event-type cron.trigger").unwrap();

        let expected = json!({"name": "cron-sub", "eventType": "cron.trigger", "function": "hello-world", "secrets": []});
        assert_eq!(body, expected);
    }

    #[test]
    fn a_web_hook_has_its_mode_its_filters_and_its_delivery() {
        let body = body(
            "--name s --sink http://sink --sink-mode structured --filter prefix:source=/a --filter exact:type=x --retry 3 \
             --backoff-policy linear --backoff-delay 1s --timeout PT5S --max-in-flight 2 --order key \
             --rate 0.5 --dead-letter-sink http://dead",
        );

        let expected = json!({
            "name": "s", "secrets": [],
            "sink": {"uri": "http://sink", "mode": "structured"},
            "filters": [{"prefix": {"source": "/a"}}, {"exact": {"type": "x"}}],
            "delivery": {"retry": 3, "backoffPolicy": "linear", "backoffDelay": "1s", "timeout": "PT5S",
                "maxInFlight": 2, "order": "key", "rate": 0.5, "deadLetterSink": {"uri": "http://dead"}},
        });
        assert_eq!(body.unwrap(), expected);
    }

    #[test]
    fn a_subscription_has_one_target_and_chooses_something() {
        for wrong in [
            "--event-type t",
            "f --sink http://s --event-type t",
            "f",
            "f --event-type t --sink-mode binary",
            "f --event-type t --timeout soon",
            "f --event-type t --rate much",
            "f --event-type t --order subject",
        ] {
            assert!(body(wrong).is_err(), "{wrong}");
        }
    }
}
