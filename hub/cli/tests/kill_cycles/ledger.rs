//! What the journal says, read by `dispatch journal dump` while the hub is dead: events, and what is settled.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::hooks::{Id, id};

#[derive(Deserialize)]
struct Line {
    sequence: u64,
    kind: String,
    event: Option<EventLine>,
    about: serde_json::Value,
}

#[derive(Deserialize)]
struct EventLine {
    id: String,
    #[serde(rename = "type")]
    ty: String,
}

/// Accounts of a journal.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Events of the test.
    pub(crate) events: BTreeSet<Id>,
    /// Of each subscription: what is settled.
    pub(crate) settled: BTreeMap<String, Settled>,
}

/// What is settled for one subscription.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// Delivered.
    pub(crate) delivered: BTreeSet<Id>,
    /// Given up.
    pub(crate) dead: BTreeSet<Id>,
}

impl Settled {
    /// Whether it is one or the other.
    pub(crate) fn has(&self, id: &Id) -> bool {
        self.delivered.contains(id) || self.dead.contains(id)
    }
}

impl Ledger {
    /// Reads all of it. `names` are the subscriptions by their ids. Anything settled twice is an error.
    pub(crate) fn read(binary: &str, data: &Path, names: &HashMap<String, String>) -> Result<Self> {
        let mut dump = Command::new(binary)
            .args(["journal", "dump", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut ledger = Self::default();
        let mut ids = HashMap::new();
        let lines = BufReader::new(dump.stdout.take().context("no output")?).lines();
        for line in lines {
            let line = line?;
            if line.contains("\"kind\":\"through\"") {
                continue;
            }
            let line: Line = serde_json::from_str(&line)?;
            match (line.kind.as_str(), line.event) {
                ("event", Some(event)) if event.ty == "test.happened" => {
                    let id = id(&event.id)?;
                    ensure!(ledger.events.insert(id), "{id:?} is in the journal twice");
                    ids.insert(line.sequence, id);
                }
                ("settlement", _) => {
                    let text = |name: &str| line.about[name].as_str().unwrap_or_default();
                    let name = names.get(text("subscription")).context("settled for nobody")?;
                    let of = line.about["event"].as_u64().unwrap_or_default();
                    let id = *ids.get(&of).context("settled before it was written")?;
                    let settled = ledger.settled.entry(name.clone()).or_default();
                    ensure!(!settled.has(&id), "{id:?} is settled twice for {name}");
                    match text("settled") {
                        "delivered" => settled.delivered.insert(id),
                        _ => settled.dead.insert(id),
                    };
                }
                _ => {}
            }
        }
        ensure!(dump.wait()?.success(), "the journal cannot be read");
        Ok(ledger)
    }
}
