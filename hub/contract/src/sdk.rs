//! To and from `cloudevents-sdk`'s event, for those who already work with it.

use bytes::Bytes;
use cloudevents::event::{AttributeValue, Data as SdkData, ExtensionValue};
use cloudevents::{AttributesReader, AttributesWriter, EventBuilder as _, EventBuilderV10};

use crate::attribute::{Value, is_context_attribute};
use crate::event::{DataKind, Event, EventError};
use crate::json::is_json_media_type;

impl TryFrom<&cloudevents::Event> for Event {
    type Error = EventError;

    fn try_from(event: &cloudevents::Event) -> Result<Self, EventError> {
        let mut builder = Event::builder(event.id(), event.source().as_str(), event.ty());
        for (name, value) in event.iter() {
            let value: Value = match value {
                _ if matches!(name, "id" | "source" | "type" | "specversion") => continue,
                AttributeValue::Boolean(b) => (*b).into(),
                AttributeValue::Integer(i) => i32::try_from(*i)
                    .map_err(|_| EventError::new(name, "must be a 32-bit integer"))?
                    .into(),
                AttributeValue::Time(t) => t.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true).into(),
                other => other.to_string().into(),
            };
            builder = builder.attribute(name, value);
        }
        let is_json = event.datacontenttype().is_none_or(is_json_media_type);
        match event.data() {
            None => builder.build(),
            Some(SdkData::Json(json)) => builder.data(DataKind::Json, json.to_string()).build(),
            Some(SdkData::String(text))
                if is_json && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() =>
            {
                builder.data(DataKind::Json, text.clone()).build()
            }
            Some(SdkData::String(text)) => builder.data(DataKind::Text, text.clone()).build(),
            Some(SdkData::Binary(bytes)) => builder
                .data(DataKind::Binary, Bytes::copy_from_slice(bytes))
                .build(),
        }
    }
}

impl TryFrom<&Event> for cloudevents::Event {
    type Error = EventError;

    fn try_from(event: &Event) -> Result<Self, EventError> {
        let mut builder = EventBuilderV10::new()
            .id(event.id())
            .source(event.source())
            .ty(event.ty());
        for attribute in event.attributes() {
            builder = match attribute.name {
                "subject" => builder.subject(attribute.text),
                "time" => builder.time(attribute.text),
                name if is_context_attribute(name) => builder,
                name => match attribute.value() {
                    Value::String(text) => builder.extension(name, ExtensionValue::String(text)),
                    Value::Boolean(b) => builder.extension(name, ExtensionValue::Boolean(b)),
                    Value::Integer(i) => builder.extension(name, ExtensionValue::Integer(i.into())),
                },
            };
        }
        let mut made = builder
            .build()
            .map_err(|e| EventError::new("event", e.to_string()))?;
        let data = event.data().map(|data| match data.kind {
            DataKind::Json => match serde_json::from_slice(data.bytes) {
                Ok(json) => SdkData::Json(json),
                Err(_) => SdkData::Binary(data.bytes.to_vec()),
            },
            DataKind::Text => SdkData::String(String::from_utf8_lossy(data.bytes).into_owned()),
            DataKind::Binary => SdkData::Binary(data.bytes.to_vec()),
        });
        made.set_datacontenttype(event.datacontenttype());
        if let Some(schema) = event.dataschema() {
            let url = url::Url::parse(schema).map_err(|e| EventError::new("dataschema", e.to_string()))?;
            made.set_dataschema(Some(url));
        }
        if let Some(data) = data {
            made.set_data_unchecked(data);
        }
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_goes_to_the_sdk_and_back_unchanged() {
        let plain = || Event::builder("1", "/s", "t");
        let events = [
            plain().build().unwrap(),
            plain()
                .subject("x")
                .attribute("time", "2026-01-31T23:59:59.500Z")
                .attribute("n", 7)
                .build()
                .unwrap(),
            plain()
                .json(r#"{"a":1}"#)
                .attribute("dataschema", "https://example.com/schema")
                .build()
                .unwrap(),
            plain()
                .attribute("datacontenttype", "text/plain")
                .data(DataKind::Text, "hi")
                .build()
                .unwrap(),
            plain().data(DataKind::Binary, vec![0, 255]).build().unwrap(),
        ];
        for event in events {
            let sdk = cloudevents::Event::try_from(&event).unwrap();
            let back = Event::try_from(&sdk).unwrap();
            assert_eq!(back.data(), event.data());
            for attribute in event.attributes() {
                assert_eq!(back.attribute(attribute.name), Some(attribute.text));
            }
            assert_eq!(back.attributes().count(), event.attributes().count());
        }
    }
}
