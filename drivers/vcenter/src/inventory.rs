//! Objects of the inventory: found by their path, and asked what they are called and where they hang.

use std::collections::HashMap;

use crate::content::{Content, properties};
use crate::session::{Session, SessionError};
use crate::soap::{Call, Reference};
use crate::xml::Element;

/// Objects asked for at once.
pub(crate) const MAX_OBJECTS: usize = 100;

/// One object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Node {
    /// What people call it.
    pub(crate) name: String,
    /// What it hangs below; the root below nothing.
    pub(crate) parent: Option<Reference>,
    /// Values of its custom attributes, by the key of the attribute.
    pub(crate) attributes: Vec<(String, String)>,
}

/// The object at a path.
pub(crate) async fn find(
    session: &mut Session,
    content: &Content,
    path: &str,
) -> Result<Reference, SessionError> {
    let missing = || {
        SessionError::Failed(format!(
            "--within: this user sees nothing at /{path} in the inventory"
        ))
    };
    let index = content.search_index.as_ref().ok_or_else(missing)?;
    let call = Call::new("FindByInventoryPath", index).text("inventoryPath", path);
    let answer = session.call(call).await?;
    answer
        .element
        .child("returnval")
        .and_then(Reference::of)
        .ok_or_else(missing)
}

/// What these objects are, at most [`MAX_OBJECTS`]. Those that are gone, or may not be seen, are left out.
pub(crate) async fn nodes(
    session: &mut Session,
    content: &Content,
    of: &[Reference],
) -> Result<HashMap<Reference, Node>, SessionError> {
    let call = Call::new("RetrievePropertiesEx", &content.property_collector)
        .nested("specSet", |spec| {
            let spec = spec.nested("propSet", |set| {
                let paths = ["name", "parent", "customValue"];
                let set = set.text("type", "ManagedEntity");
                paths.iter().fold(set, |set, path| set.text("pathSet", path))
            });
            let objects = of.iter().take(MAX_OBJECTS);
            objects
                .fold(spec, |spec, object| {
                    spec.nested("objectSet", |set| set.reference("obj", object))
                })
                .text("reportMissingObjectsInResults", true)
        })
        .nested("options", |options| options.text("maxObjects", MAX_OBJECTS));
    Ok(nodes_of(&session.call(call).await?.element))
}

fn nodes_of(answer: &Element) -> HashMap<Reference, Node> {
    let objects = answer
        .child("returnval")
        .into_iter()
        .flat_map(|r| r.all("objects"));
    let node = |object: &Element| {
        let value = |path: &str| {
            let mut sets = object.all("propSet");
            sets.find(|set| set.text_of("name") == Some(path))?.child("val")
        };
        let values = value("customValue").into_iter().flat_map(|v| &v.children);
        let attribute = |v: &Element| Some((v.text_of("key")?.to_owned(), v.text_of("value")?.to_owned()));
        let node = Node {
            name: value("name")?.text.clone(),
            parent: value("parent").and_then(Reference::of),
            attributes: values.filter_map(attribute).collect(),
        };
        Some((object.child("obj").and_then(Reference::of)?, node))
    };
    objects.filter_map(node).collect()
}

/// Names of the custom attributes, by key; none when there are none, or none that this user may see.
pub(crate) async fn attribute_names(
    session: &mut Session,
    content: &Content,
) -> Result<HashMap<String, String>, SessionError> {
    let Some(fields) = &content.custom_fields else {
        return Ok(HashMap::new());
    };
    let Ok(answer) = session.ask(properties(content, fields, "field")).await? else {
        return Ok(HashMap::new());
    };
    let defined = answer.element.at(&["returnval", "objects", "propSet", "val"]);
    let rows = defined.into_iter().flat_map(|v| &v.children);
    let name = |row: &Element| Some((row.text_of("key")?.to_owned(), row.text_of("name")?.to_owned()));
    Ok(rows.filter_map(name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_read_with_its_parent_and_attributes_and_one_without_a_name_is_left_out() {
        let text = r#"<R><returnval>
            <objects><obj type="VirtualMachine">vm-1</obj>
              <propSet><name>customValue</name><val><V><key>101</key><value>team a</value></V></val></propSet>
              <propSet><name>name</name><val>web01</val></propSet>
              <propSet><name>parent</name><val type="Folder">group-v3</val></propSet></objects>
            <objects><obj type="Folder">group-d1</obj><propSet><name>name</name><val>Datacenters</val></propSet></objects>
            <objects><obj type="Folder">group-d9</obj><missingSet><path>name</path></missingSet></objects>
            </returnval></R>"#;

        let nodes = nodes_of(&crate::xml::parse(text).unwrap());

        assert_eq!(nodes.len(), 2);
        let web = &nodes[&Reference::new("VirtualMachine", "vm-1")];
        assert_eq!(web.name, "web01");
        assert_eq!(web.parent, Some(Reference::new("Folder", "group-v3")));
        assert_eq!(web.attributes, [("101".to_owned(), "team a".to_owned())]);
        assert_eq!(nodes[&Reference::new("Folder", "group-d1")].parent, None);
    }
}
