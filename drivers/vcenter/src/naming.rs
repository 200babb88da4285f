//! What an event type is called, in each of the three ways that people have subscriptions for.
//!
//! Dispatch's own: every occurrence of `Event` is dropped, then the name is cut into words: a run of capitals is one
//! word whose last capital begins the next word if a lower-case letter follows; digits belong to the word they
//! follow. VEBA's: the name as it is, between a prefix and a version. The event router's: one type for each kind of
//! event, and the name is the subject.

use crate::config::Scheme;

const VEBA: (&str, &str) = ("com.vmware.vsphere.", ".v0");
const ROUTER: &str = "com.vmware.event.router/";

impl Scheme {
    /// The type of an event of this class, whose own `eventTypeId` is `own`, of the kind `event`, `eventex` or
    /// `extendedevent`.
    pub(crate) fn event_type(self, class: &str, own: Option<&str>, kind: &str) -> String {
        match self {
            Self::Dispatch => own.map_or_else(|| dispatch_type(class), str::to_owned),
            Self::Veba => format!("{}{}{}", VEBA.0, own.unwrap_or(class), VEBA.1),
            Self::Router => format!("{ROUTER}{kind}"),
        }
    }
}

/// The class or `eventTypeId` within a type of VEBA's; other text as it is.
pub(crate) fn bare(ty: &str) -> &str {
    let inner = ty.strip_prefix(VEBA.0).and_then(|t| t.strip_suffix(VEBA.1));
    inner.unwrap_or(ty)
}

/// The type of a class.
pub(crate) fn dispatch_type(class: &str) -> String {
    let name: Vec<char> = class.replace("Event", "").chars().collect();
    let mut words = String::with_capacity(name.len() + 8);
    for (n, &c) in name.iter().enumerate() {
        let before = n.checked_sub(1).map(|p| name[p].is_uppercase());
        let after = name.get(n + 1).map(|c| c.is_uppercase());
        let begins = match (before, after) {
            (None, _) => false,
            (Some(false), _) => c.is_uppercase(),
            (Some(true), Some(false)) => c.is_uppercase(),
            (Some(true), _) => false,
        };
        if begins {
            words.push('.');
        }
        words.extend(c.to_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_class_has_the_type_it_always_had() {
        let table: Vec<(&str, &str)> = include_str!("../tests/names.tsv")
            .lines()
            .filter_map(|l| l.split_once('\t'))
            .collect();
        for (class, ty) in &table {
            assert_eq!(dispatch_type(class), *ty, "{class}");
        }
        assert_eq!(table.len(), 443);
        let types: BTreeSet<_> = table.iter().map(|(_, ty)| ty).collect();
        assert_eq!(types.len(), 443, "no two classes share a type");
    }

    #[test]
    fn each_scheme_names_classes_and_extended_events_as_its_users_know_them() {
        let backup = "com.vmware.applmgmt.backup.job.failed.event";
        let table = [
            (Scheme::Dispatch, "vm.powered.on", backup),
            (
                Scheme::Veba,
                "com.vmware.vsphere.VmPoweredOnEvent.v0",
                "com.vmware.vsphere.com.vmware.applmgmt.backup.job.failed.event.v0",
            ),
            (
                Scheme::Router,
                "com.vmware.event.router/event",
                "com.vmware.event.router/extendedevent",
            ),
        ];
        for (scheme, class, extended) in table {
            assert_eq!(scheme.event_type("VmPoweredOnEvent", None, "event"), class);
            let own = scheme.event_type("ExtendedEvent", Some(backup), "extendedevent");
            assert_eq!(own, extended);
        }
        assert_eq!(bare("com.vmware.vsphere.VmPoweredOnEvent.v0"), "VmPoweredOnEvent");
        assert_eq!(bare("vm.powered.on"), "vm.powered.on");
    }

    #[test]
    fn the_articles_names_are_as_printed() {
        let table = [
            ("VmPoweredOnEvent", "vm.powered.on"),
            ("DrsVmPoweredOnEvent", "drs.vm.powered.on"),
            ("DVPortgroupCreatedEvent", "dv.portgroup.created"),
            ("VMFSDatastoreCreatedEvent", "vmfs.datastore.created"),
            ("IScsiBootFailureEvent", "i.scsi.boot.failure"),
            (
                "HostVnicConnectedToCustomizedDVPortEvent",
                "host.vnic.connected.to.customized.dv.port",
            ),
            ("VmFailoverFailed", "vm.failover.failed"),
            ("TaskEvent", "task"),
            ("EventEx", "ex"),
            ("AcmeVendorEvent", "acme.vendor"),
            ("Event", ""),
        ];
        for (class, ty) in table {
            assert_eq!(dispatch_type(class), ty, "{class}");
        }
    }
}
