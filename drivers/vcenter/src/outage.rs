//! Whether the server is there: one log line for each change, and an event once it is really away.
//!
//! A session that only had to be renewed is no outage. `vcenter.disconnected` is told when connecting anew
//! failed too, `vcenter.connected` when a told outage is over.

use chrono::Utc;
use dispatch_contract::Event;
use serde_json::json;

use crate::selection::Selection;

/// What is known of the connection.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    connected_before: bool,
    failures: u32,
    told: bool,
}

impl Outage {
    /// Connecting or being connected failed; the event to send, if this is when to tell.
    pub(crate) fn failed(&mut self, source: &str, reason: &str) -> Option<Event> {
        self.failures = self.failures.saturating_add(1);
        match self.failures {
            1 => tracing::warn!("no connection, trying until there is one: {reason}"),
            n => tracing::debug!("attempt {n} failed: {reason}"),
        }
        let tell = self.connected_before && !self.told && self.failures == 2;
        self.told |= tell;
        tell.then(|| event(source, "disconnected", reason)).flatten()
    }

    /// There is a connection; the event to send, if an outage was told.
    pub(crate) fn over(&mut self, source: &str, server: &str) -> Option<Event> {
        if self.failures > 0 || !self.connected_before {
            tracing::info!("connected to {server}");
        }
        let told = self.told;
        *self = Self {
            connected_before: true,
            ..Self::default()
        };
        told.then(|| event(source, "connected", server)).flatten()
    }
}

/// Whether somebody wants to know.
pub(crate) fn is_wanted(event: &Event, selection: &Selection) -> bool {
    selection.takes_type(event.ty(), None)
}

/// The only events with our own clock in them: the server's cannot be asked.
fn event(source: &str, what: &str, reason: &str) -> Option<Event> {
    let now = Utc::now();
    let id = format!("{what}-{}", now.timestamp_micros());
    let data = json!({"reason": reason}).to_string();
    Event::builder(id, source, format!("vcenter.{what}"))
        .time(now)
        .json(data)
        .build()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(outage: &mut Outage, steps: &[bool]) -> Vec<Option<String>> {
        let step = |up: &bool| match up {
            true => outage.over("https://vc/sdk", "vc"),
            false => outage.failed("https://vc/sdk", "refused"),
        };
        steps
            .iter()
            .map(step)
            .map(|e| e.map(|e| e.ty().to_owned()))
            .collect()
    }

    #[test]
    fn an_outage_is_told_once_and_so_is_its_end() {
        let told = types(
            &mut Outage::default(),
            &[true, false, false, false, true, false, true],
        );
        let told: Vec<_> = told.iter().map(Option::as_deref).collect();
        let want = [
            None,
            None,
            Some("vcenter.disconnected"),
            None,
            Some("vcenter.connected"),
            None,
            None,
        ];
        assert_eq!(told, want);
    }

    #[test]
    fn a_server_that_was_never_there_is_not_told_as_lost() {
        assert_eq!(
            types(&mut Outage::default(), &[false, false, false, true]),
            [None, None, None, None]
        );
    }
}
