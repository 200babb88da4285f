//! What is known in memory of every function: enough to call it without asking the store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dispatch_schemas::Function;
use tokio::sync::watch;
use tokio::time::timeout;
use uuid::Uuid;

use super::schema::Schemas;

/// Whether a function can be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// Not yet; worth waiting for.
    Building,
    /// This revision can.
    Ready(Uuid),
    /// Not until somebody changes it.
    Broken,
}

/// A function.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) id: Uuid,
    pub(super) organization: Arc<str>,
    pub(super) name: Arc<str>,
    /// Names of its secrets.
    pub(super) secrets: Vec<String>,
    /// Time of one call, if the function has a bound of its own.
    pub(super) timeout: Option<Duration>,
    /// What its payloads must look like.
    pub(super) schemas: Schemas,
    state: watch::Sender<State>,
}

impl Known {
    /// The revision to call; waits for one that is being built, at most `patience`.
    pub(super) async fn revision(&self, patience: Duration) -> Option<Uuid> {
        let mut state = self.state.subscribe();
        let settled = state.wait_for(|s| *s != State::Building);
        match timeout(patience, settled).await {
            Ok(Ok(state)) => match *state {
                State::Ready(revision) => Some(revision),
                State::Building | State::Broken => None,
            },
            _ => None,
        }
    }

    /// The revision that can be called now.
    pub(super) fn ready(&self) -> Option<Uuid> {
        match *self.state.borrow() {
            State::Ready(revision) => Some(revision),
            State::Building | State::Broken => None,
        }
    }

    /// Whether it can be called.
    pub(super) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    pub(super) fn set(&self, state: State) {
        self.state.send_replace(state);
    }
}

type Key = (Arc<str>, Arc<str>);

/// All functions, by organization and name.
#[derive(Debug, Default)]
pub(super) struct Registry {
    known: Mutex<HashMap<Key, Arc<Known>>>,
}

impl Registry {
    /// Takes in a function, or its new settings. One that is there keeps its state.
    pub(super) fn put(&self, organization: &str, function: &Function) -> Arc<Known> {
        let key = key(organization, &function.name);
        let schemas = Schemas::of(function);
        let mut all = self.all();
        let state = match all.get(&key).filter(|known| known.id == function.id) {
            Some(known) => known.state.clone(),
            None => watch::Sender::new(State::Building),
        };
        let known = Arc::new(Known {
            id: function.id,
            organization: Arc::clone(&key.0),
            name: Arc::clone(&key.1),
            secrets: function.secrets.clone(),
            timeout: u64::try_from(function.timeout)
                .ok()
                .filter(|ms| *ms > 0)
                .map(Duration::from_millis),
            schemas,
            state,
        });
        all.insert(key, Arc::clone(&known));
        known
    }

    pub(super) fn get(&self, organization: &str, name: &str) -> Option<Arc<Known>> {
        self.all().get(&key(organization, name)).cloned()
    }

    pub(super) fn remove(&self, organization: &str, name: &str) -> Option<Arc<Known>> {
        self.all().remove(&key(organization, name))
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Key, Arc<Known>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(organization: &str, name: &str) -> Key {
    (organization.into(), name.into())
}
