//! Dispatch's event types from vCenter's class names: `VmPoweredOnEvent` becomes `vm.powered.on`.
//!
//! Every occurrence of `Event` is dropped, then the name is cut into words: a run of capitals is one word
//! whose last capital begins the next word if a lower-case letter follows; digits belong to the word they
//! follow.

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
