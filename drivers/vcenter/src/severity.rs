//! How grave an event is: what it says itself, else what the server says of its kind.

use std::collections::HashMap;

use crate::content::{Content, properties};
use crate::record::Record;
use crate::session::{Session, SessionError};
use crate::xml::Element;

/// The grades there are, as vCenter calls its categories.
pub(crate) const SEVERITIES: [&str; 4] = ["info", "warning", "error", "user"];

/// Severity by class or lower-case `eventTypeId`; empty when the user may not see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Severities(HashMap<String, String>);

impl Severities {
    /// What the server says of its kinds of events.
    pub(crate) async fn read(session: &mut Session, content: &Content) -> Result<Self, SessionError> {
        let call = properties(content, &content.event_manager, "description.eventInfo");
        match session.ask(call).await? {
            Ok(answer) => Ok(Self::of(&answer.element)),
            Err(fault) => {
                tracing::info!("events go without a severity: {fault}");
                Ok(Self::default())
            }
        }
    }

    /// For EventEx and ExtendedEvent the id is the format's text up to the first bar.
    fn of(answer: &Element) -> Self {
        let value = answer.at(&["returnval", "objects", "propSet", "val"]);
        let rows = value.into_iter().flat_map(|v| &v.children);
        let row = |row: &Element| {
            let (key, category) = (row.text_of("key")?, row.text_of("category")?);
            let name = match (key, row.text_of("fullFormat").and_then(|f| f.split_once('|'))) {
                ("EventEx" | "ExtendedEvent", Some((id, _))) => id.to_lowercase(),
                _ => key.to_owned(),
            };
            Some((name, category.to_owned()))
        };
        Self(rows.filter_map(row).collect())
    }

    /// How many kinds are known.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The event's own, else that of its `eventTypeId`, else that of its class.
    pub(crate) fn severity_of<'a>(&'a self, record: &'a Record) -> Option<&'a str> {
        let by_id = || self.0.get(&record.event_type_id.as_ref()?.to_lowercase());
        let known = || by_id().or_else(|| self.0.get(&record.class));
        record
            .element
            .text_of("severity")
            .or_else(|| known().map(String::as_str))
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Severities {
    fn from(known: [(&str, &str); N]) -> Self {
        Self(known.map(|(k, v)| (k.to_owned(), v.to_owned())).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_are_known_by_class() {
        let path = format!("{}/tests/recorded/event-info.xml", env!("CARGO_MANIFEST_DIR"));
        let answer = crate::soap::answer(&std::fs::read_to_string(path).unwrap()).unwrap();
        let severities = Severities::of(&answer);
        assert_eq!(
            severities.0.get("VmPoweredOffEvent").map(String::as_str),
            Some("info")
        );
    }

    #[test]
    fn severities_of_extended_events_are_known_by_their_id() {
        let row = |id: &str| {
            format!("<E><key>EventEx</key><category>error</category><fullFormat>{id}|text</fullFormat></E>")
        };
        let text = format!(
            "<r><returnval><objects><propSet><val>{}{}</val></propSet></objects></returnval></r>",
            row("com.vmware.vc.HA.A"),
            row("esx.problem.b")
        );

        let severities = Severities::of(&crate::xml::parse(&text).unwrap());

        assert_eq!(severities.len(), 2);
        let record = |inside: &str| {
            let text = format!("<e>{inside}</e>");
            Record::new(crate::xml::parse(&text).unwrap(), &text)
        };
        let known = record("<eventTypeId>com.vmware.vc.ha.a</eventTypeId>");
        assert_eq!(severities.severity_of(&known), Some("error"));
        let own = record("<eventTypeId>com.vmware.vc.ha.a</eventTypeId><severity>info</severity>");
        assert_eq!(severities.severity_of(&own), Some("info"));
    }
}
