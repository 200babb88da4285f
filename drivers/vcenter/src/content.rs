//! What a server says of itself before anybody logs in: its version, its identity, and what its objects are called.
//!
//! Names of objects come from here, never from habit: an ESXi host has others than vCenter.

use crate::soap::{Call, Reference};
use crate::xml::Element;

/// What the server says of itself.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pub(crate) full_name: String,
    pub(crate) api_version: String,
    /// Identity of the installation; clones share it.
    pub(crate) instance: String,
    pub(crate) root_folder: Reference,
    /// Whose events are read, with those of what is below: the root unless there is less to be read.
    pub(crate) parts: Vec<Reference>,
    pub(crate) event_manager: Reference,
    pub(crate) session_manager: Reference,
    pub(crate) property_collector: Reference,
    pub(crate) search_index: Option<Reference>,
    pub(crate) custom_fields: Option<Reference>,
}

impl Content {
    /// From the answer to RetrieveServiceContent.
    pub(crate) fn of(answer: &Element) -> Option<Self> {
        let content = answer.child("returnval")?;
        let reference = |name: &str| content.child(name).and_then(Reference::of);
        let about = |name: &str| {
            content
                .child("about")
                .and_then(|a| a.text_of(name))
                .unwrap_or_default()
                .to_owned()
        };
        Some(Self {
            full_name: about("fullName"),
            api_version: about("apiVersion"),
            instance: about("instanceUuid"),
            root_folder: reference("rootFolder")?,
            parts: vec![reference("rootFolder")?],
            event_manager: reference("eventManager")?,
            session_manager: reference("sessionManager")?,
            property_collector: reference("propertyCollector")?,
            search_index: reference("searchIndex"),
            custom_fields: reference("customFieldsManager"),
        })
    }
}

/// Asks for one property of one object.
pub(crate) fn properties(content: &Content, of: &Reference, path: &str) -> Call {
    Call::new("RetrievePropertiesEx", &content.property_collector)
        .nested("specSet", |spec| {
            spec.nested("propSet", |set| set.text("type", &of.ty).text("pathSet", path))
                .nested("objectSet", |set| set.reference("obj", of))
        })
        .nested("options", |options| options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soap;

    #[test]
    fn names_of_objects_come_from_the_server() {
        let path = format!(
            "{}/tests/recorded/service-content.xml",
            env!("CARGO_MANIFEST_DIR")
        );
        let answer = soap::answer(&std::fs::read_to_string(path).unwrap()).unwrap();

        let content = Content::of(&answer).unwrap();

        assert_eq!(content.full_name, "VMware vCenter Server 6.5.0 build-5973321");
        assert_eq!(content.api_version, "6.5");
        assert_eq!(content.instance, "dbed6e0c-bd88-4ef6-b594-21283e1c677f");
        assert_eq!(content.root_folder, Reference::new("Folder", "group-d1"));
    }
}
