//! How far the history is read, in a form that survives the process: the checkpoint.
//!
//! The position is the latest `createdTime` the hub has taken, never a key: keys wrap and start over. Reading
//! begins again a little before the position, because events can arrive late and share a time; what was seen
//! in this process is dropped by id, and the hub knows the rest by the same ids.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;
use chrono::{DateTime, Duration, SecondsFormat, Utc};

use crate::config::Start;
use crate::record::Record;

/// How far behind the position reading begins again.
const OVERLAP: Duration = Duration::minutes(2);
/// Ids remembered; older ones are left to the hub.
const MAX_SEEN: usize = 50_000;
const VERSION: u32 = 1;
/// What is kept of a checkpoint that could not be read.
const MAX_SET_ASIDE: usize = 1024;

/// The place in the history.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cursor {
    saved: Saved,
    seen: HashSet<String>,
    order: VecDeque<String>,
}

/// What a checkpoint holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Saved {
    version: u32,
    source: String,
    instance: String,
    /// What happened before this is not wanted; absent when everything is.
    since: Option<DateTime<Utc>>,
    /// Key of the newest event at the first start: what is older than `since` and has a later key came late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    newest_before: Option<i64>,
    /// Nothing has to be read that happened long before this; absent when nothing was read yet.
    position: Option<DateTime<Utc>>,
    /// An earlier checkpoint that could not be read, for whoever wonders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    set_aside: Option<String>,
}

impl Saved {
    fn bytes(&self) -> Bytes {
        // A structure of strings and times is always JSON.
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

/// What a stored checkpoint says.
#[derive(Debug)]
pub(crate) enum Stored {
    /// There is none.
    None,
    /// This one.
    Cursor(Cursor),
    /// One that cannot be used.
    Unusable {
        /// Why, for people.
        problem: String,
        /// Its beginning, to be kept.
        text: String,
    },
}

impl Stored {
    /// Reads what the hub kept.
    pub(crate) fn read(checkpoint: Option<&[u8]>, source: &str) -> Self {
        let Some(bytes) = checkpoint else {
            return Self::None;
        };
        let unusable = |problem: String| Self::Unusable {
            problem,
            text: String::from_utf8_lossy(bytes)
                .chars()
                .take(MAX_SET_ASIDE)
                .collect(),
        };
        match serde_json::from_slice::<Saved>(bytes) {
            Ok(saved) if saved.version != VERSION => unusable(format!(
                "it has version {}, this driver knows {VERSION}",
                saved.version
            )),
            Ok(saved) if saved.source != source => unusable(format!("it is of {}", saved.source)),
            Ok(saved) => Self::Cursor(Cursor {
                saved,
                ..Cursor::default()
            }),
            Err(error) => unusable(error.to_string()),
        }
    }
}

impl Cursor {
    /// The first start; `now` is the server's clock.
    pub(crate) fn first(start: Start, now: DateTime<Utc>, source: &str, set_aside: Option<String>) -> Self {
        let ago = |time: std::time::Duration| {
            Duration::from_std(time)
                .ok()
                .and_then(|d| now.checked_sub_signed(d))
        };
        let since = match start {
            Start::Now => Some(now),
            Start::Beginning => None,
            Start::Ago(time) => ago(time),
            Start::At(time) => Some(time),
        };
        let saved = Saved {
            version: VERSION,
            source: source.to_owned(),
            since,
            set_aside,
            ..Saved::default()
        };
        Self {
            saved,
            ..Self::default()
        }
    }

    /// Whether the first start is behind it.
    pub(crate) fn has_begun(&self) -> bool {
        self.saved.version == VERSION
    }

    /// Key of the newest event the server had at the first start.
    pub(crate) fn found(&mut self, newest: Option<i64>) {
        self.saved.newest_before = newest;
    }

    /// From when on to read; `None` is the very beginning.
    pub(crate) fn begin(&self) -> Option<DateTime<Utc>> {
        self.saved
            .position
            .or(self.saved.since)?
            .checked_sub_signed(OVERLAP)
    }

    /// Whether an event is ours: it happened after the first start was to begin, or became known after it.
    pub(crate) fn wants(&self, record: &Record) -> bool {
        let in_time = record
            .created
            .is_none_or(|created| Some(created) >= self.saved.since);
        let came_late = match (record.key, self.saved.newest_before) {
            (Some(key), Some(newest)) => (key as i32).wrapping_sub(newest as i32) > 0,
            _ => false,
        };
        in_time || came_late
    }

    /// Moves the position to no further back than `most` before `now`; from where to where, when it had to.
    pub(crate) fn skip(
        &mut self,
        most: std::time::Duration,
        now: DateTime<Utc>,
    ) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        let from = self.saved.position?;
        let to = now.checked_sub_signed(Duration::from_std(most).ok()?)?;
        (from < to).then(|| {
            self.saved.position = Some(to);
            (from, to)
        })
    }

    /// Notes which server this is; the one it was before, when it is another now.
    pub(crate) fn instance(&mut self, instance: &str) -> Option<String> {
        let before = std::mem::replace(&mut self.saved.instance, instance.to_owned());
        (before != instance && !before.is_empty()).then_some(before)
    }

    /// Never expects this event again.
    pub(crate) fn give_up(&mut self, id: &str) {
        self.remember(id);
    }

    fn remember(&mut self, id: &str) {
        if self.seen.insert(id.to_owned()) {
            self.order.push_back(id.to_owned());
        }
        if self.order.len() > MAX_SEEN
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
    }

    /// Whether an event was not read before by this process, or too long ago to remember.
    pub(crate) fn is_new(&self, id: &str) -> bool {
        !self.seen.contains(id)
    }

    /// Goes behind these records, which the hub has. The position never passes `now`, the server's clock: one event dated
    /// into the future must not hide those that follow.
    pub(crate) fn advance(&mut self, records: &[Record], now: DateTime<Utc>) {
        for record in records {
            self.remember(&record.id);
        }
        self.saved.position = self.position_behind(records, now);
    }

    fn position_behind(&self, records: &[Record], now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let created = records.iter().filter_map(|r| r.created).max();
        self.saved.position.max(created.map(|c| c.min(now)))
    }

    /// What the hub keeps.
    pub(crate) fn checkpoint(&self) -> Bytes {
        self.saved.bytes()
    }

    /// What the hub keeps together with these records.
    pub(crate) fn checkpoint_behind(&self, records: &[Record], now: DateTime<Utc>) -> Bytes {
        let saved = Saved {
            position: self.position_behind(records, now),
            ..self.saved.clone()
        };
        saved.bytes()
    }
}

/// A time as vim25 writes it, with all its digits.
pub(crate) fn written(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::parse;

    const SOURCE: &str = "https://vc/sdk";

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }
    fn record(key: i32, created: &str) -> Record {
        let text = format!("<e><key>{key}</key><createdTime>{created}</createdTime></e>");
        Record::new(parse(&text).unwrap(), &text)
    }
    fn restored(cursor: &Cursor) -> Cursor {
        match Stored::read(Some(&cursor.checkpoint()), SOURCE) {
            Stored::Cursor(cursor) => cursor,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_first_start_begins_where_it_was_told_by_the_server_s_clock() {
        let now = at("2026-01-31T12:00:00Z");
        let since = |start| Cursor::first(start, now, SOURCE, None).saved.since;
        assert_eq!(since(Start::Now), Some(now));
        assert_eq!(since(Start::Beginning), None);
        assert_eq!(
            since(Start::Ago(std::time::Duration::from_secs(3600))),
            Some(at("2026-01-31T11:00:00Z"))
        );
        assert_eq!(
            since(Start::At(at("2025-01-01T00:00:00Z"))),
            Some(at("2025-01-01T00:00:00Z"))
        );
        let cursor = Cursor::first(Start::Now, now, SOURCE, None);
        assert_eq!(
            cursor.begin(),
            Some(now - OVERLAP),
            "late events are looked for from the first start on"
        );
    }

    #[test]
    fn reading_begins_again_before_the_position() {
        let mut cursor = Cursor::first(Start::Now, at("2026-01-31T12:00:00Z"), SOURCE, None);
        cursor.advance(
            &[record(2, "2026-01-31T12:30:00.123456789Z")],
            at("2026-01-31T13:00:00Z"),
        );
        assert_eq!(
            restored(&cursor).begin(),
            Some(at("2026-01-31T12:28:00.123456789Z"))
        );
    }

    #[test]
    fn what_was_there_before_the_first_start_is_not_wanted_and_what_came_late_is() {
        let mut cursor = Cursor::first(Start::Now, at("2026-01-31T12:00:00Z"), SOURCE, None);
        cursor.found(Some(i64::from(i32::MAX)));
        let cursor = restored(&cursor);
        assert!(!cursor.wants(&record(i32::MAX, "2026-01-31T11:59:59Z")));
        assert!(
            cursor.wants(&record(i32::MIN, "2026-01-31T11:59:59Z")),
            "keys wrap"
        );
        assert!(
            cursor.wants(&record(7, "2026-01-31T12:00:00Z")),
            "keys start over"
        );
        let everything = Cursor::first(Start::Beginning, at("2026-01-31T12:00:00Z"), SOURCE, None);
        assert!(everything.wants(&record(1, "2020-01-01T00:00:00Z")));
    }

    #[test]
    fn a_late_event_does_not_move_the_position_back_and_a_future_one_not_beyond_the_clock() {
        let now = at("2026-01-31T12:00:00Z");
        let mut cursor = Cursor::first(Start::Beginning, now, SOURCE, None);
        cursor.advance(
            &[
                record(1, "2026-01-31T11:00:00Z"),
                record(2, "2026-01-31T10:00:00Z"),
            ],
            now,
        );
        assert_eq!(cursor.saved.position, Some(at("2026-01-31T11:00:00Z")));
        cursor.advance(&[record(3, "2036-01-01T00:00:00Z")], now);
        assert_eq!(cursor.saved.position, Some(now));
    }

    #[test]
    fn what_was_seen_is_known_by_key_and_time_and_memory_is_bounded() {
        let now = at("2026-01-31T12:00:00Z");
        let mut cursor = Cursor::first(Start::Now, now, SOURCE, None);
        let first = record(1, "2026-01-31T12:00:00Z");
        cursor.advance(std::slice::from_ref(&first), now);
        assert!(!cursor.is_new(&first.id));
        assert!(
            cursor.is_new(&record(1, "2026-01-31T12:00:01Z").id),
            "a key that started over"
        );
        assert!(
            cursor.is_new(&record(2, "2026-01-31T12:00:00Z").id),
            "another event of the same time"
        );
        for key in 0..60 {
            let page: Vec<Record> = (0..1000)
                .map(|n| record(key * 1000 + n, "2026-01-31T12:00:02Z"))
                .collect();
            cursor.advance(&page, now);
        }
        assert_eq!((cursor.seen.len(), cursor.order.len()), (MAX_SEEN, MAX_SEEN));
    }

    #[test]
    fn a_damaged_checkpoint_is_reported_and_never_a_crash() {
        let mut cursor = Cursor::first(Start::Now, at("2026-01-31T12:00:00Z"), SOURCE, None);
        cursor.advance(&[record(1, "2026-01-31T12:01:00Z")], at("2026-01-31T13:00:00Z"));
        let whole = cursor.checkpoint();
        let cuts = (0..whole.len()).map(|n| whole.slice(..n));
        let foreign: [&[u8]; 4] = [b"\xff\x00", b"null", b"{\"lastEventKey\":7}", b"[]"];
        for bytes in cuts.chain(foreign.map(Bytes::from_static)) {
            assert!(
                matches!(Stored::read(Some(&bytes), SOURCE), Stored::Unusable { .. }),
                "{bytes:?}"
            );
        }
        let newer = String::from_utf8(whole.to_vec())
            .unwrap()
            .replace("\"version\":1", "\"version\":2");
        assert!(matches!(
            Stored::read(Some(newer.as_bytes()), SOURCE),
            Stored::Unusable { .. }
        ));
        assert!(matches!(
            Stored::read(Some(&whole), "https://other/sdk"),
            Stored::Unusable { .. }
        ));
        assert!(matches!(Stored::read(None, SOURCE), Stored::None));
    }

    #[test]
    fn another_server_under_the_same_name_is_noticed() {
        let mut cursor = Cursor::first(Start::Now, at("2026-01-31T12:00:00Z"), SOURCE, None);
        assert_eq!(cursor.instance("a"), None);
        let mut again = restored(&cursor);
        assert_eq!(again.instance("a"), None);
        assert_eq!(again.instance("b"), Some("a".to_owned()));
    }
}
