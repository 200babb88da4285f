//! How a function comes to be, changes and goes.
//!
//! ```text
//! create: INITIALIZED -> (image READY?) -> CREATING -> READY
//! change: UPDATING ----> (image READY?) ------------> READY     any of them -> ERROR with one reason
//! ```
//! Every change has a new revision (`faasId`), with its source kept under that name before anything speaks of it. A
//! build writes its end only while its revision is still the current one. The revision before stays callable for
//! events until the new one is, and goes then. After a restart a READY function is deployed again; deliveries wait.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dispatch_contract::{Faas as _, FaasError, FunctionSpec, Progress, Scale, SubscriptionId};
use dispatch_router::Subscription;
use dispatch_schemas::{Function, FunctionScale, Resource as _, Status};
use dispatch_sink_process::{SourceError, read_source, single_file};
use dispatch_store::StoreError;
use tokio::time::sleep;
use uuid::Uuid;

use super::fetch::fetch;
use super::reach::Reach;
use super::registry::State;
use super::schema::{BadSchema, Schemas};
use super::{EXEC_DELIVERY, Functions, Wired};
use crate::rest::error::ApiError;

/// How often a deploy is tried that the engine cannot do now.
const DEPLOY_TRIES: u64 = 3;

/// A revision on its way to being deployed.
struct Build {
    organization: String,
    name: String,
    id: Uuid,
    revision: Uuid,
    /// It was READY before the hub started.
    known_good: bool,
}

impl Functions {
    /// Keeps a new function and builds it.
    pub(crate) async fn create(
        &self,
        organization: &str,
        mut function: Function,
    ) -> Result<Function, ApiError> {
        check(&function)?;
        self.0
            .containment
            .bounds(&function)
            .map_err(ApiError::bad_request)?;
        let source = source_of(&function, &self.0.reach)
            .await?
            .ok_or_else(|| ApiError::bad_request("either source or sourceURL must be specified"))?;
        let revision = Uuid::new_v4();
        function.faas_id = Some(revision);
        function.status = Some(Status::Initialized);
        (function.function_image_url, function.reason) = (None, None);
        function.protections = None;
        let store = &self.0.store;
        store.put_source(revision, source).await?;
        let function = match store.create(organization, &function).await {
            Ok(function) => function,
            Err(error) => {
                store.delete_source(revision).await?;
                return Err(error.into());
            }
        };
        self.0.registry.put(organization, &function);
        if let Some(Wired { router, .. }) = self.0.wired.get() {
            let progress = Progress {
                through: self.0.log.head(),
                ..Progress::default()
            };
            router.put(self.lane(organization, &function, progress)).await;
        }
        self.build_in_background(organization, &function);
        Ok(function)
    }

    /// Changes a function and builds it again. A body without a source keeps the one there is.
    pub(crate) async fn update(
        &self,
        organization: &str,
        name: &str,
        mut function: Function,
    ) -> Result<Function, ApiError> {
        check(&function)?;
        self.0
            .containment
            .bounds(&function)
            .map_err(ApiError::bad_request)?;
        let store = &self.0.store;
        let before = store.get::<Function>(organization, name).await?;
        let old = before.faas_id;
        let source = match (source_of(&function, &self.0.reach).await?, old) {
            (Some(source), _) => Some(source),
            (None, Some(old)) => store.source(old).await?,
            (None, None) => None,
        };
        let source =
            source.ok_or_else(|| ApiError::bad_request("either source or sourceURL must be specified"))?;
        let revision = Uuid::new_v4();
        function.faas_id = Some(revision);
        function.status = Some(Status::Updating);
        (function.function_image_url, function.reason) = (None, None);
        function.protections = None;
        store.put_source(revision, source).await?;
        let change = move |stored: &mut Function| {
            let same = stored.faas_id == old;
            if same {
                *stored = function;
            }
            same
        };
        let function = match store.modify_if(organization, name, change).await {
            Ok(function) => function,
            Err(error) => {
                store.delete_source(revision).await?;
                return Err(error.into());
            }
        };
        if let Some(old) = old {
            store.delete_source(old).await?;
        }
        self.0.registry.put(organization, &function);
        self.build_in_background(organization, &function);
        Ok(function)
    }

    /// Forgets a function, its runs and its source, and ends its workers.
    pub(crate) async fn delete(&self, organization: &str, name: &str) -> Result<Function, ApiError> {
        let store = &self.0.store;
        let mut function = store.delete::<Function>(organization, name).await?;
        self.0.builds.cancel(function.id);
        let known = self.0.registry.remove(organization, name);
        if let Some(Wired { router, .. }) = self.0.wired.get() {
            router.remove(SubscriptionId(function.id)).await;
        }
        let deployed = known.and_then(|known| known.ready());
        for revision in [deployed, function.faas_id].into_iter().flatten() {
            self.remove_in_background(revision);
        }
        self.0.ongoing.forget_function(function.id);
        store.delete_runs(function.id).await?;
        if let Some(revision) = function.faas_id {
            store.delete_source(revision).await?;
        }
        function.status = Some(Status::Deleting);
        Ok(function)
    }

    /// Whether this function is there: not one that was deleted, nor its namesake.
    pub(crate) fn has(&self, organization: &str, name: &str, id: Uuid) -> bool {
        let known = self.0.registry.get(organization, name);
        known.is_some_and(|known| known.id == id)
    }

    /// The lanes of all functions, for the router's start: every function has one that only `exec` uses.
    /// `progress` says what the journal knows of a subscription.
    pub(crate) async fn lanes(
        &self,
        progress: impl Fn(SubscriptionId) -> Progress,
    ) -> Result<Vec<Subscription>, StoreError> {
        self.recover_cancelled().await?;
        let mut lanes = Vec::new();
        let mut owing = HashMap::new();
        for (organization, function) in self.0.store.list_all::<Function>().await? {
            self.0.registry.put(&organization, &function);
            let progress = progress(SubscriptionId(function.id));
            owing.insert(
                SubscriptionId(function.id),
                (function.name.clone(), progress.clone()),
            );
            lanes.push(self.lane(&organization, &function, progress));
        }
        self.recover_taken(&owing).await;
        Ok(lanes)
    }

    fn lane(&self, organization: &str, function: &Function, progress: Progress) -> Subscription {
        Subscription {
            id: SubscriptionId(function.id),
            organization: organization.into(),
            name: function.name.as_str().into(),
            filters: Vec::new(),
            sink: self.sink(organization, &function.name, Vec::new()),
            dead_letter_sink: None,
            delivery: EXEC_DELIVERY,
            progress,
        }
    }

    /// Goes on with every function of the store where a stop or a crash left it.
    pub(super) async fn recover(&self) -> Result<(), StoreError> {
        let all = self.0.store.list_all::<Function>().await?;
        let live = all.iter().filter_map(|(_, f)| f.faas_id).collect();
        self.0.store.prune_sources(live).await?;
        for (organization, function) in all {
            let known = self.0.registry.put(&organization, &function);
            match function.status {
                Some(Status::Error) => known.set(State::Broken),
                _ => self.build_in_background(&organization, &function),
            }
        }
        Ok(())
    }

    fn remove_in_background(&self, revision: Uuid) {
        let engine = self.0.engine.clone();
        self.0.tasks.spawn(async move {
            if let Err(error) = engine.remove(revision).await {
                tracing::warn!(%revision, %error, "a revision is not removed");
            }
        });
    }

    fn build_in_background(&self, organization: &str, function: &Function) {
        let Some(revision) = function.faas_id else {
            tracing::error!(function = function.name, "a function has no revision");
            return;
        };
        let build = Build {
            organization: organization.to_owned(),
            name: function.name.clone(),
            id: function.id,
            revision,
            known_good: function.status == Some(Status::Ready),
        };
        let functions = self.clone();
        self.0
            .builds
            .start(function.id, async move { functions.build(build).await });
    }

    async fn build(&self, build: Build) {
        let built = self.deploy(&build).await;
        let (status, url, reason) = match built {
            Ok(url) => (Status::Ready, Some(url), None),
            Err(reason) => (Status::Error, None, Some(vec![reason])),
        };
        let Build { id, revision, .. } = build;
        let protections = self.0.containment.protections();
        let finish = move |function: &mut Function| {
            function.protections = Some(protections);
            (function.status, function.function_image_url, function.reason) = (Some(status), url, reason);
            function.id == id && function.faas_id == Some(revision)
        };
        let written = self
            .0
            .store
            .modify_if(&build.organization, &build.name, finish)
            .await;
        let known = self.0.registry.get(&build.organization, &build.name);
        let (Ok(function), Some(known)) = (&written, known.filter(|k| k.id == id)) else {
            if let Err(error) = written
                && !matches!(error, StoreError::NotFound { .. } | StoreError::Conflict { .. })
            {
                tracing::error!(function = build.name, %error, "the status of a function cannot be written");
            }
            return self.remove_in_background(revision);
        };
        let before = known.ready().filter(|before| *before != revision);
        match status {
            Status::Ready => known.set(State::Ready(revision)),
            _ => {
                let reason = function.reason.iter().flatten().next();
                tracing::warn!(function = build.name, reason, "a function cannot be deployed");
                known.set(State::Broken);
            }
        }
        if let Some(before) = before {
            self.remove_in_background(before);
        }
    }

    /// Deploys a revision; the image's URL, or why it cannot be deployed.
    async fn deploy(&self, build: &Build) -> Result<String, String> {
        let Some(Wired { images, .. }) = self.0.wired.get() else {
            return Err("the hub is starting".to_owned());
        };
        let store = &self.0.store;
        let function = store.get::<Function>(&build.organization, &build.name).await;
        let function = function.map_err(|e| e.to_string())?;
        // Until the engine stands on them, the image's packages stay where they are.
        let _kept = images.keep().await;
        let image = images.prepared(&build.organization, &function.image).await?;
        if !build.known_good {
            let (id, revision) = (build.id, build.revision);
            let begin = move |function: &mut Function| {
                if function.status == Some(Status::Initialized) {
                    function.status = Some(Status::Creating);
                }
                function.id == id && function.faas_id == Some(revision)
            };
            let begun = store.modify_if(&build.organization, &build.name, begin).await;
            begun.map_err(|e| e.to_string())?;
        }
        let source = store.source(build.revision).await.map_err(|e| e.to_string())?;
        let source = source.ok_or("the source is gone: update the function with its source")?;
        let files = read_source(&source, single_file(&image.language)).map_err(|e| e.to_string())?;
        let bounds = self.0.containment.bounds(&function)?;
        let spec = FunctionSpec {
            revision: build.revision,
            organization: build.organization.clone(),
            name: build.name.clone(),
            language: image.language,
            dependencies: image.dependencies,
            source: files,
            handler: function.handler,
            scale: scale(function.scale.unwrap_or_default()),
            bounds,
        };
        let permit = self.0.permits.acquire().await.map_err(|e| e.to_string())?;
        let mut tries = 0;
        let deployed = loop {
            tries += 1;
            match self.0.engine.deploy(spec.clone()).await {
                Err(FaasError::Unavailable(_)) if tries < DEPLOY_TRIES => {
                    sleep(Duration::from_secs(tries)).await
                }
                ended => break ended,
            }
        };
        drop(permit);
        deployed.map(|()| image.url).map_err(|e| e.to_string())
    }
}

/// What a function says of its workers, as engines are told.
fn scale(said: FunctionScale) -> Scale {
    let milliseconds = |ms: i64| u64::try_from(ms).ok().map(Duration::from_millis);
    Scale {
        min: said.min_workers,
        max: said.max_workers,
        idle: said.idle_timeout.and_then(milliseconds),
        concurrency: said.concurrency,
    }
}

/// What the schema's own checks leave to the hub.
fn check(function: &Function) -> Result<(), ApiError> {
    function.check()?;
    let bad = |error: BadSchema| ApiError::bad_request(error.to_string());
    Schemas::of(function).check().map_err(bad)?;
    if function
        .services
        .as_ref()
        .is_some_and(|services| !services.is_empty())
    {
        return Err(ApiError::bad_request(
            "services are not supported: leave them out",
        ));
    }
    Ok(())
}

/// The checked source of a body, if it has one: decoded, or fetched.
async fn source_of(function: &Function, reach: &Reach) -> Result<Option<Vec<u8>>, ApiError> {
    let given = |text: &Option<String>| text.clone().filter(|t| !t.is_empty());
    let bytes = match (given(&function.source), given(&function.source_url)) {
        (Some(text), _) => STANDARD
            .decode(text.as_bytes())
            .map_err(|e| ApiError::bad_request(format!("source: is not base64: {e}")))?,
        (None, Some(url)) => fetch(&url, reach).await?,
        (None, None) => return Ok(None),
    };
    // Unpacking an archive that is meant to be large takes a while.
    let read = tokio::task::spawn_blocking(move || read_source(&bytes, "source").map(|_| bytes));
    match read.await {
        Ok(Ok(bytes)) => Ok(Some(bytes)),
        Ok(Err(error @ SourceError::TooLarge(_))) => Err(ApiError::too_large(error.to_string())),
        Ok(Err(error)) => Err(ApiError::bad_request(error.to_string())),
        Err(error) => {
            tracing::error!(%error, "a source cannot be read");
            Err(ApiError::internal("the source cannot be read"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_hub_cannot_do_yet_is_refused_and_not_ignored() {
        let function = |json: &str| serde_json::from_str::<Function>(json).unwrap();
        let base = r#""name":"f","image":"python3""#;
        let fine = [
            "",
            r#","schema":{}"#,
            r#","schema":{"in":{"type":"object"},"out":null}"#,
            r#","services":[]"#,
        ];
        for more in fine {
            assert!(check(&function(&format!("{{{base}{more}}}"))).is_ok(), "{more}");
        }
        let refused = [
            (
                r#","schema":{"out":{"type":"objec"}}"#,
                "schema.out: is not a JSON Schema at /type",
            ),
            (r#","services":["db"]"#, "services are not supported"),
        ];
        for (more, message) in refused {
            let error = check(&function(&format!("{{{base}{more}}}"))).unwrap_err();
            assert!(
                error.status == 400 && error.message.contains(message),
                "{more}: {}",
                error.message
            );
        }
    }

    #[tokio::test]
    async fn a_source_is_base64_of_a_file_or_an_archive() {
        let function = |source: Option<&str>, url: Option<&str>| Function {
            source: source.map(str::to_owned),
            source_url: url.map(str::to_owned),
            ..Function::default()
        };
        let reach = Reach::default();
        let none = source_of(&function(None, None), &reach).await;
        assert_eq!(none.unwrap(), None);
        let empty = source_of(&function(Some(""), None), &reach).await;
        assert_eq!(empty.unwrap(), None);
        let plain = source_of(&function(Some("eA=="), None), &reach).await.unwrap();
        assert_eq!(plain.unwrap(), b"x");
        for (source, url, message) in [
            (Some("%"), None, "source: is not base64"),
            (Some("H4sIAAE="), None, "no tar.gz archive"),
            (
                None,
                Some("ftp://x"),
                "sourceURL must begin with http:// or https://",
            ),
            (
                None,
                Some("http://169.254.169.254/latest/meta-data"),
                "sourceURL cannot be fetched: 169.254.169.254 is no public address",
            ),
        ] {
            let error = source_of(&function(source, url), &reach).await.unwrap_err();
            assert!(error.message.contains(message), "{}", error.message);
        }
    }
}
