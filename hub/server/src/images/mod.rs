//! Base images and images: a runtime found on this machine plus its installed dependencies.
//!
//! A base image is READY when the functions' engine finds its language here. An image waits for its base image,
//! then installs its manifest into a folder named by its content, and is READY; its `dockerUrl` says where. Whatever
//! fails is ERROR with one reason that names what is missing. Work goes on in background tasks, two installations
//! at a time; what a restart finds unfinished, failed or gone is done again.

pub(crate) mod builds;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dispatch_contract::{Faas, Runtime, RuntimeState};
use dispatch_schemas::{BaseImage, Image, Resource, Status};
use dispatch_sink_process::Installer;
use dispatch_store::{Store, StoreError};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

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
    permits: Semaphore,
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
        Ok(Self(Arc::new(Inner {
            store,
            installer: Installer::open(folder)?,
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
        image.status = Some(Status::Deleting);
        Ok(image)
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

    fn check_in_background(&self, organization: &str, base: &BaseImage) {
        let (images, organization) = (self.clone(), organization.to_owned());
        let (id, name, language) = (base.id, base.name.clone(), base.language.clone());
        self.0.builds.start(id, async move {
            let (status, reason) = match images.runtime(&language).await.state {
                RuntimeState::Ready { .. } => (Status::Ready, None),
                RuntimeState::Missing { reason } => (Status::Error, Some(vec![reason])),
            };
            let still = move |base: &mut BaseImage| {
                let same = base.id == id && base.language == language;
                let new = base.status != Some(status) || base.reason != reason;
                if same && new {
                    (base.status, base.reason) = (Some(status), reason);
                }
                same && new
            };
            written(images.0.store.modify_if(&organization, &name, still).await);
            images.changed();
        });
    }

    async fn runtime(&self, language: &str) -> Runtime {
        match self.0.engine.get() {
            Some(engine) => engine.runtime(language).await,
            None => Runtime {
                language: language.to_owned(),
                state: RuntimeState::Missing {
                    reason: "the hub is starting".to_owned(),
                },
            },
        }
    }

    fn build_in_background(&self, organization: &str, image: &Image) {
        let (images, organization, image) = (self.clone(), organization.to_owned(), image.clone());
        self.0.builds.start(image.id, async move {
            let (id, name) = (image.id, image.name.clone());
            let built = timeout(PATIENCE, images.build(&organization, image)).await;
            let late = || Err(format!("not built within {} s", PATIENCE.as_secs()));
            let (status, url, reason) = match built.unwrap_or_else(|_| late()) {
                Ok(url) => (Status::Ready, Some(url), None),
                Err(reason) => (Status::Error, None, Some(vec![reason])),
            };
            let finish = move |image: &mut Image| {
                (image.status, image.docker_url, image.reason) = (Some(status), url, reason);
                image.id == id
            };
            written(images.0.store.modify_if(&organization, &name, finish).await);
            images.changed();
        });
    }

    /// Builds an image; where it is, or why it cannot be built.
    async fn build(&self, organization: &str, image: Image) -> Result<String, String> {
        let language = self.language(organization, &image.base_image_name).await?;
        let begin = {
            let (id, language) = (image.id, language.clone());
            move |image: &mut Image| {
                (image.status, image.language) = (Some(Status::Creating), Some(language));
                image.id == id
            }
        };
        written(self.0.store.modify_if(organization, &image.name, begin).await);
        let packages = image.system_dependencies.unwrap_or_default().packages;
        if !packages.is_empty() {
            let names: Vec<_> = packages.iter().map(|p| p.name.as_str()).collect();
            return Err(format!(
                "system packages cannot be installed for functions that are local processes: install {} on this \
                 machine and leave systemDependencies out",
                names.join(", ")
            ));
        }
        let manifest = image.runtime_dependencies.unwrap_or_default().manifest;
        let permit = self.0.permits.acquire().await.map_err(|e| e.to_string())?;
        let installed = self.0.installer.install(&language, &manifest).await;
        drop(permit);
        match installed.map_err(|e| e.to_string())? {
            Some(folder) => Ok(format!("{FOLDER_SCHEME}{}", folder.display())),
            None => Ok(format!("process:{language}")),
        }
    }

    /// Waits until the base image is finished.
    async fn language(&self, organization: &str, base: &str) -> Result<String, String> {
        let mut changes = self.0.changes.subscribe();
        loop {
            let found = self.0.store.get::<BaseImage>(organization, base).await;
            let found = found.map_err(|e| e.to_string())?;
            match found.status {
                Some(Status::Ready) => return Ok(found.language),
                Some(Status::Error) => return Err(in_error("base image", base, found.reason)),
                _ => changes.changed().await.map_err(|e| e.to_string())?,
            }
        }
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

/// A resource that was changed or deleted meanwhile has its own task; anything else is worth a line.
fn written<R>(result: Result<R, StoreError>) {
    match result {
        Ok(_) | Err(StoreError::Conflict { .. } | StoreError::NotFound { .. }) => {}
        Err(error) => tracing::error!(%error, "the status of an image cannot be written"),
    }
}
