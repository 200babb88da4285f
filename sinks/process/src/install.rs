//! An image's dependencies, installed once into a folder named by what they are.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::FusedFuture as _;
use rustix::process::Pid;
use sha2::{Digest as _, Sha256};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::group::{self, Group};
use crate::language::{Interpreter, Language};
use crate::tail::OutputTail;

const PATIENCE: Duration = Duration::from_secs(600);
const LAST_WORDS: Duration = Duration::from_millis(500);
const PARTIAL: &str = "partial-";
const ERROR_LINES: usize = 10;
/// Variables a package tool may see of ours: none of them is the hub's own.
const INHERITED: [&str; 9] = [
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
];
const INHERITED_PREFIXES: [&str; 2] = ["pip_", "npm_config_"];

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

/// Installs dependencies below a folder.
#[derive(Debug, Clone)]
pub struct Installer {
    folder: PathBuf,
    notes: PathBuf,
}

impl Installer {
    /// Opens the folder below which everything is installed. Ends and removes what a crash left unfinished.
    pub fn open(folder: impl Into<PathBuf>) -> std::io::Result<Self> {
        let folder = std::path::absolute(folder.into())?;
        let notes = folder.join("groups");
        group::kill_left_over(&notes);
        std::fs::create_dir_all(&notes)?;
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
    pub async fn install(&self, language: &str, manifest: &str) -> Result<Option<PathBuf>, InstallError> {
        if manifest.trim().is_empty() {
            return Ok(None);
        }
        let known = Language::named(language).ok_or_else(|| {
            InstallError::Failed(format!(
                "dependencies of {language} cannot be installed: use python3 or nodejs, or leave the manifest empty"
            ))
        })?;
        if known == Language::Node && serde_json::from_str::<serde_json::Map<_, _>>(manifest).is_err() {
            return Err(InstallError::Failed(
                "the manifest of a nodejs image must be a package.json".to_owned(),
            ));
        }
        let interpreter = known.find().await.map_err(InstallError::Unavailable)?;
        let done = self.folder.join(name(language, &interpreter.version, manifest));
        if tokio::fs::try_exists(&done).await.unwrap_or(false) {
            return Ok(Some(done));
        }
        let io = |e: std::io::Error| InstallError::Unavailable(e.to_string());
        let partial = tempfile::Builder::new()
            .prefix(PARTIAL)
            .tempdir_in(&self.folder)
            .map_err(io)?;
        run(
            tool(known, &interpreter, manifest, partial.path()).map_err(io)?,
            &self.notes,
        )
        .await?;
        match std::fs::rename(partial.path(), &done) {
            Ok(()) => drop(partial.keep()),
            // Somebody else has just installed the same.
            Err(e) if matches!(e.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {}
            Err(e) => return Err(io(e)),
        }
        Ok(Some(done))
    }
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
        .take(16)
        .map(|b| format!("{b:02x}"))
        .collect();
    format!("{language}-{hex}")
}

/// The command that installs into `folder`.
fn tool(
    language: Language,
    interpreter: &Interpreter,
    manifest: &str,
    folder: &Path,
) -> std::io::Result<Command> {
    let mut command = match language {
        Language::Python => {
            let file = folder.join("requirements.txt");
            std::fs::write(&file, manifest)?;
            let mut command = Command::new(&interpreter.path);
            command
                .args([
                    "-m",
                    "pip",
                    "install",
                    "--disable-pip-version-check",
                    "--no-input",
                    "--target",
                ])
                .arg(folder)
                .arg("-r")
                .arg(file);
            command
        }
        Language::Node => {
            std::fs::write(folder.join("package.json"), manifest)?;
            let mut command = Command::new("npm");
            command
                .args([
                    "install",
                    "--omit=dev",
                    "--no-audit",
                    "--no-fund",
                    "--no-progress",
                    "--prefix",
                ])
                .arg(folder);
            command
        }
    };
    let inherited = std::env::vars_os().filter(|(name, _)| {
        let name = name.to_string_lossy();
        let lower = name.to_ascii_lowercase();
        INHERITED.contains(&name.as_ref())
            || lower.ends_with("_proxy")
            || INHERITED_PREFIXES.iter().any(|p| lower.starts_with(p))
    });
    command.env_clear().envs(inherited).current_dir(folder);
    Ok(command)
}

async fn run(mut command: Command, notes: &Path) -> Result<(), InstallError> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| InstallError::Unavailable(format!("`{program}`: {e}")))?;
    let leader = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    let mut group = leader.map(|leader| Group::adopt(leader, notes));
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (mut said, mut complained) = (OutputTail::default(), OutputTail::default());
    let read = async {
        let stdout = async {
            if let Some(pipe) = stdout {
                said.read_all(pipe).await;
            }
        };
        let stderr = async {
            if let Some(pipe) = stderr {
                complained.read_all(pipe).await;
            }
        };
        tokio::join!(stdout, stderr);
    };
    let ended = {
        let mut read = std::pin::pin!(read.fuse());
        let reading_on = async {
            read.as_mut().await;
            std::future::pending::<()>().await;
        };
        let ended = tokio::select! {
            status = child.wait() => Some(status),
            () = reading_on => None,
            () = sleep(PATIENCE) => None,
        };
        if let Some(group) = &mut group {
            group.kill();
        }
        // What it said last; a process that left the group may hold the pipes for ever.
        if !read.is_terminated() {
            timeout(LAST_WORDS, read).await.unwrap_or_default();
        }
        ended
    };
    let status = match ended {
        Some(Ok(status)) if status.success() => return Ok(()),
        Some(Ok(status)) => status.to_string(),
        Some(Err(error)) => error.to_string(),
        None => format!("not done within {} s", PATIENCE.as_secs()),
    };
    let text = match complained.lines(ERROR_LINES) {
        text if text.is_empty() => said.lines(ERROR_LINES),
        text => text,
    };
    Err(InstallError::Failed(format!(
        "`{program}` failed ({status}): {text}"
    )))
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
        assert_eq!(installer.install("python3", " \n").await.unwrap(), None);
        assert_eq!(installer.install("java", "").await.unwrap(), None);
        assert!(installer.install("java", "x").await.is_err());
        assert!(installer.install("nodejs", "left-pad").await.is_err());
    }

    #[tokio::test]
    async fn a_failing_tool_is_told_with_its_last_lines() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "echo fine; echo first >&2; echo no such package >&2; exit 3",
        ]);

        let error = run(command, folder.path()).await.unwrap_err().to_string();

        assert!(
            error.contains("no such package") && error.contains("exit status: 3"),
            "{error}"
        );
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
            .install("nodejs", &manifest.to_string())
            .await
            .unwrap()
            .unwrap();

        assert!(installed.join("node_modules/greet/index.js").exists());
        std::fs::write(installed.join("mark"), "").unwrap();
        let again = installer
            .install("nodejs", &manifest.to_string())
            .await
            .unwrap()
            .unwrap();
        assert!(again == installed && again.join("mark").exists());
    }
}
