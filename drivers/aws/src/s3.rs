//! An S3 notification as CloudEvents, one for each record, by the CloudEvents adapter for S3. Pure.

use chrono::{DateTime, Utc};
use dispatch_contract::{Event, EventError};
use percent_encoding::percent_decode_str;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    event_source: String,
    event_name: String,
    aws_region: String,
    event_time: DateTime<Utc>,
    #[serde(default)]
    response_elements: Elements,
    s3: Place,
}

/// Names a request; some senders leave it out.
#[derive(Debug, Default, serde::Deserialize)]
struct Elements {
    #[serde(rename = "x-amz-request-id")]
    request: Option<String>,
    #[serde(rename = "x-amz-id-2")]
    host: Option<String>,
}

#[derive(Debug, serde::Deserialize)]
struct Place {
    bucket: Bucket,
    object: Object,
}

#[derive(Debug, serde::Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Debug, serde::Deserialize)]
struct Object {
    key: String,
    #[serde(default, rename = "versionId")]
    version_id: String,
    #[serde(default)]
    sequencer: String,
}

/// Whether the records are S3's; other services write a `Records` array too.
pub(crate) fn is_s3(records: &[&RawValue]) -> bool {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Sender {
        event_source: String,
    }
    let is_s3 = |record: &&RawValue| {
        serde_json::from_str::<Sender>(record.get()).is_ok_and(|s| s.event_source == "aws:s3")
    };
    !records.is_empty() && records.iter().all(is_s3)
}

/// One event; `data` is the record as it came.
pub(crate) fn to_event(text: &RawValue, source: Option<&str>) -> Result<Event, EventError> {
    let record: Record =
        serde_json::from_str(text.get()).map_err(|e| EventError::new("record", e.to_string()))?;
    let Place { bucket, object } = &record.s3;
    let dotted = record.event_source.replace(':', ".");
    let source = match source {
        Some(source) => source.to_owned(),
        None => format!("{}.{}.{}", record.event_source, record.aws_region, bucket.name),
    };
    let ty = format!("com.amazonaws.{}.{}", &dotted["aws.".len()..], record.event_name);
    let event = Event::builder(record.id(), source, ty).time(record.event_time);
    let event = match key(&object.key) {
        key if key.is_empty() => event,
        key => event.subject(key),
    };
    event.json(text.get().to_owned()).build()
}

impl Record {
    /// The request's id and a digest: one request can write several records (a delete of many), and they must not be
    /// taken for one another.
    fn id(&self) -> String {
        let Place { bucket, object } = &self.s3;
        let time = self.event_time.to_rfc3339();
        let parts = [
            &bucket.name,
            &object.key,
            &object.version_id,
            &object.sequencer,
            &self.event_name,
            &time,
        ];
        let mut digest = Sha256::new();
        for part in parts {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let digest = digest.finalize();
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        match (&self.response_elements.request, &self.response_elements.host) {
            (Some(request), Some(host)) => format!("{request}.{host}.{}", hex(&digest[..8])),
            _ => hex(&digest[..16]),
        }
    }
}

/// S3 writes keys as forms do: `red+flower.txt` has a space.
fn key(written: &str) -> String {
    percent_decode_str(&written.replace('+', " "))
        .decode_utf8_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(elements: &str, key: &str, sequencer: &str) -> Box<RawValue> {
        let text = format!(
            r#"{{"eventVersion":"2.1","eventSource":"aws:s3","awsRegion":"us-west-2",
            "eventTime":"1970-01-01T00:00:00.123Z","eventName":"ObjectCreated:Put",{elements}
            "s3":{{"bucket":{{"name":"b","arn":"arn:aws:s3:::b"}},
            "object":{{"key":"{key}","size":1024{sequencer}}}}}}}"#
        );
        RawValue::from_string(text).unwrap()
    }
    const ELEMENTS: &str = r#""responseElements":{"x-amz-request-id":"R","x-amz-id-2":"H"},"#;
    const SEQUENCER: &str = r#","sequencer":"0055AED6DCD90281E5""#;

    #[test]
    fn a_record_is_mapped_as_the_adapter_says() {
        let text = record(ELEMENTS, "red+flower%C3%A9.txt", "");
        let event = to_event(&text, None).unwrap();
        assert!(event.id().starts_with("R.H."), "{}", event.id());
        assert_eq!(event.source(), "aws:s3.us-west-2.b");
        assert_eq!(event.ty(), "com.amazonaws.s3.ObjectCreated:Put");
        assert_eq!(event.subject(), Some("red floweré.txt"));
        assert_eq!(event.time(), "1970-01-01T00:00:00.123Z".parse().ok());
        assert_eq!(event.data_bytes().unwrap(), text.get().as_bytes());
    }

    #[test]
    fn ids_are_stable_and_tell_records_of_one_request_apart() {
        let id = |elements, key, sequencer| {
            to_event(&record(elements, key, sequencer), None)
                .unwrap()
                .id()
                .to_owned()
        };
        assert_eq!(id(ELEMENTS, "k", SEQUENCER), id(ELEMENTS, "k", SEQUENCER));
        assert_ne!(id(ELEMENTS, "k", SEQUENCER), id(ELEMENTS, "l", SEQUENCER));
        assert_ne!(id(ELEMENTS, "k", SEQUENCER), id(ELEMENTS, "k", ""));
        assert_eq!(id("", "k", ""), id("", "k", ""));
        assert_ne!(id("", "k", ""), id("", "l", ""));
        assert_eq!(id("", "k", "").len(), 32);
    }
}
