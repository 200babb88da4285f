//! What was left out of the history, as an event: `vcenter.gap` with `from` and `to`.
//!
//! Told only where the setting `replay` made the driver leave something out. Its id is made of both times, so that a
//! repeated start tells the same gap.

use chrono::{DateTime, Utc};
use dispatch_contract::Event;
use serde_json::json;

use crate::cursor::written;

/// The event; its time is the gap's end.
pub(crate) fn gap(source: &str, from: DateTime<Utc>, to: DateTime<Utc>) -> Option<Event> {
    let id = format!("gap-{}-{}", from.timestamp_micros(), to.timestamp_micros());
    let data = json!({"from": written(from), "to": written(to)}).to_string();
    Event::builder(id, source, "vcenter.gap")
        .time(to)
        .json(data)
        .build()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_says_from_where_to_where_and_is_the_same_event_when_told_again() {
        let at = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().to_utc();
        let (from, to) = (at("2026-01-31T12:00:00Z"), at("2026-01-31T13:00:00Z"));

        let told = gap("https://vc/sdk", from, to).unwrap();

        assert_eq!(told.id(), gap("https://vc/sdk", from, to).unwrap().id());
        let data: serde_json::Value = serde_json::from_slice(told.data().unwrap().bytes).unwrap();
        assert_eq!(
            data,
            json!({"from": "2026-01-31T12:00:00Z", "to": "2026-01-31T13:00:00Z"})
        );
    }
}
