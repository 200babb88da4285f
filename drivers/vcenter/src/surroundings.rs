//! Where an event's object hangs in the inventory, its custom attributes and its tags: the setting `enrich`.
//!
//! Asked for once and remembered, at most for [`FRESH`] and until an event says that it has changed. Events never wait
//! for it longer than [`BUDGET`] a page, and not at all for [`REST`] after it failed: they go without. An object that
//! is gone keeps what was known of it.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout};

use crate::content::Content;
use crate::inventory::{MAX_OBJECTS, Node, attribute_names, nodes};
use crate::record::Record;
use crate::session::Session;
use crate::soap::Reference;
use crate::tags::{TagError, TagReader, Tags};

/// The most time for one page of events.
const BUDGET: Duration = Duration::from_secs(2);
/// How long nothing is asked after a failure.
const REST: Duration = Duration::from_secs(60);
/// The same when the user was refused: an account is locked by less.
const REST_AFTER_REFUSAL: Duration = Duration::from_secs(3600);
/// How long what was read is good.
const FRESH: Duration = Duration::from_secs(600);
/// The most objects that are remembered.
const MAX_KNOWN: usize = 20_000;
/// Deeper than any inventory.
const MAX_DEPTH: usize = 30;

/// Events after which an object is not what it was.
const CHANGES: [&str; 7] = [
    "VmRenamedEvent",
    "VmRelocatedEvent",
    "ResourcePoolMovedEvent",
    "DatastoreRenamedEvent",
    "DatacenterRenamedEvent",
    "DvsRenamedEvent",
    "CustomFieldValueChangedEvent",
];
/// The same for `eventTypeId`s, by their beginning.
const TAGGING: &str = "com.vmware.cis.tagging.";

/// What is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Enrich {
    /// The path in the inventory.
    pub(crate) path: bool,
    /// The custom attributes.
    pub(crate) attributes: bool,
    /// The tags.
    pub(crate) tags: bool,
}

impl Enrich {
    /// From the entries of the setting.
    pub(crate) fn new(entries: &[String]) -> Result<Self, String> {
        let mut enrich = Self::default();
        for entry in entries.iter().map(|e| e.trim()).filter(|e| !e.is_empty()) {
            match entry {
                "path" => enrich.path = true,
                "attributes" => enrich.attributes = true,
                "tags" => enrich.tags = true,
                odd => return Err(format!("{odd:?} is not one of path, attributes, tags")),
            }
        }
        Ok(enrich)
    }
}

/// What is known of one object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Around {
    /// `/DC0/vm/web01`.
    pub(crate) path: Option<String>,
    /// Custom attributes by name.
    pub(crate) attributes: BTreeMap<String, String>,
    /// Tags by category.
    pub(crate) tags: Tags,
}

impl Around {
    /// For an event's `data`; nothing when nothing is known.
    pub(crate) fn to_json(&self) -> Option<Value> {
        let mut fields = Map::new();
        if let Some(path) = &self.path {
            fields.insert("path".to_owned(), path.as_str().into());
        }
        if !self.attributes.is_empty() {
            fields.insert("attributes".to_owned(), json!(self.attributes));
        }
        if !self.tags.is_empty() {
            fields.insert("tags".to_owned(), json!(self.tags));
        }
        (!fields.is_empty()).then(|| fields.into())
    }
}

/// What was read of an object; no node: it is gone, or may not be seen.
#[derive(Debug)]
struct Known {
    node: Option<Node>,
    tags: Tags,
    read: Instant,
    /// An event said that it has changed since.
    changed: bool,
}

/// One way of asking, which may fail for a while.
#[derive(Debug, Default)]
struct Way {
    rests_until: Option<Instant>,
    failed: bool,
}

impl Way {
    fn is_open(&self) -> bool {
        self.rests_until.is_none_or(|until| Instant::now() >= until)
    }
    fn worked(&mut self) {
        *self = Self::default();
    }
    /// One line in the log for each time it begins to fail.
    fn failed(&mut self, what: &str, why: &str, rest: Duration) {
        if !self.failed {
            tracing::warn!("events go without {what}, which cannot be read: {why}");
        }
        (self.failed, self.rests_until) = (true, Some(Instant::now() + rest));
    }
}

/// Reads and remembers.
pub(crate) struct Surroundings {
    wanted: Enrich,
    known: HashMap<Reference, Known>,
    order: VecDeque<Reference>,
    names: Option<HashMap<String, String>>,
    tags: Option<TagReader>,
    inventory: Way,
    tagging: Way,
}

impl Surroundings {
    /// Knows nothing yet; `tags` is asked only when tags are wanted.
    pub(crate) fn new(wanted: Enrich, tags: TagReader) -> Self {
        Self {
            wanted,
            known: HashMap::new(),
            order: VecDeque::new(),
            names: None,
            tags: wanted.tags.then_some(tags),
            inventory: Way::default(),
            tagging: Way::default(),
        }
    }

    /// Reads what is wanted of these events' objects and not known. Takes [`BUDGET`] at most, and never fails.
    pub(crate) async fn learn(&mut self, session: &mut Session, content: &Content, records: &[&Record]) {
        if self.wanted == Enrich::default() {
            return;
        }
        self.forget_changed(records);
        let mut asked = HashSet::new();
        let unknown: Vec<Reference> = records
            .iter()
            .filter_map(|record| record.entity())
            .filter(|entity| !self.is_fresh(entity) && asked.insert(entity.clone()))
            .collect();
        if unknown.is_empty() {
            return;
        }
        let deadline = Instant::now() + BUDGET;
        if self.inventory.is_open() {
            let read = timeout(BUDGET, self.read_nodes(session, content, &unknown)).await;
            match read.unwrap_or_else(|_| Err(format!("no answer within {} s", BUDGET.as_secs()))) {
                Ok(()) => self.inventory.worked(),
                Err(why) => self.inventory.failed("their place in the inventory", &why, REST),
            }
        }
        if self.tagging.is_open() {
            let left = deadline.saturating_duration_since(Instant::now());
            match timeout(left, self.read_tags(&unknown)).await {
                Ok(Ok(())) => self.tagging.worked(),
                Ok(Err(error)) => {
                    let rest = match error {
                        TagError::Refused => REST_AFTER_REFUSAL,
                        TagError::Ended | TagError::Failed(_) => REST,
                    };
                    self.tagging.failed("tags", &error.to_string(), rest);
                }
                Err(_) => self.tagging.failed("tags", "no answer in time", REST),
            }
        }
    }

    /// What is known of an object.
    pub(crate) fn around(&self, entity: &Reference) -> Option<Around> {
        let known = self.known.get(entity)?;
        let named =
            |(key, value): &(String, String)| Some((self.names.as_ref()?.get(key)?.clone(), value.clone()));
        let attributes = known.node.iter().flat_map(|n| &n.attributes).filter_map(named);
        let around = Around {
            path: self.wanted.path.then(|| self.path(entity)).flatten(),
            attributes: match self.wanted.attributes {
                true => attributes.collect(),
                false => BTreeMap::new(),
            },
            tags: known.tags.clone(),
        };
        (around != Around::default()).then_some(around)
    }

    /// Gives back what was made on the server.
    pub(crate) async fn close(&mut self) {
        if let Some(tags) = &mut self.tags {
            timeout(BUDGET, tags.close()).await.unwrap_or_default();
        }
    }

    fn forget_changed(&mut self, records: &[&Record]) {
        for record in records {
            let tagging = record
                .event_type_id
                .as_deref()
                .is_some_and(|id| id.starts_with(TAGGING));
            if !tagging && !CHANGES.contains(&record.class.as_str()) {
                continue;
            }
            if record.class == "CustomFieldValueChangedEvent" {
                self.names = None;
            }
            if let (true, Some(tags)) = (tagging, &mut self.tags) {
                tags.forget_names();
            }
            if let Some(known) = record.entity().and_then(|e| self.known.get_mut(&e)) {
                known.changed = true;
            }
        }
    }

    fn is_fresh(&self, entity: &Reference) -> bool {
        let known = self.known.get(entity);
        known.is_some_and(|known| !known.changed && known.read.elapsed() < FRESH)
    }

    /// The objects, and what they hang below, up to the root.
    async fn read_nodes(
        &mut self,
        session: &mut Session,
        content: &Content,
        unknown: &[Reference],
    ) -> Result<(), String> {
        if self.wanted.attributes && self.names.is_none() {
            let names = attribute_names(session, content)
                .await
                .map_err(|e| e.to_string())?;
            self.names = Some(names);
        }
        let mut level = unknown.to_vec();
        for _ in 0..MAX_DEPTH {
            let mut above = HashSet::new();
            for some in level.chunks(MAX_OBJECTS) {
                let mut read = nodes(session, content, some).await.map_err(|e| e.to_string())?;
                for object in some {
                    let node = read.remove(object);
                    above.extend(node.iter().filter_map(|n| n.parent.clone()));
                    self.remember(object, node);
                }
            }
            level = above
                .into_iter()
                .filter(|parent| !self.is_fresh(parent))
                .collect();
            if level.is_empty() || !self.wanted.path {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn read_tags(&mut self, unknown: &[Reference]) -> Result<(), TagError> {
        for some in unknown.chunks(MAX_OBJECTS) {
            let Some(reader) = &mut self.tags else {
                return Ok(());
            };
            let mut read = reader.tags_of(some).await?;
            for object in some {
                let tags = read.remove(object).unwrap_or_default();
                match self.known.get_mut(object) {
                    Some(known) => known.tags = tags,
                    None => self.remember_new(object, None, tags),
                }
            }
        }
        Ok(())
    }

    fn remember(&mut self, object: &Reference, node: Option<Node>) {
        match self.known.get_mut(object) {
            Some(known) => {
                (known.read, known.changed) = (Instant::now(), false);
                known.node = node.or(known.node.take());
            }
            None => self.remember_new(object, node, Tags::default()),
        }
    }

    fn remember_new(&mut self, object: &Reference, node: Option<Node>, tags: Tags) {
        let known = Known {
            node,
            tags,
            read: Instant::now(),
            changed: false,
        };
        self.known.insert(object.clone(), known);
        self.order.push_back(object.clone());
        if self.order.len() > MAX_KNOWN
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// From below the root down to the object; nothing when a part of it is not known.
    fn path(&self, entity: &Reference) -> Option<String> {
        let mut names = Vec::new();
        let mut next = Some(entity);
        while let Some(reference) = next {
            let node = self.known.get(reference)?.node.as_ref()?;
            next = node.parent.as_ref();
            if next.is_some() {
                names.push(node.name.as_str());
            }
            if names.len() > MAX_DEPTH {
                return None;
            }
        }
        names.reverse();
        Some(format!("/{}", names.join("/")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings(enrich: &[&str]) -> Surroundings {
        let entries: Vec<String> = enrich.iter().map(|e| (*e).to_owned()).collect();
        let address = crate::address::Address::parse("vc").unwrap();
        let trust = crate::config::Trust {
            roots: crate::config::Roots::Anybody,
            thumbprint: None,
        };
        let client = crate::client::Client::new(&address, &trust, "test").unwrap();
        let tags = TagReader::new(client.http(), &address, "u", "p".to_owned().into());
        Surroundings::new(Enrich::new(&entries).unwrap(), tags)
    }
    fn vm(n: usize) -> Reference {
        Reference::new("VirtualMachine", &format!("vm-{n}"))
    }
    fn node(name: &str, parent: Option<&Reference>) -> Option<Node> {
        Some(Node {
            name: name.to_owned(),
            parent: parent.cloned(),
            attributes: vec![("7".to_owned(), "team a".to_owned())],
        })
    }
    fn record(class: &str, vm: &str) -> Record {
        let text = format!(
            r#"<a><e xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:type="{class}">
               <vm><vm type="VirtualMachine">{vm}</vm></vm></e></a>"#
        );
        let root = crate::xml::parse(&text).unwrap();
        Record::new(root.children[0].clone(), &text)
    }

    #[tokio::test]
    async fn a_path_is_made_of_all_names_below_the_root_or_not_at_all() {
        let mut around = surroundings(&["path"]);
        let root = Reference::new("Folder", "group-d1");
        let dc = Reference::new("Datacenter", "datacenter-2");
        around.remember(&vm(1), node("web01", Some(&dc)));
        assert_eq!(around.around(&vm(1)), None, "the datacenter is not known");
        around.remember(&dc, node("DC0", Some(&root)));
        around.remember(&root, node("Datacenters", None));

        assert_eq!(around.around(&vm(1)).unwrap().path.as_deref(), Some("/DC0/web01"));
        assert_eq!(around.around(&vm(2)), None);
        around.remember(&vm(1), None);
        let still = around.around(&vm(1)).unwrap();
        assert_eq!(still.path.as_deref(), Some("/DC0/web01"), "although it is gone");
        let odd = Reference::new("Folder", "its-own-parent");
        around.remember(&odd, node("loop", Some(&odd)));
        assert_eq!(around.around(&odd), None);
    }

    #[tokio::test]
    async fn memory_is_bounded() {
        let mut around = surroundings(&["attributes"]);
        for n in 0..MAX_KNOWN + 10 {
            around.remember(&vm(n), node("vm", None));
        }
        assert_eq!((around.known.len(), around.order.len()), (MAX_KNOWN, MAX_KNOWN));
        assert!(!around.known.contains_key(&vm(9)) && around.known.contains_key(&vm(10)));
    }

    #[tokio::test]
    async fn what_an_event_changes_is_read_again() {
        let mut around = surroundings(&["attributes"]);
        around.names = Some(HashMap::from([("7".to_owned(), "owner".to_owned())]));
        around.remember(&vm(1), node("vm", None));
        around.remember(&vm(2), node("vm", None));
        let owner = BTreeMap::from([("owner".to_owned(), "team a".to_owned())]);
        assert_eq!(around.around(&vm(1)).unwrap().attributes, owner);

        around.forget_changed(&[
            &record("VmPoweredOnEvent", "vm-2"),
            &record("VmRenamedEvent", "vm-1"),
        ]);

        assert!(!around.is_fresh(&vm(1)) && around.is_fresh(&vm(2)));
        assert!(around.around(&vm(1)).is_some(), "until it is read again");
        around.remember(&vm(1), node("renamed", None));
        assert!(around.is_fresh(&vm(1)));
    }

    #[test]
    fn a_mistake_in_what_is_wanted_names_what_there_is() {
        let wrong = Enrich::new(&["path".to_owned(), "folder".to_owned()]).unwrap_err();
        assert_eq!(wrong, "\"folder\" is not one of path, attributes, tags");
    }
}
