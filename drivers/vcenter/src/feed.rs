//! The history, read forward: a collector that is read, and a second one whose only work is to wake us up; both once for
//! each part of the inventory that is read (`strand`).
//!
//! Events come from `ReadNextEvents` and from nowhere else. `latestPage` shows only the newest and is
//! unordered ("events in the returned page are unordered", vSphere API reference); it says that there is
//! something to read. A collector counts as read only as far as its answers arrived: after any failure it is
//! left behind and a new one begins a little earlier.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::content::{Content, properties};
use crate::cursor::written;
use crate::record::Record;
use crate::selection::Selection;
use crate::session::{DEADLINE, Session, SessionError};
use crate::soap::{Call, Reference};
use crate::strand::{Page, Strands};
use crate::xml::Element;

/// The most events that may be asked for at once.
pub(crate) const MAX_PAGE: u32 = 1000;
/// How much longer than asked a server may wait before it is taken for dead.
const WAIT_SLACK: Duration = Duration::from_secs(15);

/// Reads one server's history.
pub(crate) struct Feed {
    strands: Strands,
    property_collector: Reference,
    version: String,
}

/// An event the server has, as its newest page shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glimpse {
    /// Its id.
    pub(crate) id: String,
    /// When it happened.
    pub(crate) created: Option<DateTime<Utc>>,
}

impl Feed {
    /// Begins at `begin`. The wake-up is armed before the first read, so nothing falls between them.
    pub(crate) async fn open(
        session: &mut Session,
        content: &Content,
        begin: Option<DateTime<Utc>>,
        selection: &Selection,
    ) -> Result<Self, SessionError> {
        let newest = collect_all(session, content, None, selection, Some(1)).await?;
        // One of our own: what other clients of this vCenter wait for must not disturb what we wait for. It ends
        // with the session.
        let create = Call::new("CreatePropertyCollector", &content.property_collector);
        let property_collector = returned(&session.call(create).await?.element)?;
        let create = Call::new("CreateFilter", &property_collector)
            .nested("spec", |spec| {
                let spec = spec.nested("propSet", |set| {
                    set.text("type", "EventHistoryCollector")
                        .text("pathSet", "latestPage")
                });
                newest.iter().fold(spec, |spec, newest| {
                    spec.nested("objectSet", |set| set.reference("obj", newest))
                })
            })
            .text("partialUpdates", false);
        let filter = returned(&session.call(create).await?.element)?;
        session.owe(Call::new("DestroyPropertyFilter", &filter));
        let histories = collect_all(session, content, begin, selection, None).await?;
        let mut feed = Self {
            strands: Strands::new(histories),
            property_collector,
            version: String::new(),
        };
        feed.wait(session, Duration::ZERO, |_| false).await?;
        Ok(feed)
    }

    /// The next events, oldest first; none when there are none for now.
    pub(crate) async fn read(&mut self, session: &mut Session, most: u32) -> Result<Page, SessionError> {
        self.strands.read(session, most).await
    }

    /// How far each part was read, as [`Content::parts`] has them; `None` where nothing was read yet.
    pub(crate) fn reached(&self) -> Vec<Option<DateTime<Utc>>> {
        self.strands.reached()
    }

    /// The last event once more.
    pub(crate) async fn read_again(&mut self, session: &mut Session) -> Result<Page, SessionError> {
        self.strands.read_again(session).await
    }

    /// Waits until the server has news, at most this long; some of the wanted news, or none after a quiet time.
    pub(crate) async fn wait(
        &mut self,
        session: &mut Session,
        most: Duration,
        wanted: impl Fn(&Record) -> bool,
    ) -> Result<Vec<Glimpse>, SessionError> {
        let call = Call::new("WaitForUpdatesEx", &self.property_collector)
            .text("version", &self.version)
            .nested("options", |options| {
                options.text("maxWaitSeconds", most.as_secs())
            });
        let deadline = if most.is_zero() {
            DEADLINE
        } else {
            most + WAIT_SLACK
        };
        let answer = session.call_within(call, deadline).await?;
        let Some(update) = answer.element.child("returnval") else {
            return Ok(Vec::new());
        };
        if let Some(version) = update.text_of("version") {
            self.version = version.to_owned();
        }
        Ok(glimpses(update, &answer.text, wanted))
    }
}

/// The history from a time on, read once and given back.
pub(crate) struct History(Strands);

impl History {
    /// Begins at `begin`, or with the oldest event there is.
    pub(crate) async fn open(
        session: &mut Session,
        content: &Content,
        begin: Option<DateTime<Utc>>,
        selection: &Selection,
    ) -> Result<Self, SessionError> {
        let histories = collect_all(session, content, begin, selection, None).await?;
        Ok(Self(Strands::new(histories)))
    }

    /// The next events; none at the end.
    pub(crate) async fn next(&mut self, session: &mut Session) -> Result<Page, SessionError> {
        self.0.read(session, MAX_PAGE).await
    }

    /// Gives it back.
    pub(crate) async fn close(self, session: &mut Session) -> Result<(), SessionError> {
        for history in self.0.into_histories() {
            session.settle(destroy(&history)).await?;
        }
        Ok(())
    }
}

/// Key of the newest event there is, wanted or not.
pub(crate) async fn newest_key(
    session: &mut Session,
    content: &Content,
) -> Result<Option<i64>, SessionError> {
    let newest = newest(session, content, &Selection::everything(), 1).await?;
    Ok(newest.last().and_then(|record| record.key))
}

/// The newest events, oldest first.
pub(crate) async fn newest(
    session: &mut Session,
    content: &Content,
    selection: &Selection,
    most: u32,
) -> Result<Vec<Record>, SessionError> {
    let mut records: Vec<Record> = Vec::new();
    for newest in collect_all(session, content, None, selection, Some(most)).await? {
        let answer = session.call(properties(content, &newest, "latestPage")).await?;
        session.settle(destroy(&newest)).await?;
        let page = answer.element.at(&["returnval", "objects", "propSet", "val"]);
        let events = page.into_iter().flat_map(|p| &p.children);
        records.extend(events.map(|e| Record::new(e.clone(), &answer.text)));
    }
    records.sort_by_key(|record| (record.created, record.key));
    records.dedup_by(|one, before| one.id == before.id);
    let older = records.len().saturating_sub(most as usize);
    Ok(records.split_off(older))
}

/// A collector of all wanted events for each part of the inventory that is read, for a filter takes one. Each is owed from
/// the moment it is made, also when the next one cannot be.
async fn collect_all(
    session: &mut Session,
    content: &Content,
    begin: Option<DateTime<Utc>>,
    selection: &Selection,
    most: Option<u32>,
) -> Result<Vec<Reference>, SessionError> {
    let mut all = Vec::new();
    for part in &content.parts {
        let collector = collect(session, content, part, begin, selection, most).await?;
        session.owe(destroy(&collector));
        all.push(collector);
    }
    Ok(all)
}

fn destroy(collector: &Reference) -> Call {
    Call::new("DestroyCollector", collector)
}

/// The collector of one part. The order of the fields is the schema's.
async fn collect(
    session: &mut Session,
    content: &Content,
    part: &Reference,
    begin: Option<DateTime<Utc>>,
    selection: &Selection,
    most: Option<u32>,
) -> Result<Reference, SessionError> {
    let create =
        Call::new("CreateCollectorForEvents", &content.event_manager).nested("filter", |mut filter| {
            filter = filter.nested("entity", |entity| {
                entity.reference("entity", part).text("recursion", "all")
            });
            if let Some(begin) = begin {
                filter = filter.nested("time", |time| time.text("beginTime", written(begin)));
            }
            if let Some((system, named)) = selection.users_at_source() {
                filter = filter.nested("userName", |users| {
                    named.iter().fold(users.text("systemUser", system), |u, name| {
                        u.text("userList", name)
                    })
                });
            }
            for severity in selection.severities() {
                filter = filter.text("category", severity);
            }
            for id in selection.at_source().into_iter().flatten() {
                filter = filter.text("eventTypeId", id);
            }
            match most {
                Some(most) => filter.text("maxCount", most),
                None => filter,
            }
        });
    returned(&session.call(create).await?.element)
}

fn returned(answer: &Element) -> Result<Reference, SessionError> {
    let reference = answer.child("returnval").and_then(Reference::of);
    reference.ok_or_else(|| SessionError::Failed(format!("{} names nothing", answer.name)))
}

fn glimpses(update: &Element, text: &str, wanted: impl Fn(&Record) -> bool) -> Vec<Glimpse> {
    let objects = update.all("filterSet").flat_map(|f| f.all("objectSet"));
    let values = objects
        .flat_map(|o| o.all("changeSet"))
        .filter_map(|c| c.child("val"));
    let records = values
        .flat_map(|v| &v.children)
        .map(|e| Record::new(e.clone(), text));
    let glimpse = |record: Record| Glimpse {
        id: record.id,
        created: record.created,
    };
    records.filter(wanted).map(glimpse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soap;

    #[test]
    fn an_update_shows_what_is_new() {
        let path = format!("{}/tests/recorded/updates.xml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let answer = soap::answer(&text).unwrap();

        let glimpses = glimpses(answer.child("returnval").unwrap(), &text, |_| true);

        assert!(glimpses.iter().any(|g| g.id.starts_with("32-")), "{glimpses:?}");
        assert!(glimpses.iter().all(|g| g.created.is_some()));
    }
}
