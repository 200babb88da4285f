//! The SNS topics that may send by HTTPS, and what on the way to and from them is AWS and what is not.

use dispatch_driver_sdk::SettingError;
use url::Url;

/// A topic by its ARN, `arn:aws:sns:REGION:ACCOUNT:NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Topic {
    arn: String,
    /// Where its SNS is: `sns.eu-west-1.amazonaws.com`.
    host: String,
}

impl Topic {
    /// Checks the setting `sns-topics`.
    pub(crate) fn parse(arn: &str) -> Result<Self, SettingError> {
        let parts: Vec<&str> = arn.split(':').collect();
        let is_word = |text: &str, more: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
            !text.is_empty() && text.chars().all(fits)
        };
        let problem = format!("{arn:?} is no topic: write arn:aws:sns:eu-west-1:123456789012:name");
        let [
            "arn",
            partition @ ("aws" | "aws-cn" | "aws-us-gov"),
            "sns",
            region,
            account,
            name,
        ] = parts[..]
        else {
            return Err(SettingError::invalid("sns-topics", problem));
        };
        if !(is_word(region, "-") && is_word(account, "") && is_word(name, "-_.")) {
            return Err(SettingError::invalid("sns-topics", problem));
        }
        let end = if partition == "aws-cn" { ".cn" } else { "" };
        Ok(Self {
            arn: arn.to_owned(),
            host: format!("sns.{region}.amazonaws.com{end}"),
        })
    }

    /// Its ARN.
    pub(crate) fn arn(&self) -> &str {
        &self.arn
    }
}

/// The topics, and where their certificates and confirmations may be.
#[derive(Debug, Clone)]
pub(crate) struct Topics {
    pub(crate) all: Vec<Topic>,
    /// `endpoint-url`: a place that counts as AWS.
    pub(crate) endpoint: Option<Url>,
}

impl Topics {
    /// The topic, if it may send.
    pub(crate) fn find(&self, arn: &str) -> Option<&Topic> {
        self.all.iter().find(|topic| topic.arn == arn)
    }

    /// Where a certificate of the topic's SNS is, if it is there: a file of SNS's own and no answer to some request.
    pub(crate) fn certificate(&self, topic: &Topic, written: &str) -> Option<Url> {
        let url = self.at_sns(topic, written)?;
        let path = url.path().strip_prefix("/SimpleNotificationService-")?;
        let name = path.strip_suffix(".pem")?;
        (!name.is_empty() && !name.contains('/') && url.query().is_none()).then_some(url)
    }

    /// Where to confirm the topic's subscription with that token, if that is what it is.
    pub(crate) fn confirmation(&self, topic: &Topic, token: &str, written: &str) -> Option<Url> {
        let url = self.at_sns(topic, written)?;
        let says = |key: &str, value: &str| {
            let mut given = url.query_pairs().filter(|(name, _)| name == key);
            given.next().is_some_and(|(_, given)| given == value) && given.next().is_none()
        };
        let confirms =
            says("Action", "ConfirmSubscription") && says("TopicArn", &topic.arn) && says("Token", token);
        (confirms && url.path() == "/").then_some(url)
    }

    fn at_sns(&self, topic: &Topic, written: &str) -> Option<Url> {
        let url = Url::parse(written).ok()?;
        let is_plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        let is_aws = url.scheme() == "https" && url.port().is_none() && url.host_str() == Some(&topic.host);
        let is_endpoint = self
            .endpoint
            .as_ref()
            .is_some_and(|endpoint| endpoint.origin() == url.origin());
        (is_plain && (is_aws || is_endpoint)).then_some(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:sns:eu-west-1:123456789012:orders";

    fn topics(endpoint: Option<&str>) -> Topics {
        Topics {
            all: vec![Topic::parse(ARN).unwrap()],
            endpoint: endpoint.map(|url| url.parse().unwrap()),
        }
    }

    #[test]
    fn a_certificate_is_only_a_file_of_the_topics_own_sns() {
        let is_taken = |endpoint: Option<&str>, url: &str| {
            let topics = topics(endpoint);
            topics.certificate(&topics.all[0], url).is_some()
        };
        let file = "SimpleNotificationService-0123abc.pem";
        let table = [
            ("https://sns.eu-west-1.amazonaws.com/", true),
            ("https://sns.eu-west-1.amazonaws.com:443/", true),
            ("http://sns.eu-west-1.amazonaws.com/", false),
            ("https://sns.us-east-1.amazonaws.com/", false),
            ("https://sns.eu-west-1.amazonaws.com.cn/", false),
            ("https://sns.eu-west-1.amazonaws.com:8443/", false),
            ("https://sns.eu-west-1.amazonaws.com.evil.example/", false),
            ("https://evil.example/sns.eu-west-1.amazonaws.com/", false),
            ("https://sns.eu-west-1.amazonaws.com@evil.example/", false),
            ("https://user@sns.eu-west-1.amazonaws.com/", false),
            ("https://sns.eu-west-1.amazonaws.com/a/", false),
            ("https://sns.eu-west-1.amazonaws.com/?Action=Publish&x=/", false),
            ("http://127.0.0.1:1/", false),
        ];
        for (place, expected) in table {
            assert_eq!(is_taken(None, &format!("{place}{file}")), expected, "{place}");
        }
        assert!(!is_taken(None, "https://sns.eu-west-1.amazonaws.com/other.pem"));
        assert!(!is_taken(
            None,
            &format!("https://sns.eu-west-1.amazonaws.com/{file}?x")
        ));
        let endpoint = Some("http://127.0.0.1:1");
        assert!(is_taken(endpoint, &format!("http://127.0.0.1:1/{file}")));
        assert!(!is_taken(endpoint, &format!("http://127.0.0.1:2/{file}")));
    }

    #[test]
    fn only_a_confirmation_of_that_topic_with_that_token_is_followed() {
        let topics = topics(None);
        let is_taken = |query: &str| {
            let url = format!("https://sns.eu-west-1.amazonaws.com/?{query}");
            topics.confirmation(&topics.all[0], "t1", &url).is_some()
        };
        let table = [
            (
                format!("Action=ConfirmSubscription&TopicArn={ARN}&Token=t1"),
                true,
            ),
            (format!("Action=Publish&TopicArn={ARN}&Token=t1"), false),
            (
                format!("Action=ConfirmSubscription&TopicArn={ARN}x&Token=t1"),
                false,
            ),
            (
                format!("Action=ConfirmSubscription&TopicArn={ARN}&Token=t2"),
                false,
            ),
            (
                format!("Action=ConfirmSubscription&Action=Publish&TopicArn={ARN}&Token=t1"),
                false,
            ),
        ];
        for (query, expected) in table {
            assert_eq!(is_taken(&query), expected, "{query}");
        }
    }

    #[test]
    fn a_topic_in_china_is_at_its_own_sns() {
        let topic = Topic::parse("arn:aws-cn:sns:cn-north-1:1:t").unwrap();
        assert_eq!(topic.host, "sns.cn-north-1.amazonaws.com.cn");
        for wrong in [
            "orders",
            "arn:aws:sqs:eu-west-1:1:q",
            "arn:aws:sns:x.evil.example/:1:t",
            "arn:aws:sns:r:1:t:s",
        ] {
            assert!(Topic::parse(wrong).is_err(), "{wrong}");
        }
    }
}
