//! A finished file as an event.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use dispatch_contract::Event;
use serde_json::json;
use uuid::Uuid;

use crate::config::Plan;
use crate::listing::Place;

/// Opening a pipe that took a file's name must not wait for a writer (`O_NONBLOCK` of Linux).
const DO_NOT_WAIT: i32 = 0o4000;

/// Reads the file and makes its event; says why not in one line. The same file always has the same id: path, time of
/// modification and size.
pub(crate) fn of(plan: &Plan, place: &Place) -> Result<Event, String> {
    let path = plan.directory.join(&place.name);
    let told = |error: std::io::Error| format!("cannot be read: {error}");
    let file = File::options()
        .read(true)
        .custom_flags(DO_NOT_WAIT)
        .open(&path)
        .map_err(told)?;
    let metadata = file.metadata().map_err(told)?;
    if !metadata.is_file() {
        return Err("is no file any more".to_owned());
    }
    let mut content = Vec::new();
    file.take(plan.max_content as u64)
        .read_to_end(&mut content)
        .map_err(told)?;
    let (size, seconds, nanos) = (metadata.len(), metadata.mtime(), metadata.mtime_nsec());
    let modified = u32::try_from(nanos)
        .ok()
        .and_then(|nanos| DateTime::<Utc>::from_timestamp(seconds, nanos))
        .ok_or("has a time of modification that is no time")?;
    let truncated = size > content.len() as u64;
    let mut data = json!({
        "name": place.name,
        "size": size,
        "modified": modified.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        "truncated": truncated,
    });
    match String::from_utf8(content) {
        Ok(text) => data["content"] = text.into(),
        Err(bytes) => data["contentBase64"] = STANDARD.encode(bytes.as_bytes()).into(),
    }
    let named = format!("{} {seconds}.{nanos} {size}", path.display());
    let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, named.as_bytes()).to_string();
    Event::builder(id, &plan.source, &plan.ty)
        .subject(&place.name)
        .time(modified)
        .json(data.to_string())
        .build()
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::tests::config;

    fn made(content: &[u8], most: usize) -> (serde_json::Value, Event, Event) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a b"), content).unwrap();
        let mut config = config(folder.path());
        config.max_content = Some(most);
        let plan = Plan::try_from(config).unwrap();
        let place = Place {
            changed: 0,
            name: "a b".to_owned(),
        };
        let (event, again) = (of(&plan, &place).unwrap(), of(&plan, &place).unwrap());
        let data = serde_json::from_slice(event.data().unwrap().bytes).unwrap();
        (data, event, again)
    }

    #[test]
    fn a_file_is_always_the_same_event_with_its_content() {
        let (data, event, again) = made(b"1;2\n", 100);

        assert_eq!(event, again);
        assert_eq!((event.subject(), event.ty()), (Some("a b"), "file.written"));
        assert_eq!(
            (&data["content"], &data["size"], &data["truncated"]),
            (&json!("1;2\n"), &json!(4), &json!(false))
        );
    }

    #[test]
    fn content_is_bounded_and_what_is_no_text_goes_as_base64() {
        let (long, ..) = made(b"12345", 3);
        let (binary, ..) = made(b"\xff\x00", 3);

        assert_eq!(
            (&long["content"], &long["truncated"]),
            (&json!("123"), &json!(true))
        );
        assert_eq!(
            (&binary["contentBase64"], &binary["content"]),
            (&json!("/wA="), &json!(null))
        );
    }

    #[test]
    fn a_file_that_went_away_or_cannot_be_read_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan::try_from(config(folder.path())).unwrap();

        let problem = of(
            &plan,
            &Place {
                changed: 0,
                name: "gone".to_owned(),
            },
        )
        .unwrap_err();

        assert!(problem.starts_with("cannot be read: "), "{problem}");
    }
}
