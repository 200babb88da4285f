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

use crate::confinement::Confinement;
use crate::launch::Launch;
use crate::notes::Notes;
use crate::pool::Pool;
use crate::runtime::{self, Interpreter, Site};
use crate::settings::{MAX_TIMEOUT, Settings};
use crate::source;
use crate::worker::StartError;

/// A socket's path holds 108 bytes at most, the name of the socket included.
const MAX_SOCKET_FOLDER: usize = 60;

/// Runs functions as processes of this machine.
#[derive(Debug)]
pub struct Process {
    settings: Settings,
    revisions_folder: PathBuf,
    notes: Arc<Notes>,
    cache: PathBuf,
    sockets: Sockets,
    revisions: Mutex<HashMap<Uuid, Revision>>,
    /// What was found of each runtime.
    found: HashMap<&'static str, OnceCell<Interpreter>>,
    stop: CancellationToken,
}

/// A deployed revision.
#[derive(Debug, Clone)]
struct Revision {
    pool: Arc<Pool>,
    folder: Arc<TempDir>,
    dependencies: Option<PathBuf>,
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
        let notes = Arc::new(Notes::open(folder.join("groups"))?);
        let (revisions_folder, sockets) = (folder.join("revisions"), folder.join("sockets"));
        for path in [&revisions_folder, &sockets] {
            match std::fs::remove_dir_all(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => std::fs::create_dir_all(path)?,
            }
        }
        let cache = folder.join("cache");
        std::fs::create_dir_all(&cache)?;
        let sockets = match sockets.as_os_str().len() <= MAX_SOCKET_FOLDER {
            true => Sockets::Below(sockets),
            false => Sockets::Elsewhere(tempfile::Builder::new().prefix("dispatch-").tempdir()?),
        };
        Ok(Self {
            settings,
            revisions_folder,
            notes,
            cache,
            sockets,
            revisions: Mutex::default(),
            found: runtime::names()
                .into_iter()
                .map(|n| (n, OnceCell::new()))
                .collect(),
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

    async fn find(&self, runtime: &dyn runtime::Runtime) -> Result<Interpreter, String> {
        let plugins = self.settings.plugins.as_deref();
        match self.found.get(runtime.name()) {
            Some(found) => found.get_or_try_init(|| runtime.find(plugins)).await.cloned(),
            None => runtime.find(plugins).await,
        }
    }

    async fn look_for(&self, name: &str) -> Runtime {
        let found = match runtime::named(name) {
            Some(runtime) => self.find(runtime).await,
            None => Err(runtime::unknown(name)),
        };
        Runtime {
            language: name.to_owned(),
            state: match found {
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
        if let Confinement::Refused(reason) = &self.settings.confinement {
            return Err(FaasError::Invalid(reason.clone()));
        }
        let revision = function.revision;
        let deployed = self.open_pool(function).await.map_err(|error| match error {
            StartError::Invalid(reason) => FaasError::Invalid(reason),
            StartError::Unavailable(reason) => FaasError::Unavailable(reason),
        })?;
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

    /// Writes the function's files, makes them ready, and starts a first worker.
    async fn open_pool(&self, function: FunctionSpec) -> Result<Revision, StartError> {
        let runtime = runtime::named(&function.language)
            .ok_or_else(|| StartError::Invalid(runtime::unknown(&function.language)))?;
        if function.source.is_empty() {
            return Err(StartError::Invalid("the function has no source files".to_owned()));
        }
        let checked = runtime.check(&function.source, &function.handler);
        checked.map_err(StartError::Invalid)?;
        if function.bounds.fuel.is_some() && !runtime.counts_fuel() {
            return Err(StartError::Invalid(runtime::without_fuel(runtime)));
        }
        let found = self.find(runtime).await.map_err(StartError::Unavailable)?;
        let below = self.revisions_folder.clone();
        let prefix = format!("{}-", function.revision);
        let files = function.source;
        // Dropping the folder removes it, so a deploy that fails or is cancelled leaves nothing.
        let folder = tokio::task::spawn_blocking(move || {
            let folder = tempfile::Builder::new().prefix(&prefix).tempdir_in(below)?;
            source::write_files(&folder.path().join("source"), &files)?;
            Ok::<_, std::io::Error>(folder)
        });
        let folder = folder
            .await
            .map_err(std::io::Error::other)
            .flatten()
            .map_err(|e| StartError::Unavailable(format!("cannot write the function's files: {e}")))?;
        let source = folder.path().join("source");
        let workers = self.settings.workers(&function.scale);
        let limits = self.settings.limits(&function.bounds);
        let site = Site {
            found: &found,
            folder: folder.path(),
            source: &source,
            dependencies: function.dependencies.as_deref(),
            handler: &function.handler,
            name: &function.name,
            cache: &self.cache,
            notes: &self.notes,
            limits: &limits,
            bounds: function.bounds,
            concurrency: workers.concurrency,
        };
        let plan = tokio::select! {
            plan = runtime.prepare(&site) => plan?,
            () = self.stop.cancelled() => return Err(StartError::Unavailable("the engine stops".to_owned())),
        };
        let launch = Launch {
            plan,
            source,
            label: format!(
                "{}/{} ({})",
                function.organization, function.name, function.revision
            ),
            name: function.name,
            sockets: self.sockets.path().to_owned(),
            notes: Arc::clone(&self.notes),
            limits,
            readable: [folder.path().to_owned(), self.cache.clone()]
                .into_iter()
                .chain(function.dependencies.clone())
                .collect(),
            bounds: function.bounds,
            confinement: self.settings.confinement.clone(),
        };
        let pool = Pool::open(launch, self.settings.clone(), workers, self.stop.child_token()).await?;
        Ok(Revision {
            pool,
            folder: Arc::new(folder),
            dependencies: function.dependencies,
        })
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
        let time = invocation
            .timeout
            .unwrap_or(self.settings.timeout)
            .min(MAX_TIMEOUT);
        revision.pool.call(invocation, time).await
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

    fn in_use(&self) -> Vec<PathBuf> {
        let revisions = self.revisions();
        revisions
            .values()
            .filter_map(|r| r.dependencies.clone())
            .collect()
    }

    fn invoke(&self, invocation: Invocation) -> BoxFuture<'_, InvocationResult> {
        self.call(invocation).boxed()
    }
}
