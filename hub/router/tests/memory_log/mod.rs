//! A log in memory for the router's tests: all of the contract, none of the disk, and it fails when told to.
#![allow(clippy::unwrap_used, dead_code)] // test code; each test file uses its own part

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use dispatch_contract::{
    AppendError, Appended, Committed, Entry, Event, Group, Log, NewEvent, Page, Placed, Progress, ReadError,
    Record, Sequence, Settlement, SubscriptionId, Tail,
};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

pub(crate) struct MemoryLog {
    state: Arc<Mutex<State>>,
    head: watch::Sender<Sequence>,
}

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    known: HashMap<(Arc<str>, String, String), Sequence>,
    note_errors: Vec<AppendError>,
}

impl MemoryLog {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Arc::default(),
            head: watch::Sender::new(0),
        })
    }

    /// The next calls of `note` fail like this, the last first.
    pub(crate) fn fail_notes(&self, errors: Vec<AppendError>) {
        self.state.lock().unwrap().note_errors = errors;
    }

    pub(crate) fn append_now(&self, group: Group) -> Appended {
        let mut state = self.state.lock().unwrap();
        let mut placed = Vec::new();
        for NewEvent {
            organization,
            event,
            target,
        } in group.events
        {
            let identity = (
                organization.clone(),
                event.source().to_owned(),
                event.id().to_owned(),
            );
            let sequence = state.entries.len() as Sequence + 1;
            if target.is_none() {
                if let Some(known) = state.known.get(&identity) {
                    placed.push(Placed::Duplicate(*known));
                    continue;
                }
                state.known.insert(identity, sequence);
            }
            placed.push(Placed::New(sequence));
            state.push(Record::Event(Committed {
                organization,
                target,
                arrival: sequence as i64,
                event,
            }));
        }
        for settlement in group.settlements {
            state.push(Record::Settlement(settlement));
        }
        for through in group.through {
            state.push(Record::Through(through));
        }
        self.head.send_replace(state.entries.len() as Sequence);
        Appended { placed }
    }

    /// Loses everything after `last`, as a crash may for what was only noted.
    pub(crate) fn lose_after(&self, last: Sequence) {
        let mut state = self.state.lock().unwrap();
        state.entries.truncate(last as usize);
        state.known.retain(|_, sequence| *sequence <= last);
        self.head.send_replace(state.entries.len() as Sequence);
    }

    pub(crate) fn append_event(&self, organization: &str, event: Event) -> Sequence {
        self.append_to(organization, event, None)
    }

    pub(crate) fn append_to(
        &self,
        organization: &str,
        event: Event,
        target: Option<SubscriptionId>,
    ) -> Sequence {
        let group = Group {
            events: vec![NewEvent {
                organization: organization.into(),
                event,
                target,
            }],
            ..Group::default()
        };
        match self.append_now(group).placed[0] {
            Placed::New(sequence) | Placed::Duplicate(sequence) => sequence,
        }
    }

    /// At most `most` records.
    pub(crate) fn page(&self, from: Sequence, most: usize) -> Page {
        self.state.lock().unwrap().page(from, most)
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.state.lock().unwrap().entries.clone()
    }

    pub(crate) fn settlements(&self, id: SubscriptionId) -> Vec<Settlement> {
        let all = self.entries().into_iter().filter_map(|entry| match entry.record {
            Record::Settlement(settlement) if settlement.subscription == id => Some(settlement),
            _ => None,
        });
        all.collect()
    }

    pub(crate) fn events(&self) -> Vec<(Sequence, Committed)> {
        let all = self.entries().into_iter().filter_map(|entry| match entry.record {
            Record::Event(committed) => Some((entry.sequence, committed)),
            _ => None,
        });
        all.collect()
    }

    /// What a log says after a restart. A subscription without marks starts at `created`.
    pub(crate) fn progress(&self, id: SubscriptionId, created: Sequence) -> Progress {
        let mut progress = Progress {
            through: created,
            ..Progress::default()
        };
        for entry in self.entries() {
            match entry.record {
                Record::Through(mark) if mark.subscription == id => progress.advance(&mark),
                Record::Settlement(settlement) if settlement.subscription == id => {
                    progress.settle(settlement.event);
                }
                _ => {}
            }
        }
        progress
    }
}

struct MemoryTail {
    head: watch::Receiver<Sequence>,
    state: Arc<Mutex<State>>,
    next: Sequence,
}

impl Tail for MemoryTail {
    fn next(&mut self) -> BoxFuture<'_, Option<Arc<Page>>> {
        async move {
            let from = self.next;
            self.head.wait_for(|head| *head >= from).await.ok()?;
            let page = self.state.lock().unwrap().page(from, 100);
            self.next = page.next;
            Some(Arc::new(page))
        }
        .boxed()
    }
}

impl State {
    fn page(&self, from: Sequence, most: usize) -> Page {
        let skip = from.saturating_sub(1) as usize;
        let entries: Vec<Entry> = self.entries.iter().skip(skip).take(most).cloned().collect();
        let next = from + entries.len() as Sequence;
        Page { entries, next }
    }

    fn push(&mut self, record: Record) {
        let sequence = self.entries.len() as Sequence + 1;
        self.entries.push(Entry { sequence, record });
    }
}

impl Log for MemoryLog {
    fn append(&self, group: Group) -> BoxFuture<'_, Result<Appended, AppendError>> {
        async move { Ok(self.append_now(group)) }.boxed()
    }

    fn note(&self, group: Group) -> BoxFuture<'_, Result<(), AppendError>> {
        async move {
            if let Some(error) = self.state.lock().unwrap().note_errors.pop() {
                return Err(error);
            }
            self.append_now(group);
            Ok(())
        }
        .boxed()
    }

    fn read(&self, from: Sequence, max_bytes: usize) -> BoxFuture<'_, Result<Page, ReadError>> {
        async move {
            tokio::task::yield_now().await;
            Ok(self.page(from, (max_bytes / 256).max(1)))
        }
        .boxed()
    }

    fn tail(&self, from: Sequence) -> Box<dyn Tail> {
        Box::new(MemoryTail {
            head: self.head.subscribe(),
            state: self.state.clone(),
            next: from,
        })
    }

    fn head(&self) -> Sequence {
        *self.head.borrow()
    }
}
