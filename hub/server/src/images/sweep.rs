//! When folders of packages go again: as soon as no image names them and no deployed function stands on them.

use std::collections::HashSet;
use std::path::PathBuf;

use dispatch_schemas::Image;

use super::{Images, folder_of};

impl Images {
    /// The same without waiting for it.
    pub(super) fn sweep_in_background(&self) {
        let images = self.clone();
        self.0.builds.spawn(async move { images.sweep().await });
    }

    /// Removes folders nobody names. While anybody builds or deploys nothing is removed: whoever is done last sweeps.
    pub(crate) async fn sweep(&self) {
        let Ok(alone) = self.0.in_use.clone().try_write_owned() else {
            return;
        };
        let images = match self.0.store.list_all::<Image>().await {
            Ok(images) => images,
            Err(error) => {
                tracing::error!(%error, "images cannot be listed: no folder is removed");
                return;
            }
        };
        let mut named: HashSet<PathBuf> = images.iter().filter_map(|(_, image)| folder_of(image)).collect();
        named.extend(self.0.engine.get().into_iter().flat_map(|engine| engine.in_use()));
        let logs: HashSet<PathBuf> = images.iter().map(|(_, image)| self.log_of(image.id)).collect();
        let inner = self.0.clone();
        let removed = tokio::task::spawn_blocking(move || {
            let _alone = alone;
            for entry in std::fs::read_dir(&inner.logs)? {
                let path = entry?.path();
                if !logs.contains(&path) {
                    std::fs::remove_file(path)?;
                }
            }
            inner.installer.remove_unnamed(&named)
        });
        match removed.await.map_err(std::io::Error::other).flatten() {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "removed folders of packages that no image names"),
            Err(error) => tracing::warn!(%error, "folders of packages that no image names cannot be removed"),
        }
    }
}
