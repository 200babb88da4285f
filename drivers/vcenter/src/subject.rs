//! What an event is about: its main entity.

use crate::record::Record;
use crate::soap::Reference;

/// The order in which an event's entities are its main one.
const ENTITIES: [[&str; 2]; 7] = [
    ["vm", "vm"],
    ["host", "host"],
    ["computeResource", "computeResource"],
    ["ds", "datastore"],
    ["net", "network"],
    ["dvs", "dvs"],
    ["datacenter", "datacenter"],
];

impl Record {
    /// What the event itself names as its object, else the first of its entities.
    pub(crate) fn entity(&self) -> Option<Reference> {
        let reference = |path: &[&str]| Reference::of(self.element.at(path)?);
        let object = || {
            let ty = self.element.text_of("objectType")?;
            let ty = ty.strip_prefix("vim.").unwrap_or(ty);
            Some(Reference::new(ty, self.element.text_of("objectId")?))
        };
        object()
            .or_else(|| reference(&["entity", "entity"]))
            .or_else(|| reference(&["info", "entity"]))
            .or_else(|| reference(&["managedObject"]))
            .or_else(|| ENTITIES.iter().find_map(|path| reference(path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: &str = "<key>7</key><createdTime>2026-11-21T01:49:01Z</createdTime>";

    fn subject(class: &str, inside: &str) -> Option<String> {
        let text = format!(
            r#"<a><e xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:type="{class}">{inside}</e></a>"#
        );
        let root = crate::xml::parse(&text).unwrap();
        let entity = Record::new(root.children[0].clone(), &text).entity()?;
        Some(format!("{}/{}", entity.ty, entity.value))
    }

    #[test]
    fn the_subject_is_the_main_entity() {
        let host = r#"<host><name>h</name><host type="HostSystem">host-1</host></host>"#;
        let vm = r#"<vm><name>v</name><vm type="VirtualMachine">vm-1</vm></vm>"#;
        let dc = r#"<datacenter><name>d</name><datacenter type="Datacenter">dc-1</datacenter></datacenter>"#;
        let ds = r#"<ds><name>d</name><datastore type="Datastore">ds-1</datastore></ds>"#;
        let net = r#"<net><name>n</name><network type="Network">net-1</network></net>"#;
        let alarm = r#"<source><name>d</name><entity type="Datacenter">dc-2</entity></source><entity><name>h</name><entity type="HostSystem">host-2</entity></entity>"#;
        let info = r#"<info><key>task-1</key><entity type="VirtualMachine">vm-2</entity></info>"#;
        let table = [
            (
                "VmPoweredOnEvent",
                format!("{dc}{host}{vm}"),
                Some("VirtualMachine/vm-1"),
            ),
            (
                "HostConnectionLostEvent",
                format!("{dc}{host}"),
                Some("HostSystem/host-1"),
            ),
            (
                "DatastoreCapacityIncreasedEvent",
                format!("{dc}{net}{ds}"),
                Some("Datastore/ds-1"),
            ),
            ("DatacenterCreatedEvent", dc.to_owned(), Some("Datacenter/dc-1")),
            (
                "AlarmStatusChangedEvent",
                format!("{dc}{alarm}"),
                Some("HostSystem/host-2"),
            ),
            ("TaskEvent", format!("{host}{info}"), Some("VirtualMachine/vm-2")),
            ("UserLoginSessionEvent", String::new(), None),
        ];
        for (class, inside, want) in table {
            let subject = subject(class, &format!("{STAMP}{inside}"));
            assert_eq!(subject.as_deref(), want, "{class}");
        }
    }
}
