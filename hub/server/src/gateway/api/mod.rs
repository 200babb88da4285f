//! APIs: routes of the gateway that turn a request into an event and the answer of a function into a response.
//!
//! An API is a thin overlay: `routes.rs` says which one a request is for, `auth` who may call, `payload.rs` and
//! `context.rs` what the function gets, `answer.rs` what its caller gets, `call.rs` what becomes of the call when
//! its caller goes away; the call itself is `functions/api.rs`, where
//! it becomes an event that can be subscribed to. Resources are kept in the store; the tables of routes are made anew
//! for each change and swapped, so a request is looked up in one table or the next, never in between.

mod answer;
mod auth;
mod call;
mod context;
mod cors;
mod payload;
mod rates;
mod routes;
mod serve;
mod served;
mod under_way;
mod urls;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use dispatch_schemas::{Api, Resource as _, Status};
use dispatch_store::{Store, StoreError};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use self::routes::{Conflict, Routes};
use self::served::Served;
use self::under_way::UnderWay;
use self::urls::Urls;
use super::DRIVERS;
use crate::hub::Foundation;
use crate::rest::error::ApiError;

pub(in crate::gateway) use self::serve::serve;

/// All APIs of the hub.
pub(crate) struct Apis {
    store: Store,
    urls: Urls,
    routes: ArcSwap<Routes>,
    /// All there are, also those that are not enabled. Held for every change, so that the table changes in the order
    /// of the store.
    all: Mutex<Vec<Arc<Served>>>,
    /// How many calls there may be at once.
    turns: Arc<Semaphore>,
    /// And how many there are, of each organization.
    under_way: UnderWay,
    /// Calls that somebody waits for; they end although nobody waits any more.
    calls: TaskTracker,
}

impl Apis {
    /// Those of the store. One that can no longer be served is logged and left out.
    pub(crate) async fn open(foundation: &Foundation) -> Result<Self, StoreError> {
        let mut all = Vec::new();
        for (organization, api) in foundation.store.list_all::<Api>().await? {
            let name = api.name.clone();
            match Served::new(organization.as_str().into(), api) {
                Ok(served) => all.push(Arc::new(served)),
                Err(problem) => {
                    tracing::error!(organization, name, problem, "a stored API is not understood")
                }
            }
        }
        let mut routes = Routes::default();
        for served in all.iter().filter(|served| served.api.enabled) {
            if let Err(conflict) = routes.add(served) {
                let organization = &served.organization;
                tracing::error!(%organization, name = %served.name, %conflict, "a stored API is not served");
            }
        }
        Ok(Self {
            store: foundation.store.clone(),
            urls: Urls::of(foundation),
            routes: ArcSwap::from_pointee(routes),
            all: Mutex::new(all),
            turns: Arc::new(Semaphore::new(foundation.config.limits.api_calls)),
            under_way: UnderWay::default(),
            calls: TaskTracker::new(),
        })
    }

    /// Makes an API; it is served when this returns.
    pub(crate) async fn create(&self, organization: &Arc<str>, api: Api) -> Result<Api, ApiError> {
        let api = checked(organization, api)?;
        let mut all = self.all.lock().await;
        table(&all, &served(organization, api.clone())?, None)?;
        let created = self.store.create(organization, &api).await?;
        self.put(&mut all, served(organization, created.clone())?, None)?;
        Ok(self.shown(organization, created))
    }

    /// Replaces an API. Requests that were taken before end as they began.
    pub(crate) async fn update(
        &self,
        organization: &Arc<str>,
        name: &str,
        api: Api,
    ) -> Result<Api, ApiError> {
        let named = Api {
            name: name.to_owned(),
            ..api
        };
        let api = checked(organization, named)?;
        let mut all = self.all.lock().await;
        let before: Api = self.store.get(organization, name).await?;
        table(&all, &served(organization, api.clone())?, Some(&before))?;
        let updated = self.store.update(organization, name, api).await?;
        self.put(&mut all, served(organization, updated.clone())?, Some(&before))?;
        Ok(self.shown(organization, updated))
    }

    /// Removes an API.
    pub(crate) async fn delete(&self, organization: &Arc<str>, name: &str) -> Result<Api, ApiError> {
        let mut all = self.all.lock().await;
        let mut deleted: Api = self.store.delete(organization, name).await?;
        all.retain(|served| served.api.id != deleted.id);
        self.routes.store(Arc::new(table_of(all.iter())?));
        deleted.status = Some(Status::Deleting);
        Ok(self.shown(organization, deleted))
    }

    /// As people see it: with its full addresses.
    pub(crate) fn shown(&self, organization: &str, api: Api) -> Api {
        Api {
            urls: self.urls.of_api(organization, &api),
            ..api
        }
    }

    /// Waits for calls that are under way; for use when no new ones come.
    pub(crate) async fn drain(&self, within: Duration) {
        self.calls.close();
        if timeout(within, self.calls.wait()).await.is_err() {
            tracing::warn!(calls = self.calls.len(), "calls through APIs are cut off");
        }
    }

    fn put(
        &self,
        all: &mut Vec<Arc<Served>>,
        served: Arc<Served>,
        before: Option<&Api>,
    ) -> Result<(), ApiError> {
        let routes = table(all, &served, before)?;
        if let Some(before) = before {
            all.retain(|served| served.api.id != before.id);
        }
        all.push(served);
        self.routes.store(Arc::new(routes));
        Ok(())
    }
}

/// The table with this one in place of what it was before.
fn table(all: &[Arc<Served>], new: &Arc<Served>, before: Option<&Api>) -> Result<Routes, ApiError> {
    let others = all
        .iter()
        .filter(|served| before.is_none_or(|before| served.api.id != before.id));
    table_of(others.chain([new]))
}

fn table_of<'a>(all: impl Iterator<Item = &'a Arc<Served>>) -> Result<Routes, ApiError> {
    let mut routes = Routes::default();
    for served in all.filter(|served| served.api.enabled) {
        routes
            .add(served)
            .map_err(|conflict: Conflict| ApiError::conflict(conflict.to_string()))?;
    }
    Ok(routes)
}

fn served(organization: &Arc<str>, api: Api) -> Result<Arc<Served>, ApiError> {
    let served = Served::new(organization.clone(), api).map_err(ApiError::bad_request)?;
    Ok(Arc::new(served))
}

/// What the resource can say of itself, and what only the gateway knows.
fn checked(organization: &str, api: Api) -> Result<Api, ApiError> {
    api.check()?;
    let mut api = api.normalised();
    api.status = Some(Status::Ready);
    let drivers = DRIVERS.trim_start_matches('/');
    let first = |uri: &String| uri.split('/').nth(1) == Some(drivers);
    let taken = match api.hosts.is_empty() {
        true => organization == drivers,
        false => api.uris.iter().any(first),
    };
    match taken {
        true => Err(ApiError::bad_request(format!(
            "uris: what is below {DRIVERS} are drivers that listen"
        ))),
        false => Ok(api),
    }
}
