//! An EventBridge event as a CloudEvent. Pure.
//!
//! There is no adapter for EventBridge among those of the CloudEvents project, so this is our own: nothing of the
//! envelope is lost, and `detail` is passed on as the bytes that came.

use chrono::{DateTime, Utc};
use dispatch_contract::{Event, EventBuilder, EventError};
use serde_json::value::RawValue;

/// The envelope (version 0). Emulators leave some of it out.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Envelope<'a> {
    id: String,
    #[serde(rename = "detail-type")]
    detail_type: String,
    source: String,
    account: Option<String>,
    time: Option<DateTime<Utc>>,
    region: Option<String>,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(borrow)]
    detail: &'a RawValue,
}

/// `source` of all events in classic mode, unless set.
pub(crate) const CLASSIC_SOURCE: &str = "dispatch";
const DETAIL_ATTRIBUTES: [&str; 4] = ["awsaccount", "awsregion", "awssource", "awsdetailtype"];

impl Envelope<'_> {
    /// `type` says service and happening, `data` is the detail.
    pub(crate) fn to_event(&self, source: Option<&str>) -> Result<Event, EventError> {
        let account = self.account.as_deref().unwrap_or_default();
        let region = self.region.as_deref().unwrap_or_default();
        let source = match source {
            Some(source) => source.to_owned(),
            None => format!("urn:aws:{region}:{account}:{}", self.source.replace(' ', "-")),
        };
        let mut event = self.timed(Event::builder(&self.id, source, self.ty()));
        if let Some(subject) = self.subject() {
            event = event.subject(subject);
        }
        let values = [account, region, &self.source, &self.detail_type];
        for (name, value) in DETAIL_ATTRIBUTES
            .into_iter()
            .zip(values)
            .filter(|(_, v)| !v.is_empty())
        {
            event = event.attribute(name, value);
        }
        event.json(self.detail.get().to_owned()).build()
    }

    /// As the original driver made it, but with the event's own id and time: `type` is the service, `data` is all of
    /// `body`.
    pub(crate) fn to_classic(&self, body: &str, source: Option<&str>) -> Result<Event, EventError> {
        let event = Event::builder(&self.id, source.unwrap_or(CLASSIC_SOURCE), &self.source);
        self.timed(event).json(body.to_owned()).build()
    }

    fn timed(&self, event: EventBuilder) -> EventBuilder {
        match self.time {
            Some(time) => event.time(time),
            None => event,
        }
    }

    fn ty(&self) -> String {
        let slug = slug(&self.detail_type);
        match self.source.strip_prefix("aws.") {
            Some(service) => format!("com.amazonaws.{service}.{slug}"),
            None => format!("{}.{slug}", self.source),
        }
    }

    /// The first resource; CloudTrail names none, so there it is what was called.
    fn subject(&self) -> Option<String> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Call {
            event_name: String,
        }
        if let Some(resource) = self.resources.first() {
            return Some(resource.clone());
        }
        let is_trail = self.detail_type.ends_with("via CloudTrail");
        let call = is_trail.then(|| serde_json::from_str::<Call>(self.detail.get()).ok());
        call.flatten().map(|call| call.event_name)
    }
}

/// `EC2 Instance State-change Notification` as `ec2-instance-state-change-notification`.
fn slug(text: &str) -> String {
    let words = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE_CHANGE: &str = r#"{"version":"0","id":"6a7e8feb-b491-4cf7-a9f1-bf3703467718",
        "detail-type":"EC2 Instance State-change Notification","source":"aws.ec2","account":"111122223333",
        "time":"2017-12-22T18:43:48Z","region":"us-west-1",
        "resources":["arn:aws:ec2:us-west-1:123456789012:instance/i-1234567890abcdef0"],
        "detail":{"instance-id":"i-1234567890abcdef0","state":"terminated","big":12345678901234567890123}}"#;

    fn envelope(text: &str) -> Envelope<'_> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_state_change_loses_nothing() {
        let event = envelope(STATE_CHANGE).to_event(None).unwrap();

        assert_eq!(event.id(), "6a7e8feb-b491-4cf7-a9f1-bf3703467718");
        assert_eq!(event.source(), "urn:aws:us-west-1:111122223333:aws.ec2");
        assert_eq!(
            event.ty(),
            "com.amazonaws.ec2.ec2-instance-state-change-notification"
        );
        assert_eq!(
            event.subject(),
            Some("arn:aws:ec2:us-west-1:123456789012:instance/i-1234567890abcdef0")
        );
        assert_eq!(event.time(), "2017-12-22T18:43:48Z".parse().ok());
        let attributes = DETAIL_ATTRIBUTES.map(|name| event.attribute(name).unwrap().to_owned());
        assert_eq!(
            attributes,
            [
                "111122223333",
                "us-west-1",
                "aws.ec2",
                "EC2 Instance State-change Notification"
            ]
        );
        let data = event.data_bytes().unwrap();
        assert!(
            data.ends_with(br#""big":12345678901234567890123}"#),
            "numbers stay as they came"
        );
    }

    #[test]
    fn classic_is_the_originals_event_with_the_id_it_came_with() {
        let event = envelope(STATE_CHANGE).to_classic(STATE_CHANGE, None).unwrap();
        assert_eq!((event.source(), event.ty()), ("dispatch", "aws.ec2"));
        assert_eq!(event.id(), "6a7e8feb-b491-4cf7-a9f1-bf3703467718");
        assert_eq!(event.data_bytes().unwrap(), STATE_CHANGE.as_bytes());
    }

    #[test]
    fn a_cloudtrail_call_has_its_name_as_subject() {
        let text = r#"{"version":"0","id":"1","detail-type":"AWS API Call via CloudTrail","source":"aws.s3",
            "account":"1","time":"2026-01-31T23:59:59Z","region":"eu-west-1","resources":[],
            "detail":{"eventSource":"s3.amazonaws.com","eventName":"CreateBucket"}}"#;
        let event = envelope(text).to_event(None).unwrap();
        assert_eq!(
            (event.subject(), event.ty()),
            (
                Some("CreateBucket"),
                "com.amazonaws.s3.aws-api-call-via-cloudtrail"
            )
        );
    }

    #[test]
    fn what_is_left_out_is_left_out() {
        let text = r#"{"id":"1","detail-type":"Order Placed","source":"my.shop","detail":{}}"#;
        let event = envelope(text).to_event(None).unwrap();
        assert_eq!(
            (event.source(), event.ty()),
            ("urn:aws:::my.shop", "my.shop.order-placed")
        );
        assert_eq!(
            (event.time(), event.subject(), event.attribute("awsaccount")),
            (None, None, None)
        );
        assert_eq!(envelope(text).to_event(Some("/shop")).unwrap().source(), "/shop");
    }
}
