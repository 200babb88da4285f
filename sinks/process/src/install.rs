//! An image's dependencies, installed once into a folder named by what they are.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::build_log::BuildLog;
use crate::notes::Notes;
use crate::runtime;
use crate::tool::{self, ToolError};

const PATIENCE: Duration = Duration::from_secs(600);
const PARTIAL: &str = "partial-";
/// Bytes of the hash in a folder's name.
const NAME_BYTES: usize = 16;
/// Why dependencies are not installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The manifest is wrong, or names what cannot be had; the text is the tool's.
    #[error("{0}")]
    Failed(String),
    /// The tool or the disk is not there.
    #[error("cannot install dependencies: {0}")]
    Unavailable(String),
}

impl From<ToolError> for InstallError {
    fn from(error: ToolError) -> Self {
        match error {
            ToolError::Failed(text) => Self::Failed(text),
            ToolError::Unavailable(text) => Self::Unavailable(text),
        }
    }
}

/// Installs dependencies below a folder.
#[derive(Debug, Clone)]
pub struct Installer {
    folder: PathBuf,
    notes: Arc<Notes>,
}

impl Installer {
    /// Opens the folder below which everything is installed. Ends and removes what a crash left unfinished.
    pub fn open(folder: impl Into<PathBuf>) -> std::io::Result<Self> {
        let folder = std::path::absolute(folder.into())?;
        let notes = Arc::new(Notes::open(folder.join("groups"))?);
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
                std::fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(Self { folder, notes })
    }

    /// Installs what the manifest (`requirements.txt`, `package.json`) names and answers with the folder, the same one for
    /// the same language, version and manifest. `None`: there is nothing to install. Takes at most ten minutes;
    /// dropping the future kills the tool.
    pub async fn install(
        &self,
        language: &str,
        manifest: &str,
        log: &BuildLog,
    ) -> Result<Option<PathBuf>, InstallError> {
        if manifest.trim().is_empty() {
            return Ok(None);
        }
        let runtime =
            runtime::named(language).ok_or_else(|| InstallError::Failed(runtime::unknown(language)))?;
        // None of those that take packages is a plugin.
        let found = runtime.find(None).await.map_err(InstallError::Unavailable)?;
        let done = self.folder.join(name(language, &found.version, manifest));
        if tokio::fs::try_exists(&done).await.unwrap_or(false) {
            log.line(&format!("the same is installed already: {}", done.display()));
            return Ok(Some(done));
        }
        let io = |e: std::io::Error| InstallError::Unavailable(e.to_string());
        let partial = tempfile::Builder::new()
            .prefix(PARTIAL)
            .tempdir_in(&self.folder)
            .map_err(io)?;
        let mut command = runtime.install(&found, manifest, partial.path())?;
        tool::with_environment(&mut command).current_dir(partial.path());
        log.line(&format!("installing into {}", done.display()));
        tool::run_logged(command, &self.notes, PATIENCE, log).await?;
        match std::fs::rename(partial.path(), &done) {
            Ok(()) => drop(partial.keep()),
            // Somebody else has just installed the same.
            Err(e) if matches!(e.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {}
            Err(e) => return Err(io(e)),
        }
        Ok(Some(done))
    }

    /// Removes every installed folder that is not among `named`; how many. Nothing may be being installed meanwhile.
    pub fn remove_unnamed(&self, named: &HashSet<PathBuf>) -> std::io::Result<usize> {
        let mut removed = 0;
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let is_installed = path.file_name().and_then(|n| n.to_str()).is_some_and(is_name);
            if is_installed && !named.contains(&path) {
                std::fs::remove_dir_all(&path)?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

/// Whether a folder's name is one that [`name`] gives.
fn is_name(text: &str) -> bool {
    let hash = text.rsplit_once('-').map_or("", |(_, hash)| hash);
    hash.len() == 2 * NAME_BYTES && hash.bytes().all(|b| b.is_ascii_hexdigit())
}

fn name(language: &str, version: &str, manifest: &str) -> String {
    let mut hash = Sha256::new();
    for part in [language, version, manifest] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let hex: String = hash
        .finalize()
        .iter()
        .take(NAME_BYTES)
        .map(|b| format!("{b:02x}"))
        .collect();
    format!("{language}-{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_named_by_what_is_in_it() {
        let first = name("python3", "3.11", "requests");
        assert_eq!(first, name("python3", "3.11", "requests"));
        assert_ne!(first, name("python3", "3.12", "requests"));
        assert_ne!(first, name("python3", "3.1", "1requests"));
    }

    #[tokio::test]
    async fn an_empty_manifest_installs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let installer = Installer::open(folder.path()).unwrap();
        let none = BuildLog::nowhere();
        assert_eq!(installer.install("python3", " \n", &none).await.unwrap(), None);
        assert_eq!(installer.install("java", "", &none).await.unwrap(), None);
        assert!(installer.install("cobol", "x", &none).await.is_err());
        assert!(installer.install("exec", "x", &none).await.is_err());
        assert!(installer.install("nodejs", "left-pad", &none).await.is_err());
    }

    #[tokio::test]
    async fn a_local_package_is_installed_and_the_folder_is_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let package = folder.path().join("greet");
        std::fs::create_dir_all(&package).unwrap();
        std::fs::write(
            package.join("package.json"),
            r#"{"name":"greet","version":"1.0.0"}"#,
        )
        .unwrap();
        std::fs::write(package.join("index.js"), "module.exports = 'hi'").unwrap();
        let manifest = serde_json::json!({"dependencies": {"greet": format!("file:{}", package.display())}});
        let installer = Installer::open(folder.path().join("dependencies")).unwrap();

        let installed = installer
            .install("nodejs", &manifest.to_string(), &BuildLog::nowhere())
            .await
            .unwrap()
            .unwrap();

        assert!(installed.join("node_modules/greet/index.js").exists());
        std::fs::write(installed.join("mark"), "").unwrap();
        let again = installer
            .install("nodejs", &manifest.to_string(), &BuildLog::nowhere())
            .await
            .unwrap()
            .unwrap();
        assert!(again == installed && again.join("mark").exists());
        assert_eq!(installer.remove_unnamed(&[again.clone()].into()).unwrap(), 0);
        assert_eq!(installer.remove_unnamed(&HashSet::new()).unwrap(), 1);
        assert!(!again.exists());
    }
}
