//! Which events are wanted: asked of the server, and checked again here, because servers differ.
//!
//! A class stands for itself and all classes that come from it (`vm.powered.on` includes
//! `DrsVmPoweredOnEvent`). What is no known class or type is taken as an `eventTypeId`; these are compared without
//! regard to case, as vCenter writes the same id both ways.

use std::collections::BTreeSet;

use crate::naming::{bare, dispatch_type};
use crate::schema;

/// The wanted events; everything, unless told otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    classes: BTreeSet<&'static str>,
    ids: Vec<String>,
    everything: bool,
}

impl Selection {
    /// From the entries of the setting `types`. None means everything.
    pub(crate) fn new(entries: &[String]) -> Self {
        let entries: Vec<&str> = entries
            .iter()
            .map(|e| bare(e.trim()))
            .filter(|e| !e.is_empty())
            .collect();
        let mut selection = Self {
            everything: entries.is_empty(),
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

    /// Entries that are no known class or type.
    pub(crate) fn unknown(&self) -> &[String] {
        &self.ids
    }

    /// What to ask the server for; `None` when it must send everything because an `eventTypeId` stands for the
    /// classes themselves nowhere.
    pub(crate) fn at_source(&self) -> Option<Vec<&str>> {
        let by_id_only = ["EventEx", "ExtendedEvent"];
        if self.everything || by_id_only.iter().any(|class| self.classes.contains(class)) {
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

    /// Whether an event is wanted.
    pub(crate) fn takes(&self, class: &str, event_type_id: Option<&str>) -> bool {
        let is = |id: &String| {
            id == class
                || event_type_id.is_some_and(|e| e.eq_ignore_ascii_case(id))
                || dispatch_type(class) == *id
        };
        self.everything || self.classes.contains(class) || self.ids.iter().any(is)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(entries: &[&str]) -> Selection {
        Selection::new(&entries.iter().map(|e| (*e).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn nothing_written_means_everything() {
        let all = selection(&[]);
        assert_eq!(all.at_source(), None);
        assert!(all.takes("VmPoweredOnEvent", None) && all.takes("AcmeVendorEvent", None));
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
            assert!(some.takes("DrsVmPoweredOnEvent", None));
            assert!(!some.takes("VmPoweredOffEvent", None));
        }
        assert_eq!(selection(&["Event"]).at_source(), None);
        assert!(selection(&["vm"]).takes("VmMigratedEvent", None));
    }

    #[test]
    fn an_event_type_id_is_compared_without_case() {
        let ha = selection(&["com.vmware.vc.HA.VmRestartedByHAEvent", "vm.suspended"]);
        assert_eq!(ha.unknown(), ["com.vmware.vc.HA.VmRestartedByHAEvent"]);
        assert!(ha.takes("EventEx", Some("com.vmware.vc.ha.VmRestartedByHAEvent")));
        assert!(!ha.takes("EventEx", Some("com.vmware.vc.ha.Other")));
        assert_eq!(
            ha.at_source().unwrap(),
            ["VmSuspendedEvent", "com.vmware.vc.HA.VmRestartedByHAEvent"]
        );
    }

    #[test]
    fn a_vendor_s_class_is_found_by_either_name() {
        assert!(selection(&["AcmeVendorEvent"]).takes("AcmeVendorEvent", None));
        assert!(selection(&["acme.vendor"]).takes("AcmeVendorEvent", None));
    }

    #[test]
    fn asking_for_the_general_classes_cannot_be_done_at_the_source() {
        let general = selection(&["EventEx"]);
        assert_eq!(general.at_source(), None);
        assert!(general.takes("EventEx", Some("x")) && !general.takes("TaskEvent", None));
    }
}
