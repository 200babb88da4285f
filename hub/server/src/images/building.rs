//! How base images are looked for and images built: background work that ends with a status and one reason.

use dispatch_contract::{Runtime, RuntimeState};
use dispatch_schemas::{BaseImage, Image, Status};
use dispatch_sink_process::BuildLog;
use dispatch_store::StoreError;
use tokio::time::timeout;

use super::{FOLDER_SCHEME, Images, PATIENCE, in_error};

impl Images {
    pub(super) fn check_in_background(&self, organization: &str, base: &BaseImage) {
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

    pub(super) fn build_in_background(&self, organization: &str, image: &Image) {
        let (images, organization, image) = (self.clone(), organization.to_owned(), image.clone());
        self.0.builds.start(image.id, async move {
            let (id, name) = (image.id, image.name.clone());
            let kept = images.keep().await;
            let log = BuildLog::begin(&images.log_of(id));
            let built = timeout(PATIENCE, images.build(&organization, image, &log)).await;
            let late = || Err(format!("not built within {} s", PATIENCE.as_secs()));
            let built = built.unwrap_or_else(|_| late());
            match &built {
                Ok(url) => log.line(&format!("READY: {url}")),
                Err(reason) => log.line(&format!("ERROR: {reason}")),
            }
            let (status, url, reason) = match built {
                Ok(url) => (Status::Ready, Some(url), None),
                Err(reason) => (Status::Error, None, Some(vec![reason])),
            };
            let finish = move |image: &mut Image| {
                (image.status, image.docker_url, image.reason) = (Some(status), url, reason);
                image.id == id
            };
            written(images.0.store.modify_if(&organization, &name, finish).await);
            images.changed();
            drop(kept);
            images.sweep().await;
        });
    }

    /// Builds an image; where it is, or why it cannot be built.
    async fn build(&self, organization: &str, image: Image, log: &BuildLog) -> Result<String, String> {
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
        let installed = self.0.installer.install(&language, &manifest, log).await;
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
}

/// A resource that was changed or deleted meanwhile has its own task; anything else is worth a line.
fn written<R>(result: Result<R, StoreError>) {
    match result {
        Ok(_) | Err(StoreError::Conflict { .. } | StoreError::NotFound { .. }) => {}
        Err(error) => tracing::error!(%error, "the status of an image cannot be written"),
    }
}
