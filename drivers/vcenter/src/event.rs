//! Pure: one event of vCenter's history becomes one CloudEvent.
//!
//! The same record makes the same event, byte for byte, whenever it is read. Whatever is missing or unknown, there
//! is an event in the end: it is passed on with its XML.

use dispatch_contract::{Event, EventError, RESERVED_TYPE_PREFIX};
use serde_json::Value;

use crate::casing;
use crate::config::{Casing, Scheme};
use crate::data::{self, bounded};
use crate::record::{Record, cut};
use crate::schema;
use crate::severity::Severities;
use crate::surroundings::Around;

/// Longest attribute value.
const MAX_ATTRIBUTE: usize = 1024;
/// How the attribute for a category of tags begins.
const TAG: &str = "tag";
/// Longest name of an attribute (CloudEvents, "Naming conventions").
const MAX_ATTRIBUTE_NAME: usize = 20;
/// The most categories of tags that become attributes; `data` has all.
const MAX_TAG_ATTRIBUTES: usize = 20;

/// What all events of one vCenter share.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origin {
    /// Attribute `source`.
    pub(crate) source: String,
    /// The vCenter's name, as configured.
    pub(crate) vcenter: String,
    /// Version of its API.
    pub(crate) api_version: String,
    /// How types are named.
    pub(crate) scheme: Scheme,
    /// How fields are named.
    pub(crate) casing: Casing,
    /// How grave each kind of event is.
    pub(crate) severities: Severities,
}

impl Record {
    /// The CloudEvent, without anything that is not in the record.
    pub(crate) fn to_event(&self, origin: &Origin) -> Result<Event, EventError> {
        self.to_event_with(origin, &Around::default())
    }

    /// The CloudEvent, with what is known of its object.
    pub(crate) fn to_event_with(&self, origin: &Origin, around: &Around) -> Result<Event, EventError> {
        let mut builder = Event::builder(&self.id, &origin.source, self.ty(origin.scheme));
        if let Some(created) = self.created {
            builder = builder.time(created);
        }
        let name_of = |entity: &str| self.element.at(&[entity, "name"]).map(|n| n.text.clone());
        let entity = self.entity().map(|e| format!("{}/{}", e.ty, e.value));
        let (subject, entity) = match origin.scheme {
            Scheme::Router => (Some(self.name()), entity),
            _ => (entity, None),
        };
        let attributes = [
            ("subject", subject),
            ("entity", entity),
            ("supertype", self.supertype(origin.scheme)),
            ("eventclass", Some(self.event_class().to_owned())),
            ("vcname", Some(origin.vcenter.clone())),
            ("vsphereapiversion", Some(origin.api_version.clone())),
            ("severity", origin.severities.severity_of(self).map(str::to_owned)),
            ("vmname", name_of("vm")),
            ("datacenter", name_of("datacenter")),
            ("inventorypath", around.path.clone()),
        ];
        for (name, value) in attributes {
            if let Some(value) = value.map(|v| attribute(&v)).filter(|v| !v.is_empty()) {
                builder = builder.attribute(name, value);
            }
        }
        if let Some(chain) = self
            .element
            .text_of("chainId")
            .and_then(|c| c.parse::<i32>().ok())
        {
            builder = builder.attribute("eventchain", chain);
        }
        for (category, names) in around.tags.iter().take(MAX_TAG_ATTRIBUTES) {
            let name = tag_attribute(category);
            if name.len() > TAG.len() {
                builder = builder.attribute(&name, attribute(&names.join(",")));
            }
        }
        let data = self.data(origin.casing, around.to_json());
        builder.json(data.to_string()).build()
    }

    fn ty(&self, scheme: Scheme) -> String {
        let kind = match self.event_class() {
            "task" => "event",
            kind => kind,
        };
        let ty = scheme.event_type(&self.class, self.own_id().as_deref(), kind);
        match ty.as_str() {
            "" => "event".to_owned(),
            reserved if reserved.starts_with(RESERVED_TYPE_PREFIX) => format!("vcenter.{reserved}"),
            _ => ty,
        }
    }

    /// The type of which this event's is a special case, if it is one: `vm.powered.on` of `drs.vm.powered.on`.
    fn supertype(&self, scheme: Scheme) -> Option<String> {
        match scheme {
            Scheme::Router => None,
            _ => schema::general(&self.class).map(|class| scheme.event_type(class, None, "event")),
        }
    }

    /// The class, or what an extended event says it is.
    fn name(&self) -> String {
        self.own_id().unwrap_or_else(|| self.class.clone())
    }

    fn own_id(&self) -> Option<String> {
        let id = self.event_type_id.as_deref().filter(|_| self.is_extended());
        id.map(attribute).filter(|id| !id.is_empty())
    }

    fn is_extended(&self) -> bool {
        schema::is_a(&self.class, "EventEx") || schema::is_a(&self.class, "ExtendedEvent")
    }

    fn event_class(&self) -> &'static str {
        let classes = [
            ("EventEx", "eventex"),
            ("ExtendedEvent", "extendedevent"),
            ("TaskEvent", "task"),
        ];
        let found = classes.iter().find(|(class, _)| schema::is_a(&self.class, class));
        found.map_or("event", |(_, name)| name)
    }

    fn data(&self, casing: Casing, inventory: Option<Value>) -> Value {
        let mut fields = data::object(&self.element, &self.class);
        match casing {
            Casing::Vim25 => {
                fields.insert("_type".to_owned(), self.class.as_str().into());
            }
            Casing::Veba => fields = casing::veba(fields, &self.class),
        }
        if let Some(xml) = &self.xml {
            fields.insert("_xml".to_owned(), xml.as_str().into());
        }
        if let Some(inventory) = inventory {
            fields.insert("_inventory".to_owned(), inventory);
        }
        bounded(fields)
    }
}

/// `tagenvironment` for the category `Environment`: what an attribute's name may hold of it.
fn tag_attribute(category: &str) -> String {
    let letters = category.chars().filter(char::is_ascii_alphanumeric);
    let name = TAG.chars().chain(letters).map(|c| c.to_ascii_lowercase());
    name.take(MAX_ATTRIBUTE_NAME).collect()
}

/// Text as an attribute may have it.
fn attribute(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    cut(text.trim(), MAX_ATTRIBUTE)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::soap;

    fn recorded(name: &str) -> Vec<Record> {
        let path = format!("{}/tests/recorded/{name}.xml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let answer = soap::answer(&text).unwrap();
        answer
            .children
            .into_iter()
            .map(|e| Record::new(e, &text))
            .collect()
    }
    fn record(class: &str, inside: &str) -> Record {
        let text = format!(
            r#"<a><returnval xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:type="{class}">{inside}</returnval></a>"#
        );
        let root = crate::xml::parse(&text).unwrap();
        Record::new(root.children[0].clone(), &text)
    }
    fn origin() -> Origin {
        Origin {
            source: "https://vc.example.com/sdk".to_owned(),
            vcenter: "vc.example.com".to_owned(),
            api_version: "8.0.3.0".to_owned(),
            scheme: Scheme::Dispatch,
            casing: Casing::Vim25,
            severities: [("VmPoweredOffEvent", "info")].into(),
        }
    }
    fn event(class: &str, inside: &str) -> Event {
        record(class, inside).to_event(&origin()).unwrap()
    }
    fn data(event: &Event) -> Value {
        serde_json::from_slice(event.data().unwrap().bytes).unwrap()
    }
    const STAMP: &str =
        "<key>7</key><chainId>5</chainId><createdTime>2026-11-21T01:49:01.869528895Z</createdTime>";

    #[test]
    fn a_recorded_power_off_is_told_as_it_was() {
        let page = recorded("page");
        let off = page.iter().find(|r| r.class == "VmPoweredOffEvent").unwrap();

        let event = off.to_event(&origin()).unwrap();

        assert_eq!(event.id(), "28-1795225741869528");
        assert_eq!(event.source(), "https://vc.example.com/sdk");
        assert_eq!(event.ty(), "vm.powered.off");
        assert_eq!(event.subject(), Some("VirtualMachine/vm-57"));
        assert_eq!(event.attribute("time"), Some("2026-11-21T01:49:01.869528895Z"));
        let extensions: Vec<_> = event.extensions().map(|a| (a.name, a.text)).collect();
        let want = [
            ("eventclass", "event"),
            ("vcname", "vc.example.com"),
            ("vsphereapiversion", "8.0.3.0"),
            ("severity", "info"),
            ("vmname", "DC0_H0_VM0"),
            ("datacenter", "DC0"),
            ("eventchain", "28"),
        ];
        assert_eq!(extensions, want);
        let want = json!({
            "_type": "VmPoweredOffEvent", "key": 28, "chainId": 28,
            "createdTime": "2026-11-21T01:49:01.869528895Z", "userName": "admin",
            "datacenter": {"name": "DC0", "datacenter": {"type": "Datacenter", "value": "datacenter-2"}},
            "computeResource": {"name": "DC0_H0",
                "computeResource": {"type": "ComputeResource", "value": "computeresource-23"}},
            "host": {"name": "DC0_H0", "host": {"type": "HostSystem", "value": "host-21"}},
            "vm": {"name": "DC0_H0_VM0", "vm": {"type": "VirtualMachine", "value": "vm-57"}},
            "fullFormattedMessage": "DC0_H0_VM0 on DC0_H0 in DC0 is powered off", "template": false,
        });
        assert_eq!(data(&event), want);
    }

    #[test]
    fn in_the_router_s_scheme_the_subject_is_the_event_s_name_and_the_entity_stands_beside() {
        let router = Origin {
            scheme: Scheme::Router,
            ..origin()
        };
        let page = recorded("page");
        let off = page.iter().find(|r| r.class == "VmPoweredOffEvent").unwrap();

        let event = off.to_event(&router).unwrap();

        assert_eq!(event.ty(), "com.vmware.event.router/event");
        assert_eq!(event.subject(), Some("VmPoweredOffEvent"));
        assert_eq!(event.attribute("entity"), Some("VirtualMachine/vm-57"));
    }

    #[test]
    fn a_special_case_says_of_what() {
        let supertype = |class: &str, scheme| {
            let origin = Origin { scheme, ..origin() };
            let event = record(class, STAMP).to_event(&origin).unwrap();
            event.attribute("supertype").map(str::to_owned)
        };
        let table = [
            ("DrsVmPoweredOnEvent", Some("vm.powered.on")),
            ("VmRestartedOnAlternateHostEvent", Some("vm.powered.on")),
            ("VmPowerOffOnIsolationEvent", Some("vm.powered.off")),
            ("DrsVmMigratedEvent", Some("vm.migrated")),
            ("VmPoweredOnEvent", None),
            ("EventEx", None),
            ("AcmeVendorEvent", None),
        ];
        for (class, want) in table {
            assert_eq!(supertype(class, Scheme::Dispatch).as_deref(), want, "{class}");
        }
        assert_eq!(
            supertype("DrsVmPoweredOnEvent", Scheme::Veba).as_deref(),
            Some("com.vmware.vsphere.VmPoweredOnEvent.v0")
        );
        assert_eq!(supertype("DrsVmPoweredOnEvent", Scheme::Router), None);
    }

    #[test]
    fn what_is_known_of_the_object_can_be_filtered_by_and_stands_in_the_data() {
        let around = Around {
            path: Some("/DC0/vm/Prod/web01".to_owned()),
            attributes: [("owner".to_owned(), "team a".to_owned())].into(),
            tags: [
                ("Backup Policy (new!)", vec!["daily", "gold"]),
                ("环境", vec!["生产"]),
            ]
            .map(|(c, t)| (c.to_owned(), t.into_iter().map(str::to_owned).collect()))
            .into(),
        };

        let event = record("VmPoweredOnEvent", STAMP)
            .to_event_with(&origin(), &around)
            .unwrap();

        assert_eq!(event.attribute("inventorypath"), Some("/DC0/vm/Prod/web01"));
        assert_eq!(event.attribute("tagbackuppolicynew"), Some("daily,gold"));
        let want = json!({"path": "/DC0/vm/Prod/web01", "attributes": {"owner": "team a"},
            "tags": {"Backup Policy (new!)": ["daily", "gold"], "环境": ["生产"]}});
        assert_eq!(data(&event)["_inventory"], want);
        let alone = record("VmPoweredOnEvent", STAMP).to_event(&origin()).unwrap();
        assert_eq!(data(&alone).get("_inventory"), None);
    }

    #[test]
    fn every_recorded_event_becomes_one_of_its_own() {
        let page = recorded("page");
        let ids: BTreeSet<String> = page
            .iter()
            .map(|r| r.to_event(&origin()).unwrap().id().to_owned())
            .collect();
        assert_eq!((page.len(), ids.len()), (30, 30));
        let again: BTreeSet<String> = recorded("page").iter().map(|r| r.id.clone()).collect();
        assert_eq!(ids, again);
    }

    #[test]
    fn an_extended_event_is_known_by_its_own_id() {
        let inside = format!(
            "{STAMP}<vm><name>a</name><vm type=\"VirtualMachine\">vm-1</vm></vm><eventTypeId>esx.audit.ssh.enabled</eventTypeId>\
             <severity>warning</severity><objectId>host-21</objectId><objectType>HostSystem</objectType>"
        );
        let ex = event("EventEx", &inside);
        assert_eq!(
            (ex.ty(), ex.subject()),
            ("esx.audit.ssh.enabled", Some("HostSystem/host-21"))
        );
        assert_eq!(
            (ex.attribute("severity"), ex.attribute("eventclass")),
            (Some("warning"), Some("eventex"))
        );
        let inside = format!(
            "{STAMP}<eventTypeId>com.vmware.applmgmt.backup.job.failed.event</eventTypeId><managedObject type=\"Folder\">group-d1</managedObject>"
        );
        let extended = event("ExtendedEvent", &inside);
        assert_eq!(extended.ty(), "com.vmware.applmgmt.backup.job.failed.event");
        assert_eq!(
            (extended.subject(), extended.attribute("eventclass")),
            (Some("Folder/group-d1"), Some("extendedevent"))
        );
    }

    #[test]
    fn ids_tell_keys_that_wrapped_or_started_over_apart() {
        let wrapped = record(
            "VmPoweredOnEvent",
            "<key>-2147483648</key><createdTime>2026-01-01T00:00:00Z</createdTime>",
        );
        assert_eq!(wrapped.id, "-2147483648-1767225600000000");
        let later = record(
            "VmPoweredOnEvent",
            "<key>-2147483648</key><createdTime>2026-01-01T00:00:00.000001Z</createdTime>",
        );
        assert_eq!(later.id, "-2147483648-1767225600000001");
    }

    #[test]
    fn a_class_outside_the_schema_is_passed_on_with_its_xml() {
        let page = recorded("page-unknown-class");
        let vendor = page.iter().find(|r| r.class == "AcmeVendorEvent").unwrap();

        let event = vendor.to_event(&origin()).unwrap();

        assert_eq!(
            (event.ty(), event.subject()),
            ("acme.vendor", Some("VirtualMachine/vm-57"))
        );
        let xml = data(&event)["_xml"].as_str().unwrap().to_owned();
        assert!(
            xml.starts_with("<returnval") && xml.ends_with("</returnval>"),
            "{xml}"
        );
    }

    #[test]
    fn what_is_missing_or_odd_still_becomes_an_event_with_a_stable_id() {
        let table = [
            ("VmPoweredOnEvent", ""),
            (
                "VmPoweredOnEvent",
                "<key>seven</key><createdTime>yesterday</createdTime>",
            ),
            (
                "VmPoweredOnEvent",
                "<key>1</key><vm><name>a\u{fffd}\tb\nc</name></vm>",
            ),
            ("EventEx", "<eventTypeId>a\nb</eventTypeId>"),
            ("EventEx", "<eventTypeId>dispatch.run.succeeded</eventTypeId>"),
            ("Event", ""),
        ];
        for (class, inside) in table {
            let one = event(class, inside);
            assert_eq!(one, event(class, inside));
            assert!(one.id().starts_with("x-"), "{}", one.id());
            assert!(
                !one.ty().is_empty() && !one.ty().starts_with(RESERVED_TYPE_PREFIX),
                "{}",
                one.ty()
            );
            assert!(data(&one)["_xml"].as_str().unwrap().contains(class));
        }
        let unreadable = Record::unreadable("<broken").to_event(&origin()).unwrap();
        assert_eq!(
            (unreadable.ty(), &data(&unreadable)["_xml"]),
            ("unreadable", &json!("<broken"))
        );
    }

    #[test]
    fn an_event_too_large_for_the_hub_loses_its_large_fields_only() {
        let note = "x".repeat(data::MAX_DATA);
        let inside =
            format!("{STAMP}<vm><name>a</name></vm><fullFormattedMessage>{note}</fullFormattedMessage>");

        let event = event("VmPoweredOnEvent", &inside);

        let data = data(&event);
        assert_eq!(data["_left_out"], json!(["fullFormattedMessage"]));
        assert_eq!((&data["key"], &data["vm"]["name"]), (&json!(7), &json!("a")));
    }
}
