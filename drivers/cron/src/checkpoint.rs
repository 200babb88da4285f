//! How far the clock was turned into events: the last tick, and of which schedule.

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};

/// Text: the tick in RFC 3339, a space, the schedule's fingerprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) tick: DateTime<Utc>,
    pub(crate) schedule: String,
}

impl Checkpoint {
    pub(crate) fn write(&self) -> Bytes {
        let tick = self.tick.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        format!("{tick} {}", self.schedule).into()
    }
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (tick, schedule) = std::str::from_utf8(bytes).ok()?.split_once(' ')?;
        Some(Self {
            tick: DateTime::parse_from_rfc3339(tick).ok()?.to_utc(),
            schedule: schedule.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_read_as_it_was_written_and_anything_else_is_none() {
        let checkpoint = Checkpoint {
            tick: "2026-03-29T01:00:00Z".parse().unwrap(),
            schedule: "00ff".to_owned(),
        };
        assert_eq!(checkpoint.write(), "2026-03-29T01:00:00Z 00ff");
        assert_eq!(Checkpoint::read(&checkpoint.write()), Some(checkpoint));
        assert_eq!(Checkpoint::read(b"yesterday 00ff"), None);
        assert_eq!(Checkpoint::read(b"\xff"), None);
    }
}
