//! A message of a queue as events. Pure: the same message gives the same events, however often it is read.
//!
//! A queue holds what was put there: EventBridge events, S3 and SNS notifications (raw or not, an S3 notification
//! inside an SNS one too), CloudEvents, or anything else. What is none of them, or says it is and is not, becomes an
//! event of its own type with the message's id, so that nothing is lost and nothing blocks the others.

use chrono::{DateTime, Utc};
use dispatch_contract::{Event, EventError, RESERVED_TYPE_PREFIX};
use serde_json::value::RawValue;

use crate::config::Mode;
use crate::{eventbridge, s3, sns};

/// Type of an event made of a message that is nothing this driver knows.
pub(crate) const MESSAGE_TYPE: &str = "com.amazonaws.sqs.message";

/// What all messages of a queue have in common.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// ARN of the queue, or of what else it came from.
    pub(crate) place: String,
    pub(crate) mode: Mode,
    pub(crate) source: Option<String>,
}

/// A message as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) id: &'a str,
    pub(crate) body: &'a str,
    pub(crate) sent: Option<DateTime<Utc>>,
}

/// What tells the kinds of body apart.
#[derive(Debug, serde::Deserialize)]
struct Shape<'a> {
    specversion: Option<String>,
    #[serde(rename = "detail-type")]
    detail_type: Option<String>,
    #[serde(rename = "Records", borrow)]
    records: Option<Vec<&'a RawValue>>,
    #[serde(rename = "Event")]
    event: Option<String>,
    #[serde(rename = "Type")]
    ty: Option<String>,
    #[serde(rename = "TopicArn")]
    topic: Option<String>,
}

impl Origin {
    /// The message's events. None at all only for S3's message that a bucket was told of the queue.
    pub(crate) fn events(&self, message: Message<'_>) -> Result<Vec<Event>, EventError> {
        match self.known(message.body, true) {
            Some(events) => Ok(events),
            None => self.unknown(message).map(|event| vec![event]),
        }
    }

    /// The events of what SNS sent by itself: what is in its message, or else the notification.
    pub(crate) fn notified(&self, envelope: &sns::Envelope) -> Result<Vec<Event>, EventError> {
        match self.known(&envelope.message, false) {
            Some(events) => Ok(events),
            None => envelope.to_event(self.source.as_deref()).map(|event| vec![event]),
        }
    }

    /// `None` is: nothing this driver knows. A notification is opened once (`may_open`).
    fn known(&self, body: &str, may_open: bool) -> Option<Vec<Event>> {
        let shape: Shape<'_> = serde_json::from_str(body).ok()?;
        let source = self.source.as_deref();
        if shape.specversion.is_some() {
            return fitting(Event::from_json(body.as_bytes()));
        }
        if shape.detail_type.is_some() {
            let envelope: eventbridge::Envelope<'_> = serde_json::from_str(body).ok()?;
            return fitting(match self.mode {
                Mode::CloudEvents => envelope.to_event(source),
                Mode::Classic => envelope.to_classic(body, source),
            });
        }
        if let Some(records) = shape.records.filter(|records| s3::is_s3(records)) {
            let events: Result<Vec<_>, _> = records.iter().map(|r| s3::to_event(r, source)).collect();
            return events.ok();
        }
        if shape.event.as_deref() == Some("s3:TestEvent") {
            return Some(Vec::new());
        }
        if shape.ty.as_deref() == Some("Notification") && shape.topic.is_some() {
            let envelope: sns::Envelope = serde_json::from_str(body).ok()?;
            let inner = may_open.then(|| self.known(&envelope.message, false)).flatten();
            return inner.or_else(|| fitting(envelope.to_event(source)));
        }
        None
    }

    fn unknown(&self, message: Message<'_>) -> Result<Event, EventError> {
        let source = self.source.as_deref().unwrap_or(&self.place);
        let mut event = Event::builder(message.id, source, MESSAGE_TYPE);
        if let Some(sent) = message.sent {
            event = event.time(sent);
        }
        sns::with_text(event, message.body).build()
    }
}

/// An event that can be made and that the hub takes: it keeps one prefix of types for itself.
fn fitting(event: Result<Event, EventError>) -> Option<Vec<Event>> {
    let event = event.ok()?;
    (!event.ty().starts_with(RESERVED_TYPE_PREFIX)).then(|| vec![event])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const QUEUE: &str = "arn:aws:sqs:eu-west-1:123456789012:orders";
    const RULED: &str = r#"{"id":"e1","detail-type":"Order Placed","source":"my.shop","detail":{"n":1}}"#;
    const OBJECT: &str = r#"{"Records":[{"eventSource":"aws:s3","awsRegion":"r","eventTime":"2026-01-31T00:00:00Z",
        "eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"k"}}},
        {"eventSource":"aws:s3","awsRegion":"r","eventTime":"2026-01-31T00:00:00Z",
        "eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"l"}}}]}"#;

    fn read(mode: Mode, body: &str) -> Vec<Event> {
        let origin = Origin {
            place: QUEUE.to_owned(),
            mode,
            source: None,
        };
        let message = Message {
            id: "m-1",
            body,
            sent: "2026-01-31T00:00:00Z".parse().ok(),
        };
        origin.events(message).unwrap()
    }

    fn types(body: &str) -> Vec<String> {
        let events = read(Mode::CloudEvents, body);
        events.iter().map(|event| event.ty().to_owned()).collect()
    }

    fn notification(message: &str) -> String {
        json!({
            "Type": "Notification", "MessageId": "n-1", "TopicArn": "arn:aws:sns:eu-west-1:1:t", "Subject": "hi",
            "Message": message, "Timestamp": "2026-01-31T00:00:00.000Z",
        })
        .to_string()
    }

    #[test]
    fn every_kind_of_body_is_told_apart() {
        let put = "com.amazonaws.s3.ObjectCreated:Put";
        let cloud_event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
        let table: &[(&str, &[&str])] = &[
            (RULED, &["my.shop.order-placed"]),
            (OBJECT, &[put, put]),
            (
                r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"b"}"#,
                &[],
            ),
            (&notification("hello"), &["com.amazonaws.sns.Notification"]),
            (&notification(OBJECT), &[put, put]),
            (&notification(RULED), &["my.shop.order-placed"]),
            (
                &notification(&notification(RULED)),
                &["com.amazonaws.sns.Notification"],
            ),
            (cloud_event, &["t"]),
        ];
        for (body, expected) in table {
            assert_eq!(types(body), *expected, "{body}");
        }
    }

    #[test]
    fn what_is_malformed_is_an_event_of_its_own() {
        let reserved = r#"{"id":"e1","detail-type":"x","source":"dispatch.run","detail":{}}"#;
        let table = [
            "",
            "not json",
            "{",
            "null",
            "[]",
            r#"{"detail-type":7}"#,
            r#"{"detail-type":"no detail","id":"1","source":"s"}"#,
            r#"{"Records":[{"eventSource":"aws:s3"}]}"#,
            r#"{"Records":7}"#,
            r#"{"specversion":"1.0","id":"1"}"#,
            reserved,
        ];
        for body in table {
            let events = read(Mode::CloudEvents, body);
            let [event] = &events[..] else {
                panic!("{body}: {events:?}")
            };
            assert_eq!(
                (event.id(), event.source(), event.ty()),
                ("m-1", QUEUE, MESSAGE_TYPE),
                "{body}"
            );
            assert_eq!(event.data_bytes().unwrap_or_default(), body.as_bytes());
        }
    }

    #[test]
    fn a_notification_keeps_its_id_its_topic_and_its_subject() {
        let events = read(Mode::CloudEvents, &notification(r#"{"a":1}"#));
        let event = &events[0];
        assert_eq!(
            (event.id(), event.source(), event.subject()),
            ("n-1", "arn:aws:sns:eu-west-1:1:t", Some("hi"))
        );
        assert_eq!(event.data_bytes().unwrap(), br#"{"a":1}"#.as_slice());
        assert_eq!(event.datacontenttype(), Some("application/json"));
    }

    #[test]
    fn classic_changes_only_events_of_eventbridge() {
        let ruled = &read(Mode::Classic, RULED)[0];
        assert_eq!((ruled.ty(), ruled.source()), ("my.shop", "dispatch"));
        assert_eq!(ruled.data_bytes().unwrap(), RULED.as_bytes());
        assert_eq!(read(Mode::Classic, OBJECT), read(Mode::CloudEvents, OBJECT));
    }
}
