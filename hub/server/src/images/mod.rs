//! Base images and images: a runtime found on this machine plus its installed dependencies.
//!
//! A base image is READY when the functions' engine finds its language here. An image waits for its base image,
//! then installs its manifest into a folder named by its content, and is READY; its `dockerUrl` says where. Whatever
//! fails is ERROR with one reason that names what is missing. Work goes on in background tasks, two installations
//! at a time; what a restart finds unfinished, failed or gone is done again. Read `building.rs` for how an image is
//! built, `sweep.rs` for when a folder goes again.

mod building;
pub(crate) mod builds;
mod sweep;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dispatch_contract::Faas;
use dispatch_schemas::{BaseImage, Image, Resource, Status};
use dispatch_sink_process::Installer;
use dispatch_store::{Store, StoreError};
use tokio::sync::{OwnedRwLockReadGuard, RwLock, Semaphore, watch};
use tokio::time::timeout;
use uuid::Uuid;

use self::builds::Builds;
use crate::hub::{App, Foundation};
use crate::rest::error::ApiError;

/// Installations at once.
const INSTALLATIONS: usize = 2;
/// How long anything waits for an image or base image to be finished.
const PATIENCE: Duration = Duration::from_secs(30 * 60);
const FOLDER_SCHEME: &str = "file://";

/// All images of the hub. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Images(Arc<Inner>);

struct Inner {
    store: Store,
    installer: Installer,
    engine: OnceLock<Arc<dyn Faas>>,
    /// Of the builds' logs.
    logs: PathBuf,
    permits: Semaphore,
    /// Held by whoever installs packages or takes them into use, until everybody can see that.
    in_use: Arc<RwLock<()>>,
    /// Counts changes of any status, for those who wait for one.
    changes: watch::Sender<u64>,
    builds: Builds,
}

/// What a function needs of its image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prepared {
    /// The image's language.
    pub(crate) language: String,
    /// Folder of installed dependencies.
    pub(crate) dependencies: Option<PathBuf>,
    /// The image's `dockerUrl`.
    pub(crate) url: String,
}

impl Images {
    /// Made before the router starts. Fails when the folder of dependencies cannot be used.
    pub(crate) fn new(foundation: &Foundation) -> std::io::Result<Self> {
        let builds = Builds::new(foundation.shutdown.clone(), foundation.tasks.clone());
        Self::open(
            foundation.store.clone(),
            foundation.config.data.join("images"),
            builds,
        )
    }

    pub(crate) fn open(store: Store, folder: PathBuf, builds: Builds) -> std::io::Result<Self> {
        let logs = folder.join("logs");
        std::fs::create_dir_all(&logs)?;
        Ok(Self(Arc::new(Inner {
            store,
            installer: Installer::open(&folder)?,
            logs,
            in_use: Arc::default(),
            engine: OnceLock::new(),
            permits: Semaphore::new(INSTALLATIONS),
            changes: watch::Sender::new(0),
            builds,
        })))
    }

    /// Called once when everything is wired, before the first request is taken.
    pub(crate) async fn start(app: &App) {
        app.images.wire(app.functions.engine()).await;
    }

    /// Looks at every image again and does what is left to do.
    pub(crate) async fn wire(&self, engine: Arc<dyn Faas>) {
        if self.0.engine.set(engine).is_err() {
            return;
        }
        let bases = self.0.store.list_all::<BaseImage>().await;
        for (organization, base) in recovered(bases) {
            self.check_in_background(&organization, &base);
        }
        let images = self.0.store.list_all::<Image>().await;
        for (organization, image) in recovered(images) {
            let there = folder_of(&image).is_none_or(|folder| folder.exists());
            if image.status != Some(Status::Ready) || !there {
                self.build_in_background(&organization, &image);
            }
        }
    }

    /// Called once when the hub stops: the tasks end with the hub's shutdown.
    pub(crate) async fn stop(&self) {}

    /// Keeps a new base image and looks for its runtime.
    pub(crate) async fn create_base(
        &self,
        organization: &str,
        mut base: BaseImage,
    ) -> Result<BaseImage, ApiError> {
        base.check()?;
        base.status = Some(Status::Initialized);
        base.reason = None;
        let base = self.0.store.create(organization, &base).await?;
        self.check_in_background(organization, &base);
        Ok(base)
    }

    /// Changes a base image and looks for its runtime again.
    pub(crate) async fn update_base(
        &self,
        organization: &str,
        name: &str,
        mut base: BaseImage,
    ) -> Result<BaseImage, ApiError> {
        base.check()?;
        base.status = Some(Status::Updating);
        base.reason = None;
        let base = self.0.store.update(organization, name, base).await?;
        self.check_in_background(organization, &base);
        Ok(base)
    }

    /// Forgets a base image. Images made from it stay as they are.
    pub(crate) async fn delete_base(&self, organization: &str, name: &str) -> Result<BaseImage, ApiError> {
        let mut base = self.0.store.delete::<BaseImage>(organization, name).await?;
        self.0.builds.cancel(base.id);
        self.changed();
        base.status = Some(Status::Deleting);
        Ok(base)
    }

    /// Keeps a new image and builds it.
    pub(crate) async fn create(&self, organization: &str, mut image: Image) -> Result<Image, ApiError> {
        image.check()?;
        image.language = Some(self.base_of(organization, &image).await?.language);
        image.status = Some(Status::Initialized);
        (image.docker_url, image.reason) = (None, None);
        let image = self.0.store.create(organization, &image).await?;
        self.build_in_background(organization, &image);
        Ok(image)
    }

    /// Changes an image and builds it again. Functions get the result when they are built or the hub starts.
    pub(crate) async fn update(
        &self,
        organization: &str,
        name: &str,
        mut image: Image,
    ) -> Result<Image, ApiError> {
        image.check()?;
        // An image that is not there is told before a base image that is not there.
        self.0.store.get::<Image>(organization, name).await?;
        image.language = Some(self.base_of(organization, &image).await?.language);
        image.status = Some(Status::Updating);
        (image.docker_url, image.reason) = (None, None);
        let image = self.0.store.update(organization, name, image).await?;
        self.build_in_background(organization, &image);
        Ok(image)
    }

    /// Forgets an image. Functions that run stay as they are.
    pub(crate) async fn delete(&self, organization: &str, name: &str) -> Result<Image, ApiError> {
        let mut image = self.0.store.delete::<Image>(organization, name).await?;
        self.0.builds.cancel(image.id);
        self.changed();
        self.sweep_in_background();
        image.status = Some(Status::Deleting);
        Ok(image)
    }

    /// What the tools said in an image's last build, also while it goes on.
    pub(crate) async fn log(&self, organization: &str, name: &str) -> Result<Vec<String>, ApiError> {
        let image = self.0.store.get::<Image>(organization, name).await?;
        match tokio::fs::read(self.log_of(image.id)).await {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes)
                .lines()
                .map(str::to_owned)
                .collect()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => {
                tracing::error!(image = name, %error, "the log of an image cannot be read");
                Err(ApiError::internal("the log cannot be read"))
            }
        }
    }

    /// Keeps every folder of packages where it is for as long as this lives.
    pub(crate) async fn keep(&self) -> OwnedRwLockReadGuard<()> {
        Arc::clone(&self.0.in_use).read_owned().await
    }

    /// Waits until the image is finished. `Err` is the reason for the function that wants it.
    pub(crate) async fn prepared(&self, organization: &str, name: &str) -> Result<Prepared, String> {
        let waiting = async {
            let mut changes = self.0.changes.subscribe();
            loop {
                let image = self.0.store.get::<Image>(organization, name).await;
                let image = image.map_err(|e| e.to_string())?;
                match image.status {
                    Some(Status::Ready) => return prepared(image),
                    Some(Status::Error) => return Err(in_error("image", name, image.reason)),
                    _ => changes.changed().await.map_err(|e| e.to_string())?,
                }
            }
        };
        let late = || {
            Err(format!(
                "image {name} is not READY after {} s",
                PATIENCE.as_secs()
            ))
        };
        timeout(PATIENCE, waiting).await.unwrap_or_else(|_| late())
    }

    async fn base_of(&self, organization: &str, image: &Image) -> Result<BaseImage, ApiError> {
        let name = &image.base_image_name;
        match self.0.store.get::<BaseImage>(organization, name).await {
            Err(StoreError::NotFound { .. }) => {
                Err(ApiError::bad_request(format!("Error fetching base image {name}")))
            }
            found => Ok(found?),
        }
    }

    fn log_of(&self, image: Uuid) -> PathBuf {
        self.0.logs.join(format!("{image}.log"))
    }

    fn changed(&self) {
        self.0.changes.send_modify(|n| *n += 1);
    }
}

fn prepared(image: Image) -> Result<Prepared, String> {
    let dependencies = folder_of(&image);
    if let Some(folder) = dependencies.as_ref().filter(|f| !f.exists()) {
        let name = image.name;
        return Err(format!(
            "image {name}: {} is gone: update the image",
            folder.display()
        ));
    }
    Ok(Prepared {
        language: image.language.unwrap_or_default(),
        dependencies,
        url: image.docker_url.unwrap_or_default(),
    })
}

fn folder_of(image: &Image) -> Option<PathBuf> {
    let url = image.docker_url.as_deref()?;
    url.strip_prefix(FOLDER_SCHEME).map(PathBuf::from)
}

fn in_error(noun: &str, name: &str, reason: Option<Vec<String>>) -> String {
    format!(
        "{noun} {name} is in ERROR: {}",
        reason.unwrap_or_default().join("; ")
    )
}

fn recovered<R>(listed: Result<Vec<(String, R)>, StoreError>) -> Vec<(String, R)> {
    listed.unwrap_or_else(|error| {
        tracing::error!(%error, "images cannot be looked at: what was unfinished stays so");
        Vec::new()
    })
}
