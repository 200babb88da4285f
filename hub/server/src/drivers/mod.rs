//! Driver processes: found by name, started, restarted with backoff, stopped.
//!
//! [`Drivers`] knows every driver of the store that should run, as a [`Slot`]: one task each owns its process. A
//! change of a driver is a new slot that waits for the old one's end, so there are never two processes of one
//! driver. The hub itself has no driver code: what it starts are executables (`program.rs`), with settings as
//! arguments and a token of their own (`launch.rs`). Where a driver listens is in `address.rs`. Read `supervise.rs` next.

mod address;
mod asked;
mod commands;
mod launch;
mod leftovers;
mod lines;
mod preview;
mod process;
mod program;
mod record;
mod slot;
mod supervise;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dispatch_schemas::{Driver, Resource as _, Status};
use dispatch_store::Store;
use futures_util::future::join_all;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::hub::{App, Foundation};
use crate::rest::error::ApiError;
use address::Addresses;
pub(crate) use address::{WrongAddress, reachable};
use process::Caps;
use program::Places;
use record::Record;
use slot::Slot;
use supervise::TypeError;

/// How long a driver may take to stop when it is deleted or changed.
const GRACE: Duration = Duration::from_secs(5);
/// How long when the hub itself stops.
const SHORT_GRACE: Duration = Duration::from_secs(1);
/// Requests that are passed on to drivers at once, over all drivers.
const MOST_PASSING: usize = 256;
/// Log lines shown with a driver that does not work.
const SHOWN_LINES: usize = 10;

/// All drivers of the hub. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Drivers(Arc<Shared>);

/// Whose token a driver presented.
#[derive(Debug, Clone)]
pub(crate) struct DriverIdentity {
    /// Organization of the driver: what it emits belongs there.
    pub(crate) organization: Arc<str>,
    /// Id of the driver.
    pub(crate) id: Uuid,
    /// Name of the driver.
    pub(crate) name: Arc<str>,
}

struct Shared {
    store: Store,
    addresses: Addresses,
    caps: Caps,
    /// Requests that are passed on to drivers.
    passing: Arc<Semaphore>,
    places: Places,
    /// Marks the processes of this hub: its data folder.
    supervisor: String,
    tasks: TaskTracker,
    slots: Mutex<HashMap<Uuid, Arc<Slot>>>,
    stopping: AtomicBool,
}

/// How a driver wants to be told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// One line of why it does not work.
    Summary,
    /// The same and its last log lines.
    Lines,
}

impl Drivers {
    /// Made before the router starts.
    pub(crate) fn new(foundation: &Foundation) -> Self {
        let config = &foundation.config;
        Self::with(
            foundation.store.clone(),
            Addresses::of(foundation),
            Caps {
                memory: config.limits.driver_memory,
                files: config.limits.driver_files,
            },
            Places::of_this_process(config.plugins.as_deref()),
            &config.data,
            foundation.tasks.clone(),
        )
    }

    fn with(
        store: Store,
        addresses: Addresses,
        caps: Caps,
        places: Places,
        data: &Path,
        tasks: TaskTracker,
    ) -> Self {
        let data = data.canonicalize().unwrap_or_else(|_| data.to_owned());
        Self(Arc::new(Shared {
            store,
            addresses,
            caps,
            passing: Arc::new(Semaphore::new(MOST_PASSING)),
            places,
            supervisor: data.display().to_string(),
            tasks,
            slots: Mutex::default(),
            stopping: AtomicBool::new(false),
        }))
    }

    /// Called once when requests are taken: starts every driver of the store.
    pub(crate) async fn start(app: &App) {
        app.drivers.start_all().await;
    }

    async fn start_all(&self) {
        let supervisor = self.0.supervisor.clone();
        match tokio::task::spawn_blocking(move || leftovers::kill(&supervisor)).await {
            Ok(0) => {}
            Ok(killed) => tracing::warn!(killed, "driver processes of an earlier life were still running"),
            Err(error) => tracing::error!(%error, "cannot look for driver processes of an earlier life"),
        }
        match self.0.store.list_all::<Driver>().await {
            Ok(all) => all
                .iter()
                .for_each(|(organization, driver)| self.put(organization, driver)),
            Err(error) => tracing::error!(%error, "cannot start the drivers"),
        }
    }

    /// Stops every process and waits for it, not much longer than a second.
    pub(crate) async fn stop(&self) {
        self.0.stopping.store(true, Ordering::SeqCst);
        let slots: Vec<Arc<Slot>> = self.slots().drain().map(|(_, slot)| slot).collect();
        join_all(slots.iter().map(|slot| slot.end())).await;
    }

    /// The driver this token belongs to.
    pub(crate) fn by_token(&self, token: &str) -> Option<DriverIdentity> {
        let slots = self.slots();
        let found = slots.values().find(|slot| slot.admits(token));
        found.map(|slot| slot.identity.clone())
    }

    /// The driver with this id.
    pub(crate) fn by_id(&self, id: Uuid) -> Option<DriverIdentity> {
        Some(self.slot(id)?.identity.clone())
    }

    /// Whether this is the token of that driver.
    pub(crate) fn admits(&self, id: Uuid, token: &str) -> bool {
        self.slot(id).is_some_and(|slot| slot.admits(token))
    }

    /// The driver spoke to the hub: it runs.
    pub(crate) fn contacted(&self, id: Uuid) {
        if let Some(slot) = self.slot(id) {
            slot.contact.notify_one();
        }
    }

    /// Events of the driver are durable, and perhaps a checkpoint.
    pub(crate) fn emitted(&self, id: Uuid, events: Option<Option<Duration>>, checkpoint: bool) {
        if let Some(slot) = self.slot(id) {
            if let Some(lag) = events {
                slot.record.emitted(lag);
            }
            if checkpoint {
                slot.record.checkpointed();
            }
            slot.contact.notify_one();
        }
    }

    /// The driver says how it is: `None` is well.
    pub(crate) fn reported(&self, id: Uuid, problem: Option<&str>) {
        if let Some(slot) = self.slot(id) {
            slot.reports(problem);
        }
    }

    /// The driver says where it listens.
    pub(crate) fn listens_at(&self, id: Uuid, said: &str) -> Result<(), WrongAddress> {
        let address = self.0.addresses.of_driver(said)?;
        if let Some(slot) = self.slot(id) {
            slot.listens(address);
        }
        Ok(())
    }

    /// Where the driver of this name listens, if it does; `None`: there is no such driver.
    pub(crate) fn listens(&self, organization: &str, name: &str) -> Option<Option<SocketAddr>> {
        let slots = self.slots();
        let slot = slots
            .values()
            .find(|slot| *slot.identity.organization == *organization && *slot.identity.name == *name)?;
        Some(slot.state().listen)
    }

    /// A turn to pass a request on to a driver; `None` when too many are under way.
    pub(crate) fn passing(&self) -> Option<OwnedSemaphorePermit> {
        self.0.passing.clone().try_acquire_owned().ok()
    }

    /// Keeps a new driver and starts it. A schedule comes back with its next ticks.
    pub(crate) async fn create(&self, organization: &str, driver: Driver) -> Result<Driver, ApiError> {
        let (driver, ticks) = self.checked(organization, driver).await?;
        let created = self.0.store.create(organization, &driver).await?;
        let shown = self.shown(created.clone(), Detail::Summary);
        self.put(organization, &created);
        Ok(Driver {
            next_ticks: ticks,
            ..shown
        })
    }

    /// Replaces a driver: its process ends and starts with the new settings.
    pub(crate) async fn update(
        &self,
        organization: &str,
        name: &str,
        driver: Driver,
    ) -> Result<Driver, ApiError> {
        let (driver, ticks) = self.checked(organization, driver).await?;
        let before: Driver = self.0.store.get(organization, name).await?;
        let driver = Driver {
            paused: before.paused,
            ..driver
        };
        let updated = self.0.store.update(organization, name, driver).await?;
        self.put(organization, &updated);
        let shown = self.shown(updated, Detail::Summary);
        Ok(Driver {
            next_ticks: ticks,
            ..shown
        })
    }

    /// Forgets a driver; resolves when its process has ended.
    pub(crate) async fn delete(&self, organization: &str, name: &str) -> Result<Driver, ApiError> {
        let deleted: Driver = self.0.store.delete(organization, name).await?;
        let slot = self.slots().remove(&deleted.id);
        if let Some(slot) = slot {
            slot.end().await;
        }
        Ok(Driver {
            status: Some(Status::Deleting),
            ..deleted
        })
    }

    /// Checks what can be known before the program runs. The type must be there: registered, or an executable of
    /// that name. That a registered type's program is missing is no mistake of this driver: it will be in ERROR.
    async fn checked(
        &self,
        organization: &str,
        driver: Driver,
    ) -> Result<(Driver, Option<Vec<String>>), ApiError> {
        driver.check()?;
        let refused = |problem: String| {
            let name = &driver.name;
            ApiError::bad_request(format!(
                "bad request when processing event driver {name}: {problem}"
            ))
        };
        let ticks = match self.0.kind(organization, &driver.ty).await {
            Ok(kind) => preview::next_ticks(&kind, &driver).await.map_err(refused)?,
            Err(TypeError::Program(_)) => None,
            Err(TypeError::Store(error)) => return Err(error.into()),
            Err(error @ TypeError::NoType(_)) => return Err(refused(error.to_string())),
        };
        let stored = Driver {
            status: None,
            reason: None,
            next_ticks: None,
            url: None,
            expose: false,
            paused: false,
            supervision: None,
            ..driver
        };
        Ok((stored, ticks))
    }

    /// Starts a driver of the store, or starts it again because it changed.
    fn put(&self, organization: &str, driver: &Driver) {
        let identity = DriverIdentity {
            organization: organization.into(),
            id: driver.id,
            name: driver.name.as_str().into(),
        };
        let mut slots = self.slots();
        let record: Option<Arc<Record>> = slots.get(&driver.id).map(|before| before.record.clone());
        let slot = Arc::new(Slot::new(identity, record.unwrap_or_default()));
        if self.0.stopping.load(Ordering::SeqCst) {
            return;
        }
        let before = slots.insert(driver.id, slot.clone());
        let shared = self.0.clone();
        self.0.tasks.spawn(async move {
            if let Some(before) = before {
                before.end().await;
            }
            supervise::supervise(shared, slot).await;
        });
    }

    /// A stored driver with how it is now.
    pub(crate) fn shown(&self, mut driver: Driver, detail: Detail) -> Driver {
        let Some(slot) = self.slot(driver.id) else {
            driver.status = Some(Status::Creating);
            return driver;
        };
        let state = slot.state();
        driver.status = Some(state.status);
        driver.expose = state.exposed;
        driver.url = state.listen.map(|_| self.0.addresses.public(&slot.identity));
        let lines = match detail {
            Detail::Summary => Vec::new(),
            Detail::Lines => slot.lines.last(SHOWN_LINES),
        };
        driver.supervision = Some(slot.record.shown(lines.clone()));
        driver.reason = state
            .reason
            .map(|reason| std::iter::once(reason).chain(lines).collect());
        driver
    }

    fn slot(&self, id: Uuid) -> Option<Arc<Slot>> {
        self.slots().get(&id).cloned()
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Slot>>> {
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn grace(&self) -> Duration {
        match self.stopping.load(Ordering::SeqCst) {
            true => SHORT_GRACE,
            false => GRACE,
        }
    }
}

#[cfg(test)]
mod tests;
