//! What an operator tells a driver: wait, go on, begin anew. And what a changed secret tells it.

use std::sync::Arc;

use dispatch_schemas::Driver;

use super::slot::Slot;
use super::{Detail, Drivers};
use crate::rest::error::ApiError;

impl Drivers {
    /// Stops the driver's process until [`Drivers::resume`], over restarts of the hub too; resolves when it has
    /// ended.
    pub(crate) async fn pause(&self, organization: &str, name: &str) -> Result<Driver, ApiError> {
        let paused = self.set_paused(organization, name, true).await?;
        self.replace(organization, &paused).await;
        Ok(self.shown(paused, Detail::Summary))
    }

    /// Lets a paused driver go on from its last checkpoint. One that runs stays as it is.
    pub(crate) async fn resume(&self, organization: &str, name: &str) -> Result<Driver, ApiError> {
        let before: Driver = self.0.store.get(organization, name).await?;
        if !before.paused {
            return Ok(self.shown(before, Detail::Summary));
        }
        let resumed = self.set_paused(organization, name, false).await?;
        self.replace(organization, &resumed).await;
        Ok(self.shown(resumed, Detail::Summary))
    }

    /// Ends the driver's process and starts it again, at once even if it was waiting after a failure.
    pub(crate) async fn restart(&self, organization: &str, name: &str) -> Result<Driver, ApiError> {
        let driver: Driver = self.0.store.get(organization, name).await?;
        if driver.paused {
            let problem = format!("event driver {name} is paused: resume it");
            return Err(ApiError::conflict(problem));
        }
        self.replace(organization, &driver).await;
        Ok(self.shown(driver, Detail::Summary))
    }

    /// The values of a secret are others now: starts those drivers again that have it.
    pub(crate) async fn secret_changed(&self, organization: &str, secret: &str) -> Result<(), ApiError> {
        let drivers: Vec<Driver> = self.0.store.list(organization).await?;
        let concerned = drivers
            .iter()
            .filter(|driver| !driver.paused && driver.secrets.iter().any(|name| name == secret));
        for driver in concerned {
            tracing::info!(
                driver = driver.name,
                organization,
                secret,
                "starts again with the changed secret"
            );
            self.put(organization, driver);
        }
        Ok(())
    }

    async fn set_paused(&self, organization: &str, name: &str, paused: bool) -> Result<Driver, ApiError> {
        let before: Driver = self.0.store.get(organization, name).await?;
        let changed = Driver { paused, ..before };
        Ok(self.0.store.update(organization, name, changed).await?)
    }

    /// A new life for the driver; resolves when the process of the old one has ended.
    async fn replace(&self, organization: &str, driver: &Driver) {
        let before: Option<Arc<Slot>> = self.slot(driver.id);
        self.put(organization, driver);
        if let Some(before) = before {
            before.ended.cancelled().await;
        }
    }
}
