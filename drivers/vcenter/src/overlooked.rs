//! Events the server shows as new, and the history does not give: late ones, and a history that is stuck.
//!
//! A late event carries a time before the one at which the history was begun; reading again from its own time
//! finds it. A history is stuck when a whole page of what would come next may not be seen by the user: vCenter
//! answers with an empty page, forever. A history that begins behind that page goes on, so the earliest
//! beginning that shows something new is searched by halving.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::content::Content;
use crate::cursor::Cursor;
use crate::feed::{Glimpse, History};
use crate::selection::Selection;
use crate::session::{Session, SessionError};

/// How long the history may lag behind what the server shows.
const PATIENCE: Duration = Duration::from_secs(3);
/// The most events waited for.
const MAX_AWAITED: usize = 5_000;
/// A beginning found this exactly is good enough.
const CLOSE_ENOUGH: chrono::Duration = chrono::Duration::milliseconds(1);
const MAX_HALVINGS: usize = 40;

/// What the server showed and the history still owes.
#[derive(Debug, Default)]
pub(crate) struct Overlooked {
    awaited: HashMap<String, Option<DateTime<Utc>>>,
    since: Option<Instant>,
    /// Whether these were searched for once already.
    searched: bool,
}

impl Overlooked {
    /// The server showed these.
    pub(crate) fn shown(&mut self, glimpses: Vec<Glimpse>, cursor: &Cursor) {
        for Glimpse { id, created, .. } in glimpses {
            if cursor.is_new(&id) && self.awaited.len() < MAX_AWAITED {
                self.awaited.insert(id, created);
            }
        }
    }

    /// The history was read to its end. Says whether it is time to search.
    pub(crate) fn caught_up(&mut self, cursor: &mut Cursor) -> bool {
        self.awaited.retain(|id, _| cursor.is_new(id));
        if self.awaited.is_empty() {
            *self = Self::default();
            return false;
        }
        let overdue = self.since.get_or_insert_with(Instant::now).elapsed() >= PATIENCE;
        if overdue && self.searched {
            tracing::warn!(
                events = self.awaited.len(),
                "the server shows events that cannot be read; leaving them"
            );
            for id in self.awaited.keys() {
                cursor.give_up(id);
            }
            *self = Self::default();
            return false;
        }
        overdue
    }

    /// Whether something is awaited.
    pub(crate) fn is_awaiting(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// Whether this event was shown and is owed, whatever its time.
    pub(crate) fn awaits(&self, id: &str) -> bool {
        self.awaited.contains_key(id)
    }

    /// Where to begin so that what is awaited comes; `begun` is where the history was begun, `reached` how far each part
    /// was read.
    pub(crate) async fn search(
        &mut self,
        session: &mut Session,
        content: &Content,
        reached: &[Option<DateTime<Utc>>],
        cursor: &Cursor,
        begun: Option<DateTime<Utc>>,
        selection: &Selection,
    ) -> Result<Option<DateTime<Utc>>, SessionError> {
        self.searched = true;
        self.since = None;
        let earliest = self.awaited.values().flatten().min().copied();
        let (Some(earliest), Some(latest)) = (earliest, self.awaited.values().flatten().max().copied())
        else {
            return Ok(begun);
        };
        if Some(earliest) < begun {
            tracing::info!(
                events = self.awaited.len(),
                "events arrived late; reading from {earliest} again"
            );
            return Ok(Some(earliest));
        }
        tracing::warn!(
            "the server shows events and gives none: part of its history may not be seen by this user"
        );
        let mut found = latest;
        for (part, reached) in content.parts.iter().zip(reached) {
            let content = Content {
                parts: vec![part.clone()],
                ..content.clone()
            };
            let mut part = Part {
                session: &mut *session,
                content,
                cursor,
                selection,
            };
            // A date in the future says nothing of how far it was read.
            let now = part.session.now();
            let below = reached.map(|reached| reached.min(now)).or(begun);
            let below = below.unwrap_or(DateTime::UNIX_EPOCH).min(latest);
            for shown in [earliest, latest] {
                if part.shows_news_from(shown).await? {
                    found = found.min(part.first_news(below, shown).await?);
                    break;
                }
            }
        }
        Ok(Some(found))
    }
}

/// One part of the inventory, searched: the others' histories may be well.
struct Part<'a> {
    session: &'a mut Session,
    content: Content,
    cursor: &'a Cursor,
    selection: &'a Selection,
}

impl Part<'_> {
    /// Between two beginnings, the earliest one that shows something new, where the later one does.
    async fn first_news(
        &mut self,
        mut below: DateTime<Utc>,
        mut found: DateTime<Utc>,
    ) -> Result<DateTime<Utc>, SessionError> {
        for _ in 0..MAX_HALVINGS {
            if found - below <= CLOSE_ENOUGH {
                break;
            }
            let middle = below + (found - below) / 2;
            match self.shows_news_from(middle).await? {
                true => found = middle,
                false => below = middle,
            }
        }
        Ok(found)
    }

    async fn shows_news_from(&mut self, begin: DateTime<Utc>) -> Result<bool, SessionError> {
        let mut history = History::open(self.session, &self.content, Some(begin), self.selection).await?;
        let page = history.next(self.session).await;
        history.close(self.session).await?;
        Ok(page?.records.iter().any(|record| self.cursor.is_new(&record.id)))
    }
}
