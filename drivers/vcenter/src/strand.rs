//! Several histories read as one: a collector takes one part of the inventory, so there is one for each part.
//!
//! What one history has is given out only as far as every other was read: the place in the history is one time for all of
//! them, and must not pass what another still holds. What happened in two parts, or in one within another, comes once.
//! Held are at most a page of each.

use std::collections::{HashSet, VecDeque};

use chrono::{DateTime, Utc};

use crate::record::Record;
use crate::session::{Session, SessionError};
use crate::soap::{Call, Reference};

/// Histories of parts of one inventory.
pub(crate) struct Strands {
    all: Vec<Strand>,
    /// The one that was asked last.
    asked: usize,
}

/// One history, and what was read of it and not given out.
struct Strand {
    history: Reference,
    held: VecDeque<Record>,
    /// The latest time among what was ever read of it.
    reached: Option<DateTime<Utc>>,
}

/// Events in the order of time, as far as they go.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) records: Vec<Record>,
    /// Size of the answers.
    pub(crate) bytes: usize,
}

impl Strands {
    /// These, from where they begin.
    pub(crate) fn new(histories: Vec<Reference>) -> Self {
        let strand = |history| Strand {
            history,
            held: VecDeque::new(),
            reached: None,
        };
        Self {
            all: histories.into_iter().map(strand).collect(),
            asked: 0,
        }
    }

    /// How far each was read.
    pub(crate) fn reached(&self) -> Vec<Option<DateTime<Utc>>> {
        self.all.iter().map(|strand| strand.reached).collect()
    }

    /// The collectors.
    pub(crate) fn into_histories(self) -> impl Iterator<Item = Reference> {
        self.all.into_iter().map(|strand| strand.history)
    }

    /// The next events, oldest first; none when there are none for now. Asks each history that holds nothing.
    pub(crate) async fn read(&mut self, session: &mut Session, most: u32) -> Result<Page, SessionError> {
        let mut bytes = 0;
        for (position, strand) in self.all.iter_mut().enumerate() {
            if strand.held.is_empty() {
                self.asked = position;
                bytes += strand.read(session, most).await?;
            }
        }
        Ok(Page {
            records: given(&mut self.all),
            bytes,
        })
    }

    /// The last event of the history that was asked last once more: its answer may have been cut on the way, and nothing
    /// else be wrong with it.
    pub(crate) async fn read_again(&mut self, session: &mut Session) -> Result<Page, SessionError> {
        if let Some(strand) = self.all.get(self.asked) {
            let back = Call::new("ReadPreviousEvents", &strand.history).text("maxCount", 1);
            match session.call(back).await {
                Ok(_) | Err(SessionError::Unreadable { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.read(session, 1).await
    }
}

impl Strand {
    /// Holds the next events; the size of the answer.
    async fn read(&mut self, session: &mut Session, most: u32) -> Result<usize, SessionError> {
        let answer = session
            .call(Call::new("ReadNextEvents", &self.history).text("maxCount", most))
            .await?;
        let events = answer
            .element
            .children
            .into_iter()
            .filter(|e| e.name == "returnval");
        self.held = events.map(|e| Record::new(e, &answer.text)).collect();
        self.reached = self.reached.max(self.reach());
        Ok(answer.text.len())
    }

    /// How far what is held goes. Late events stand behind later ones, so it is not the last one's time.
    fn reach(&self) -> Option<DateTime<Utc>> {
        self.held.iter().filter_map(|record| record.created).max()
    }
}

/// All that the history read the least far holds, and of the others what is not later.
fn given(strands: &mut [Strand]) -> Vec<Record> {
    if let [only] = strands {
        return only.held.drain(..).collect();
    }
    let reaches = strands.iter().filter(|s| !s.held.is_empty()).map(Strand::reach);
    let Some(reach) = reaches.min() else {
        return Vec::new();
    };
    let mut given = Vec::new();
    for strand in strands {
        let is_reached = |record: &Record| record.created <= reach;
        let later = strand.held.iter().position(|record| !is_reached(record));
        let count = later.unwrap_or(strand.held.len());
        given.extend(strand.held.drain(..count));
    }
    given.sort_by_key(|record| (record.created, record.key));
    let mut seen = HashSet::new();
    given.retain(|record| seen.insert(record.id.clone()));
    given
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::parse;

    /// Events with these keys, each at so many seconds of one minute; a key above 90 has no time.
    fn strand(events: &[(i32, u32)]) -> Strand {
        let record = |(key, second): &(i32, u32)| {
            let created = match key {
                91.. => String::new(),
                _ => format!("<createdTime>2026-01-01T00:00:{second:02}Z</createdTime>"),
            };
            let text = format!("<e><key>{key}</key>{created}</e>");
            Record::new(parse(&text).unwrap(), &text)
        };
        Strand {
            history: Reference::new("EventHistoryCollector", "1"),
            held: events.iter().map(record).collect(),
            reached: None,
        }
    }

    fn keys(strands: &mut [Strand]) -> Vec<i64> {
        given(strands).iter().filter_map(|record| record.key).collect()
    }

    #[test]
    fn nothing_is_given_out_that_is_later_than_what_another_history_was_read_to() {
        let mut strands = [
            strand(&[(1, 10), (4, 40), (6, 55)]),
            strand(&[(2, 20), (3, 30)]),
            strand(&[]),
        ];

        assert_eq!(keys(&mut strands), [1, 2, 3]);
        // The second is asked again, and has nothing: all it had is known.
        assert_eq!(keys(&mut strands), [4, 6]);
        assert_eq!(keys(&mut strands), [0_i64; 0]);
    }

    #[test]
    fn what_stands_in_two_histories_comes_once() {
        let mut strands = [strand(&[(1, 10), (2, 20)]), strand(&[(1, 10), (2, 20)])];
        assert_eq!(keys(&mut strands), [1, 2]);
    }

    #[test]
    fn an_event_that_came_late_or_has_no_time_holds_nothing_up() {
        let mut strands = [strand(&[(5, 50), (6, 1)]), strand(&[(3, 30), (99, 0)])];
        assert_eq!(keys(&mut strands), [99, 3]);
        assert_eq!(keys(&mut strands), [6, 5]);
    }

    #[test]
    fn one_history_alone_is_given_as_it_is() {
        let mut only = [strand(&[(5, 50), (6, 1)])];
        assert_eq!(keys(&mut only), [5, 6]);
    }
}
