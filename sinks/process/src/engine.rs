//! The engine: which revisions are deployed, and how it opens and stops.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dispatch_contract::{
    Faas, FaasError, FunctionSpec, Invocation, InvocationError, InvocationResult, Logs, Runtime, RuntimeState,
};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::group;
use crate::language::{self, Interpreter, Language};
use crate::launch::Launch;
use crate::message;
use crate::pool::Pool;
use crate::settings::{MAX_TIMEOUT, Settings};
use crate::source;

/// A socket's path holds 108 bytes at most, the name of the socket included.
const MAX_SOCKET_FOLDER: usize = 60;

/// Runs functions as processes of this machine.
#[derive(Debug)]
pub struct Process {
    settings: Settings,
    revisions_folder: PathBuf,
    notes: PathBuf,
    sockets: Sockets,
    revisions: Mutex<HashMap<Uuid, Revision>>,
    python: OnceCell<Interpreter>,
    node: OnceCell<Interpreter>,
    stop: CancellationToken,
}

/// A deployed revision.
#[derive(Debug, Clone)]
struct Revision {
    pool: Arc<Pool>,
    folder: Arc<TempDir>,
}

/// Where workers find the sockets they connect to.
#[derive(Debug)]
enum Sockets {
    Below(PathBuf),
    /// The engine's folder has too long a path.
    Elsewhere(TempDir),
}

impl Sockets {
    fn path(&self) -> &Path {
        match self {
            Self::Below(path) => path,
            Self::Elsewhere(folder) => folder.path(),
        }
    }
}

impl Process {
    /// Opens the engine in its folder. Kills the workers an engine that crashed left behind, and empties the folder:
    /// whoever wants a revision deploys it again.
    pub fn open(settings: Settings) -> std::io::Result<Self> {
        let folder = std::path::absolute(&settings.folder)?;
        let (notes, revisions_folder, sockets) = (
            folder.join("groups"),
            folder.join("revisions"),
            folder.join("sockets"),
        );
        group::kill_left_over(&notes);
        for path in [&notes, &revisions_folder, &sockets] {
            match std::fs::remove_dir_all(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => std::fs::create_dir_all(path)?,
            }
        }
        let sockets = match sockets.as_os_str().len() <= MAX_SOCKET_FOLDER {
            true => Sockets::Below(sockets),
            false => Sockets::Elsewhere(tempfile::Builder::new().prefix("dispatch-").tempdir()?),
        };
        Ok(Self {
            settings,
            revisions_folder,
            notes,
            sockets,
            revisions: Mutex::default(),
            python: OnceCell::new(),
            node: OnceCell::new(),
            stop: CancellationToken::new(),
        })
    }

    /// Ends every worker, whatever it does. No process is left when this resolves, within two seconds.
    pub async fn stop(&self) {
        self.stop.cancel();
        let revisions: Vec<Revision> = self.revisions().drain().map(|(_, r)| r).collect();
        join_all(revisions.iter().map(|r| r.pool.end())).await;
    }

    fn revisions(&self) -> MutexGuard<'_, HashMap<Uuid, Revision>> {
        self.revisions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn interpreter(&self, language: Language) -> Result<Interpreter, String> {
        let cell = match language {
            Language::Python => &self.python,
            Language::Node => &self.node,
        };
        cell.get_or_try_init(|| language.find()).await.cloned()
    }

    async fn look_for(&self, name: &str) -> Runtime {
        let Some(language) = Language::named(name) else {
            return language::look_for(name).await;
        };
        Runtime {
            language: name.to_owned(),
            state: match self.interpreter(language).await {
                Ok(found) => RuntimeState::Ready {
                    version: found.version,
                },
                Err(reason) => RuntimeState::Missing { reason },
            },
        }
    }

    async fn start(&self, function: FunctionSpec) -> Result<(), FaasError> {
        if self.stop.is_cancelled() {
            return Err(FaasError::Unavailable("the engine is stopped".to_owned()));
        }
        if self.revisions().contains_key(&function.revision) {
            return Ok(());
        }
        let revision = function.revision;
        let language = Language::named(&function.language).ok_or_else(|| {
            FaasError::Invalid(format!(
                "the process engine runs python3 and nodejs functions; {} comes later",
                function.language
            ))
        })?;
        let files = function.source.len();
        if files == 0 {
            return Err(FaasError::Invalid("the function has no source files".to_owned()));
        }
        if function.handler.is_empty() && files != 1 {
            let text = format!("Exactly 1 source file needed when HANDLER is empty: there are {files}");
            return Err(FaasError::Invalid(text));
        }
        let interpreter = self.interpreter(language).await.map_err(FaasError::Unavailable)?;
        let below = self.revisions_folder.clone();
        let prefix = format!("{}-", function.revision);
        let (program, text) = language.worker();
        let label = format!(
            "{}/{} ({})",
            function.organization, function.name, function.revision
        );
        let (handler, dependencies) = (function.handler, function.dependencies);
        let files = function.source;
        // Dropping the folder removes it, so a deploy that fails or is cancelled leaves nothing.
        let folder = tokio::task::spawn_blocking(move || {
            let folder = tempfile::Builder::new().prefix(&prefix).tempdir_in(below)?;
            std::fs::write(folder.path().join(program), text)?;
            source::write_files(&folder.path().join("source"), &files)?;
            Ok::<_, std::io::Error>(folder)
        });
        let folder = folder
            .await
            .map_err(std::io::Error::other)
            .flatten()
            .map_err(|e| FaasError::Unavailable(format!("cannot write the function's files: {e}")))?;
        let launch = Launch {
            language,
            interpreter,
            program: folder.path().join(program),
            source: folder.path().join("source"),
            dependencies,
            handler,
            label,
            sockets: self.sockets.path().to_owned(),
            notes: self.notes.clone(),
            limits: self.settings.limits,
        };
        let pool = Pool::open(launch, self.settings.clone(), self.stop.child_token()).await?;
        let deployed = Revision {
            pool,
            folder: Arc::new(folder),
        };
        let surplus = {
            let mut revisions = self.revisions();
            match self.stop.is_cancelled() || revisions.contains_key(&revision) {
                true => Some(deployed),
                false => revisions.insert(revision, deployed),
            }
        };
        if let Some(surplus) = surplus {
            surplus.pool.end().await;
        }
        Ok(())
    }

    async fn call(&self, invocation: Invocation) -> InvocationResult {
        let fail = |error| InvocationResult {
            result: Err(error),
            logs: Logs::default(),
        };
        // The folder lives as long as the call.
        let Some(revision) = self.revisions().get(&invocation.revision).cloned() else {
            return fail(InvocationError::Unavailable(format!(
                "the revision {} is not deployed",
                invocation.revision
            )));
        };
        let frame = match message::call(&invocation) {
            Ok(frame) => frame,
            Err(error) => return fail(InvocationError::Function(error)),
        };
        let time = invocation
            .timeout
            .unwrap_or(self.settings.timeout)
            .min(MAX_TIMEOUT);
        revision.pool.call(frame, time).await
    }
}

impl Drop for Process {
    /// Tells the workers' tasks to end them.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Faas for Process {
    fn runtime(&self, language: &str) -> BoxFuture<'_, Runtime> {
        let language = language.to_owned();
        async move { self.look_for(&language).await }.boxed()
    }

    fn deploy(&self, function: FunctionSpec) -> BoxFuture<'_, Result<(), FaasError>> {
        self.start(function).boxed()
    }

    fn remove(&self, revision: Uuid) -> BoxFuture<'_, Result<(), FaasError>> {
        async move {
            let Some(removed) = self.revisions().remove(&revision) else {
                return Ok(());
            };
            removed.pool.close().await;
            let Some(folder) = Arc::into_inner(removed.folder) else {
                return Ok(());
            };
            let gone = tokio::task::spawn_blocking(move || folder.close()).await;
            gone.map_err(std::io::Error::other)
                .flatten()
                .map_err(|e| FaasError::Unavailable(format!("cannot remove the function's files: {e}")))
        }
        .boxed()
    }

    fn invoke(&self, invocation: Invocation) -> BoxFuture<'_, InvocationResult> {
        self.call(invocation).boxed()
    }
}
