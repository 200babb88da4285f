//! A deployed engine in a scratch folder, and what the tests ask of it.
// Helpers outside of #[test] functions fail by panicking, as a test does.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dispatch_contract::{
    Faas, FaasError, FunctionError, FunctionSpec, Invocation, InvocationError, InvocationResult,
    RuntimeState, Scale, SourceFile,
};
use dispatch_sink_process::{Process, Settings};
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

/// Whether a runtime is here; a test without it says so, and fails where nothing may be missing (`CI=true`).
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
pub async fn is_here(stage: &Stage, language: &str) -> bool {
    match stage.engine.runtime(language).await.state {
        RuntimeState::Ready { .. } => true,
        RuntimeState::Missing { reason } => {
            assert_ne!(
                std::env::var("CI").as_deref(),
                Ok("true"),
                "not to be skipped here: {reason}"
            );
            eprintln!("SKIPPED: {reason}");
            false
        }
    }
}

/// An engine with scratch folders.
pub struct Stage {
    pub engine: Process,
    pub folder: TempDir,
    pub scale: Scale,
}

impl Stage {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::new(folder.path().join("engine"));
        change(&mut settings);
        Self {
            engine: Process::open(settings).unwrap(),
            folder,
            scale: Scale::default(),
        }
    }

    /// Deploys files; the revision.
    pub async fn deploy(
        &self,
        language: &str,
        files: &[(&str, &str)],
        handler: &str,
    ) -> Result<Uuid, FaasError> {
        self.deploy_with(language, None, files, handler).await
    }

    /// The same with an image's installed packages.
    pub async fn deploy_with(
        &self,
        language: &str,
        dependencies: Option<PathBuf>,
        files: &[(&str, &str)],
        handler: &str,
    ) -> Result<Uuid, FaasError> {
        let revision = Uuid::new_v4();
        let spec = FunctionSpec {
            revision,
            organization: "dispatch".into(),
            name: "test".into(),
            language: language.into(),
            dependencies,
            source: files
                .iter()
                .map(|(path, text)| SourceFile {
                    path: PathBuf::from(path),
                    content: Bytes::copy_from_slice(text.as_bytes()),
                })
                .collect(),
            handler: handler.into(),
            scale: self.scale,
            bounds: dispatch_contract::Bounds::default(),
        };
        within(120, self.engine.deploy(spec)).await.map(|()| revision)
    }

    pub async fn python(&self, text: &str) -> Uuid {
        self.deploy("python3", &[("f.py", text)], "").await.unwrap()
    }

    pub async fn node(&self, text: &str) -> Uuid {
        self.deploy("nodejs", &[("f.js", text)], "./f.js").await.unwrap()
    }

    pub async fn call(&self, revision: Uuid, payload: Value) -> InvocationResult {
        self.call_within(revision, payload, Duration::from_secs(20)).await
    }

    pub async fn call_within(&self, revision: Uuid, payload: Value, timeout: Duration) -> InvocationResult {
        within(
            40,
            self.engine.invoke(invocation(revision, payload, Some(timeout))),
        )
        .await
    }

    /// The payload the function answered with.
    pub async fn output(&self, revision: Uuid, payload: Value) -> Value {
        let answered = self.call(revision, payload).await;
        serde_json::from_slice(&answered.result.unwrap()).unwrap()
    }
}

pub fn invocation(revision: Uuid, payload: Value, timeout: Option<Duration>) -> Invocation {
    Invocation {
        revision,
        payload: payload.to_string().into(),
        context: Bytes::from_static(b"{}"),
        secrets: BTreeMap::new(),
        timeout,
    }
}

pub fn error(answered: InvocationResult) -> FunctionError {
    match answered.result.unwrap_err() {
        InvocationError::Function(error) => error,
        other => panic!("no error of the function: {other}"),
    }
}

pub async fn within<T>(seconds: u64, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(seconds), work)
        .await
        .expect("in time")
}

/// Waits for a condition, at most ten seconds.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "not within ten seconds: {what}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Living processes of a process group; zombies do not live.
pub fn alive(group: i64) -> usize {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok())
        .filter(|stat| {
            let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
            !matches!(fields[0], "Z" | "X") && fields[2] == group.to_string()
        })
        .count()
}
