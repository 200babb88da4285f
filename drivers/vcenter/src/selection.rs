//! Which events are wanted: asked of the server, and checked again here, because servers differ.
//!
//! A class stands for itself and all classes that come from it (`vm.powered.on` includes
//! `DrsVmPoweredOnEvent`). What is no known class or type is taken as an `eventTypeId`; these are compared without
//! regard to case, as vCenter writes the same id both ways.

use std::collections::BTreeSet;

use crate::naming::{bare, dispatch_type};
use crate::record::Record;
use crate::schema;
use crate::severity::{SEVERITIES, Severities};

/// In the setting `users`: events of the server itself, which have no user.
const SYSTEM: &str = "system";

/// The wanted events; everything, unless told otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    classes: BTreeSet<&'static str>,
    ids: Vec<String>,
    every_type: bool,
    users: Vec<String>,
    except_users: Vec<String>,
    severities: Vec<String>,
}

impl Selection {
    /// From the entries of the setting `types`. None means everything.
    pub(crate) fn new(entries: &[String]) -> Self {
        let entries: Vec<String> = written(entries);
        let entries: Vec<&str> = entries.iter().map(|e| bare(e)).collect();
        let mut selection = Self {
            every_type: entries.is_empty(),
            ..Self::default()
        };
        for entry in entries {
            let named = |class: &&str| *class == entry || dispatch_type(class) == entry;
            match schema::event_classes().find(named) {
                Some(base) => selection
                    .classes
                    .extend(schema::event_classes().filter(|c| schema::is_a(c, base))),
                None => selection.ids.push(entry.to_owned()),
            }
        }
        selection
    }

    /// All there is.
    pub(crate) fn everything() -> Self {
        Self::new(&[])
    }

    /// Only of these users, unless there are none, and not of those.
    pub(crate) fn of_users(mut self, users: &[String], except: &[String]) -> Self {
        (self.users, self.except_users) = (written(users), written(except));
        self
    }

    /// Only of these severities, unless there are none. What is no severity is an error.
    pub(crate) fn of_severities(mut self, severities: &[String]) -> Result<Self, String> {
        self.severities = written(severities);
        match self.severities.iter().find(|s| !SEVERITIES.contains(&s.as_str())) {
            None => Ok(self),
            Some(odd) => Err(format!("{odd:?} is not one of {}", SEVERITIES.join(", "))),
        }
    }

    /// Entries that are no known class or type.
    pub(crate) fn unknown(&self) -> &[String] {
        &self.ids
    }

    /// What to ask the server for; `None` when it must send everything because an `eventTypeId` stands for the
    /// classes themselves nowhere.
    pub(crate) fn at_source(&self) -> Option<Vec<&str>> {
        let by_id_only = ["EventEx", "ExtendedEvent"];
        if self.every_type || by_id_only.iter().any(|class| self.classes.contains(class)) {
            return None;
        }
        Some(
            self.classes
                .iter()
                .copied()
                .chain(self.ids.iter().map(String::as_str))
                .collect(),
        )
    }

    /// Whose events to ask the server for: whether the system's own, and those of which users. `None`: anybody's.
    pub(crate) fn users_at_source(&self) -> Option<(bool, Vec<&str>)> {
        let (system, named): (Vec<&str>, Vec<&str>) =
            self.users.iter().map(String::as_str).partition(|u| *u == SYSTEM);
        (!self.users.is_empty()).then_some((!system.is_empty(), named))
    }

    /// Which severities to ask the server for; none: any.
    pub(crate) fn severities(&self) -> &[String] {
        &self.severities
    }

    /// Whether an event is wanted. One that cannot be read is: the server sent it.
    pub(crate) fn takes(&self, record: &Record, known: &Severities) -> bool {
        record.is_unreadable()
            || self.takes_type(&record.class, record.event_type_id.as_deref())
                && self.takes_user(record.element.text_of("userName").unwrap_or(SYSTEM))
                && self.takes_severity(known.severity_of(record))
    }

    /// Whether events of this class, or with this `eventTypeId`, are wanted.
    pub(crate) fn takes_type(&self, class: &str, event_type_id: Option<&str>) -> bool {
        let is = |id: &String| {
            id == class
                || event_type_id.is_some_and(|e| e.eq_ignore_ascii_case(id))
                || dispatch_type(class) == *id
        };
        self.every_type || self.classes.contains(class) || self.ids.iter().any(is)
    }

    fn takes_user(&self, user: &str) -> bool {
        let among = |names: &[String]| names.iter().any(|name| name.eq_ignore_ascii_case(user));
        (self.users.is_empty() || among(&self.users)) && !among(&self.except_users)
    }

    /// What has no severity that this user may see is left to the server's judgement.
    fn takes_severity(&self, severity: Option<&str>) -> bool {
        self.severities.is_empty()
            || severity.is_none_or(|s| self.severities.iter().any(|wanted| wanted == s))
    }
}

fn written(entries: &[String]) -> Vec<String> {
    let entries = entries.iter().map(|e| e.trim()).filter(|e| !e.is_empty());
    entries.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(entries: &[&str]) -> Selection {
        Selection::new(&entries.iter().map(|e| (*e).to_owned()).collect::<Vec<_>>())
    }

    fn record(class: &str, inside: &str) -> Record {
        let text = format!(
            r#"<a><e xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:type="{class}">{inside}</e></a>"#
        );
        let root = crate::xml::parse(&text).unwrap();
        Record::new(root.children[0].clone(), &text)
    }

    #[test]
    fn only_events_of_the_users_asked_for_are_taken_whatever_their_case() {
        let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let known = Severities::default();
        let by = |user: &str| record("VmPoweredOnEvent", &format!("<userName>{user}</userName>"));
        let some = Selection::everything().of_users(&owned(&["VSPHERE.LOCAL\\alice", "system"]), &[]);
        assert_eq!(some.users_at_source(), Some((true, vec!["VSPHERE.LOCAL\\alice"])));
        assert!(some.takes(&by("vsphere.local\\Alice"), &known) && some.takes(&by(""), &known));
        assert!(!some.takes(&by("VSPHERE.LOCAL\\backup"), &known));
        let but = Selection::everything().of_users(&[], &owned(&["VSPHERE.LOCAL\\backup"]));
        assert_eq!(
            but.users_at_source(),
            None,
            "what is left out cannot be asked of the server"
        );
        assert!(but.takes(&by("VSPHERE.LOCAL\\alice"), &known) && but.takes(&by(""), &known));
        assert!(!but.takes(&by("VSPHERE.LOCAL\\backup"), &known));
        assert!(some.takes(&Record::unreadable("<broken"), &known));
    }

    #[test]
    fn only_events_of_the_severities_asked_for_are_taken() {
        let known = Severities::from([("VmFailedToPowerOnEvent", "error"), ("VmPoweredOnEvent", "info")]);
        let grave = Selection::everything()
            .of_severities(&["error".to_owned(), "warning".to_owned()])
            .unwrap();
        assert!(grave.takes(&record("VmFailedToPowerOnEvent", ""), &known));
        assert!(!grave.takes(&record("VmPoweredOnEvent", ""), &known));
        assert!(!grave.takes(&record("EventEx", "<severity>info</severity>"), &known));
        assert!(
            grave.takes(&record("AcmeVendorEvent", ""), &known),
            "nobody knows better than the server"
        );
    }

    #[test]
    fn nothing_written_means_everything() {
        let all = selection(&[]);
        assert_eq!(all.at_source(), None);
        assert!(all.takes_type("VmPoweredOnEvent", None) && all.takes_type("AcmeVendorEvent", None));
    }

    #[test]
    fn a_class_or_type_includes_what_comes_from_it() {
        for entry in [
            "vm.powered.on",
            "VmPoweredOnEvent",
            "com.vmware.vsphere.VmPoweredOnEvent.v0",
        ] {
            let some = selection(&[entry]);
            let classes = [
                "DrsVmPoweredOnEvent",
                "VmPoweredOnEvent",
                "VmRestartedOnAlternateHostEvent",
            ];
            assert_eq!(some.at_source().unwrap(), classes);
            assert!(some.takes_type("DrsVmPoweredOnEvent", None));
            assert!(!some.takes_type("VmPoweredOffEvent", None));
        }
        assert_eq!(selection(&["Event"]).at_source(), None);
        assert!(selection(&["vm"]).takes_type("VmMigratedEvent", None));
    }

    #[test]
    fn an_event_type_id_is_compared_without_case() {
        let ha = selection(&["com.vmware.vc.HA.VmRestartedByHAEvent", "vm.suspended"]);
        assert_eq!(ha.unknown(), ["com.vmware.vc.HA.VmRestartedByHAEvent"]);
        assert!(ha.takes_type("EventEx", Some("com.vmware.vc.ha.VmRestartedByHAEvent")));
        assert!(!ha.takes_type("EventEx", Some("com.vmware.vc.ha.Other")));
        assert_eq!(
            ha.at_source().unwrap(),
            ["VmSuspendedEvent", "com.vmware.vc.HA.VmRestartedByHAEvent"]
        );
    }

    #[test]
    fn a_vendor_s_class_is_found_by_either_name() {
        assert!(selection(&["AcmeVendorEvent"]).takes_type("AcmeVendorEvent", None));
        assert!(selection(&["acme.vendor"]).takes_type("AcmeVendorEvent", None));
    }

    #[test]
    fn asking_for_the_general_classes_cannot_be_done_at_the_source() {
        let general = selection(&["EventEx"]);
        assert_eq!(general.at_source(), None);
        assert!(general.takes_type("EventEx", Some("x")) && !general.takes_type("TaskEvent", None));
    }
}
