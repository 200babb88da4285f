//! `dispatch emit`: sends one event, as CloudEvents 1.0.
//!
//! JSON data travels as JSON, text as text, everything else as base64. What `--data` says is JSON unless
//! `--content-type` says otherwise; what a file holds is looked at.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{SecondsFormat, Utc};
use dispatch_contract::is_json_media_type;
use serde_json::{Map, Value, json};

use crate::client::Route;
use crate::commands::Session;

const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// The event.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Type of the event
    event_type: String,
    /// Its data, JSON unless --content-type says otherwise
    #[arg(long, value_name = "JSON", conflicts_with = "data_from_file")]
    data: Option<String>,
    /// File that holds its data
    #[arg(long, value_name = "PATH")]
    data_from_file: Option<PathBuf>,
    /// Where it happened
    #[arg(
        long,
        visible_alias = "source-id",
        value_name = "SOURCE",
        default_value = "dispatch"
    )]
    source: String,
    /// Its id; a new one if not given
    #[arg(long, value_name = "ID")]
    event_id: Option<String>,
    /// To what it happened
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// Media type of the data
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Version of the event type, sent as the extension eventtypeversion
    #[arg(long, value_name = "VERSION")]
    event_type_version: Option<String>,
    /// Schema of the data
    #[arg(long, visible_alias = "event-schema-url", value_name = "URL")]
    schema_url: Option<String>,
    /// Send the data as bytes, whatever they are
    #[arg(long)]
    binary: bool,
}

/// Sends it.
pub(crate) async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let event = event(args)?;
    let answer = session.client.post_event(Route::to("/v1/events"), &event).await?;
    session.format.print(&answer, || "event emitted\n".to_owned())
}

fn event(args: Args) -> anyhow::Result<Value> {
    let mut event = Map::new();
    let mut set = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            event.insert(name.to_owned(), json!(value));
        }
    };
    set("specversion", Some("1.0".to_owned()));
    set("type", Some(args.event_type));
    set("source", Some(args.source));
    set(
        "id",
        Some(args.event_id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string())),
    );
    set(
        "time",
        Some(Utc::now().to_rfc3339_opts(SecondsFormat::AutoSi, true)),
    );
    set("subject", args.subject);
    set("dataschema", args.schema_url);
    set("eventtypeversion", args.event_type_version);
    let (bytes, media_type) = match (args.data, &args.data_from_file) {
        (Some(data), _) => {
            let media_type = args.content_type.unwrap_or_else(|| "application/json".to_owned());
            (data.into_bytes(), media_type)
        }
        (None, Some(path)) => {
            let bytes = read(path)?;
            let media_type = args.content_type.unwrap_or_else(|| sniffed(&bytes).to_owned());
            (bytes, media_type)
        }
        (None, None) => {
            set("datacontenttype", args.content_type);
            return Ok(Value::Object(event));
        }
    };
    set("datacontenttype", Some(media_type.clone()));
    let is_text = media_type.starts_with("text/") && !is_json_media_type(&media_type);
    let (name, value) = if args.binary {
        ("data_base64", json!(BASE64_STANDARD.encode(bytes)))
    } else if is_json_media_type(&media_type) {
        let value = serde_json::from_slice(&bytes)
            .context("the data is not JSON; name its --content-type if it is something else")?;
        ("data", value)
    } else if is_text {
        (
            "data",
            json!(String::from_utf8(bytes).context("the data is not UTF-8; send it with --binary")?),
        )
    } else {
        ("data_base64", json!(BASE64_STANDARD.encode(bytes)))
    };
    event.insert(name.to_owned(), value);
    Ok(Value::Object(event))
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let at = || format!("cannot read {}", path.display());
    if std::fs::metadata(path).with_context(at)?.len() > MAX_FILE_BYTES {
        bail!("{} is larger than {} MiB", path.display(), MAX_FILE_BYTES >> 20);
    }
    std::fs::read(path).with_context(at)
}

fn sniffed(bytes: &[u8]) -> &'static str {
    if serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok() {
        "application/json"
    } else if std::str::from_utf8(bytes).is_ok_and(|text| !text.contains('\0')) {
        "text/plain"
    } else {
        "application/octet-stream"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn made(line: &[&str]) -> anyhow::Result<Value> {
        let args = Line::try_parse_from(["emit"].iter().chain(line))?.args;
        event(args)
    }

    #[test]
    fn data_is_json_and_the_event_says_all_it_was_told() {
        let line = "t --source-id /s --event-id 7 --subject x --event-type-version 2 --event-schema-url http://s/ --data";

        let made = made(&line.split(' ').chain([r#"{"a":[1]}"#]).collect::<Vec<_>>()).unwrap();

        let mut expected = json!({"specversion": "1.0", "type": "t", "source": "/s", "id": "7", "subject": "x",
            "eventtypeversion": "2", "dataschema": "http://s/", "datacontenttype": "application/json", "data": {"a": [1]}});
        expected["time"] = made["time"].clone();
        assert_eq!(made, expected);
        assert!(chrono::DateTime::parse_from_rfc3339(made["time"].as_str().unwrap()).is_ok());
    }

    #[test]
    fn an_event_without_data_has_a_source_and_a_new_id() {
        let (one, two) = (made(&["t"]).unwrap(), made(&["t"]).unwrap());

        assert_eq!(one["source"], "dispatch");
        assert_ne!(one["id"], two["id"]);
        assert!(one.get("data").is_none() && one.get("datacontenttype").is_none());
    }

    #[test]
    fn data_that_is_no_json_needs_its_content_type() {
        let error = made(&["t", "--data", "hello"]).unwrap_err();

        assert!(error.to_string().contains("--content-type"), "{error}");
        let text = made(&["t", "--data", "hello", "--content-type", "text/plain"]).unwrap();
        assert_eq!(
            (&text["data"], &text["datacontenttype"]),
            (&json!("hello"), &json!("text/plain"))
        );
        let bytes = made(&["t", "--data", "hello", "--binary"]).unwrap();
        assert_eq!(bytes["data_base64"], "aGVsbG8=");
    }

    #[test]
    fn a_file_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let table: [(&[u8], &str, &str, Value); 3] = [
            (b"{\"a\": 1}", "application/json", "data", json!({"a": 1})),
            (b"a\nb", "text/plain", "data", json!("a\nb")),
            (
                b"\xff\x00",
                "application/octet-stream",
                "data_base64",
                json!("/wA="),
            ),
        ];

        for (bytes, media_type, member, data) in table {
            let path = folder.path().join("data");
            std::fs::write(&path, bytes).unwrap();
            let made = made(&["t", "--data-from-file", path.to_str().unwrap()]).unwrap();
            assert_eq!(
                (&made["datacontenttype"], &made[member]),
                (&json!(media_type), &data)
            );
        }
    }
}
