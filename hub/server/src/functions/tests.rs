//! Functions on a real journal, store, router and engine: from a body to a run.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dispatch_contract::{DeliverySpec, Event, Group, Log, NewEvent, Progress, Record, SubscriptionId};
use dispatch_journal::Journal;
use dispatch_router::{Filter, FilterVersion, Router, Silent, Subscription};
use dispatch_schemas::{BaseImage, Function, Image, Run, Secret, Status};
use dispatch_store::{RunQuery, Store};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::exec::Exec;
use super::{Functions, Ground};
use crate::images::Images;
use crate::images::builds::Builds;
use crate::stream::Live;

const HELLO: &str =
    "def handle(ctx, payload):\n    print('out')\n    return {'hello': payload, 'ctx': ctx}\n";

/// The parts of a hub that functions need, started and stopped as a hub does.
struct Stage {
    functions: Functions,
    images: Images,
    store: Store,
    journal: Journal,
    router: Router,
    router_task: tokio::task::JoinHandle<()>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Stage {
    async fn new(data: &Path) -> Self {
        Self::with(data, Vec::new()).await
    }

    /// `subscribed`: a subscription to the type `t` for each of these functions, under this id.
    async fn with(data: &Path, subscribed: Vec<(Uuid, &str, DeliverySpec)>) -> Self {
        let (journal, recovered) =
            Journal::open(&data.join("journal"), dispatch_journal::Options::default()).unwrap();
        let (store, log) = (
            Store::open(data).unwrap(),
            Arc::new(journal.clone()) as Arc<dyn Log>,
        );
        let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
        let functions = Functions::open(Ground {
            store: store.clone(),
            log: log.clone(),
            live: Live::new(),
            folder: data.join("functions"),
            max_input: 1 << 20,
            shutdown: shutdown.clone(),
            tasks: tasks.clone(),
        })
        .unwrap();
        let builds = Builds::new(shutdown.clone(), tasks.clone());
        let images = Images::open(store.clone(), data.join("images"), builds).unwrap();
        let progress: HashMap<SubscriptionId, Progress> = recovered.progress;
        let known = |id: SubscriptionId| progress.get(&id).cloned().unwrap_or_default();
        let mut lanes = functions.lanes(known).await.unwrap();
        for (id, function, delivery) in subscribed {
            lanes.push(Subscription {
                id: SubscriptionId(id),
                organization: "dispatch".into(),
                name: "sub".into(),
                filters: vec![FilterVersion {
                    from: 0,
                    filter: Filter::Exact(vec![("type".into(), "t".into())]),
                }],
                sink: functions.sink("dispatch", function, Vec::new()),
                dead_letter_sink: None,
                delivery,
                progress: known(SubscriptionId(id)),
            });
        }
        let watch = functions.watch(Arc::new(Silent));
        let (router, router_task) = dispatch_router::start(
            log,
            recovered.head,
            lanes,
            dispatch_router::Limits::default(),
            watch,
        );
        functions.wire(router.clone(), images.clone()).await;
        images.wire(functions.engine()).await;
        Self {
            functions,
            images,
            store,
            journal,
            router,
            router_task,
            shutdown,
            tasks,
        }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.router.drain(Duration::from_secs(2)).await;
        self.functions.stop().await;
        self.journal.close().await;
        within(self.router_task).await.unwrap();
        self.store.close().await;
        self.tasks.close();
        within(self.tasks.wait()).await;
    }

    /// The images `python3` and, with a language nobody knows, `cobol`.
    async fn seed(&self) {
        for language in ["python3", "cobol"] {
            let base = BaseImage {
                name: format!("{language}-base"),
                docker_url: "x/y:1".into(),
                language: language.into(),
                ..BaseImage::default()
            };
            self.images.create_base("dispatch", base).await.unwrap();
            let image = Image {
                name: language.into(),
                base_image_name: format!("{language}-base"),
                ..Image::default()
            };
            self.images.create("dispatch", image).await.unwrap();
        }
    }

    async fn create(&self, name: &str, source: &str) -> Function {
        let created = self
            .functions
            .create("dispatch", function(name, source))
            .await
            .unwrap();
        assert_eq!(created.status, Some(Status::Initialized));
        self.settled(name).await
    }

    /// The function, once it is READY or ERROR.
    async fn settled(&self, name: &str) -> Function {
        let start = Instant::now();
        loop {
            let function: Function = self.store.get("dispatch", name).await.unwrap();
            if matches!(function.status, Some(Status::Ready | Status::Error)) {
                return function;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "{:?}", function.status);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn exec(&self, name: &str, asked: Value) -> Arc<Run> {
        let asked = serde_json::from_value(asked).unwrap();
        match within(self.functions.exec(&"dispatch".into(), name, asked))
            .await
            .unwrap()
        {
            Exec::Ended(run) => run,
            Exec::Taken(run) => panic!("not waited for: {run:?}"),
        }
    }

    async fn refused(&self, name: &str) -> (u16, String) {
        let refused = self
            .functions
            .exec(&"dispatch".into(), name, Run::default())
            .await;
        let error = refused.unwrap_err();
        (error.status.as_u16(), error.message)
    }

    async fn append(&self, event: Event) {
        let group = Group {
            events: vec![NewEvent {
                organization: "dispatch".into(),
                event,
                target: None,
            }],
            ..Group::default()
        };
        self.journal.append(group).await.unwrap();
    }

    /// The only run, once it is as wanted.
    async fn run_that(&self, wanted: impl Fn(&Run) -> bool) -> Arc<Run> {
        let start = Instant::now();
        loop {
            let runs = self
                .functions
                .runs("dispatch", RunQuery::default())
                .await
                .unwrap();
            if let [run] = &runs[..]
                && wanted(run)
            {
                return run.clone();
            }
            assert!(start.elapsed() < Duration::from_secs(20), "{runs:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Events of this type in the journal, once there are so many.
    async fn told(&self, ty: &str, count: usize) -> Vec<Event> {
        let start = Instant::now();
        loop {
            let mut told = Vec::new();
            let mut next = 1;
            while next <= self.journal.head() {
                let page = self.journal.read(next, 1 << 20).await.unwrap();
                let events = page.entries.into_iter().filter_map(|entry| match entry.record {
                    Record::Event(committed) => Some(committed.event),
                    _ => None,
                });
                told.extend(events.filter(|e| e.ty() == ty));
                next = page.next;
            }
            if told.len() >= count {
                return told;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "{ty} was not told");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), work).await.expect("in time")
}

fn function(name: &str, source: &str) -> Function {
    Function {
        name: name.into(),
        image: "python3".into(),
        source: Some(STANDARD.encode(source)),
        ..Function::default()
    }
}

fn output(run: &Run) -> Value {
    serde_json::from_str(run.output.as_ref().expect("an output").get()).unwrap()
}

fn quick(retry: u32) -> DeliverySpec {
    DeliverySpec {
        retry,
        backoff_delay: Duration::from_millis(100),
        ..DeliverySpec::default()
    }
}

#[tokio::test]
async fn a_function_is_built_called_changed_and_forgotten() {
    let folder = TempDir::new().unwrap();
    let stage = Stage::new(folder.path()).await;
    stage.seed().await;

    let first = stage.create("hello", HELLO).await;
    assert_eq!(
        (first.status, first.reason, first.source),
        (Some(Status::Ready), None, None)
    );
    assert_eq!(first.function_image_url.as_deref(), Some("process:python3"));

    let run = stage
        .exec("hello", json!({"input": {"name": "Jon"}, "blocking": true}))
        .await;
    assert_eq!(run.status, Some(Status::Ready), "{run:?}");
    assert_eq!(
        output(&run),
        json!({"hello": {"name": "Jon"}, "ctx": {"secrets": {}}})
    );
    assert_eq!(
        run.logs.as_ref().unwrap().stdout.as_deref(),
        Some(&["out".to_owned()][..])
    );
    assert_eq!(
        (run.faas_id, run.function_id, run.blocking),
        (first.faas_id, Some(first.id), true)
    );
    assert!(run.finished_time.unwrap() >= run.executed_time && run.executed_time > 0);
    let told = &stage.told("dispatch.run.succeeded", 1).await[0];
    assert_eq!(told.id(), format!("{}-1", run.name));
    assert!(told.attribute("causationid").is_some());
    assert_eq!(
        stage.functions.run("dispatch", run.name).await.unwrap().name,
        run.name
    );

    let changed = Function {
        source: Some(STANDARD.encode("def handle(ctx, payload): return 2\n")),
        ..function("hello", "")
    };
    let updating = stage
        .functions
        .update("dispatch", "hello", changed)
        .await
        .unwrap();
    assert_eq!(updating.status, Some(Status::Updating));
    let second = stage.settled("hello").await;
    assert_eq!((second.status, second.id), (Some(Status::Ready), first.id));
    assert_ne!(second.faas_id, first.faas_id);
    assert_eq!(stage.store.source(first.faas_id.unwrap()).await.unwrap(), None);
    assert_eq!(
        output(&*stage.exec("hello", json!({"blocking": true})).await),
        json!(2)
    );

    let retagged = Function {
        source: None,
        timeout: 5000,
        ..function("hello", "")
    };
    stage
        .functions
        .update("dispatch", "hello", retagged)
        .await
        .unwrap();
    assert_eq!(stage.settled("hello").await.status, Some(Status::Ready));
    assert_eq!(
        output(&*stage.exec("hello", json!({"blocking": true})).await),
        json!(2)
    );

    let gone = stage.functions.delete("dispatch", "hello").await.unwrap();
    assert_eq!(gone.status, Some(Status::Deleting));
    assert_eq!(
        stage
            .functions
            .runs("dispatch", RunQuery::default())
            .await
            .unwrap()
            .len(),
        0
    );
    assert_eq!(
        stage.refused("hello").await,
        (404, "function hello not found".to_owned())
    );
    let left = || {
        std::fs::read_dir(folder.path().join("functions/revisions"))
            .unwrap()
            .count()
    };
    let start = Instant::now();
    while left() > 0 {
        assert!(start.elapsed() < Duration::from_secs(10), "revisions are left");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stage.stop().await;
}

#[tokio::test]
async fn what_cannot_be_built_has_one_reason_and_cannot_be_called() {
    let folder = TempDir::new().unwrap();
    let stage = Stage::new(folder.path()).await;
    stage.seed().await;
    let broken = |name: &str, change: fn(&mut Function)| {
        let mut function = function(name, HELLO);
        change(&mut function);
        function
    };
    let table = [
        (
            broken("handler", |f| f.handler = "hello.nothing".into()),
            "Invalid function file or handler",
        ),
        (
            broken("image", |f| f.image = "missing".into()),
            "image missing not found",
        ),
        (
            broken("language", |f| f.image = "cobol".into()),
            "image cobol is in ERROR: base image cobol-base is in ERROR",
        ),
    ];
    for (function, wanted) in table {
        let name = function.name.clone();
        stage.functions.create("dispatch", function).await.unwrap();
        let settled = stage.settled(&name).await;
        assert_eq!(settled.status, Some(Status::Error));
        let reason = settled.reason.unwrap();
        assert!(reason.len() == 1 && reason[0].contains(wanted), "{reason:?}");
        assert_eq!(
            stage.refused(&name).await,
            (409, format!("function {name} is not READY"))
        );
    }

    let again = stage
        .functions
        .create("dispatch", function("handler", HELLO))
        .await
        .unwrap_err();
    assert_eq!(
        (again.status.as_u16(), again.message.as_str()),
        (409, "function handler already exists")
    );
    let empty = stage
        .functions
        .create("dispatch", function("x", ""))
        .await
        .unwrap_err();
    assert_eq!(empty.message, "either source or sourceURL must be specified");

    let mended = stage
        .functions
        .update("dispatch", "handler", function("handler", HELLO))
        .await
        .unwrap();
    assert_eq!(mended.reason, None);
    assert_eq!(stage.settled("handler").await.status, Some(Status::Ready));
    stage.stop().await;
}

#[tokio::test]
async fn a_call_by_exec_that_fails_is_a_run_and_no_dead_letter() {
    let folder = TempDir::new().unwrap();
    let stage = Stage::new(folder.path()).await;
    stage.seed().await;
    let slow = Function {
        timeout: 200,
        ..function(
            "slow",
            "import time\ndef handle(ctx, payload):\n    print(ctx['deadline'])\n    time.sleep(60)\n",
        )
    };
    stage.functions.create("dispatch", slow).await.unwrap();
    stage.settled("slow").await;
    let picky = stage
        .create("picky", "def handle(ctx, payload): raise ValueError('no')\n")
        .await;

    for (name, ty, message) in [
        ("picky", "InputError", "no"),
        ("slow", "FunctionError", "Function execution exceeded the timeout"),
    ] {
        let run = stage.exec(name, json!({"blocking": true})).await;
        assert_eq!(run.status, Some(Status::Error));
        let error = run.error.clone().unwrap();
        assert_eq!((error.ty.as_str(), error.message.as_str()), (ty, message));
        assert_eq!(
            run.reason,
            Some(vec![format!("error running function: {name}: {message}")])
        );
    }

    stage.told("dispatch.run.failed", 2).await;
    let lane = stage.router.status(SubscriptionId(picky.id)).await.unwrap();
    assert_eq!((lane.delivered, lane.dead_lettered), (1, 0));
    stage.stop().await;
}

#[tokio::test]
async fn secrets_of_the_function_and_of_the_call_are_merged() {
    let folder = TempDir::new().unwrap();
    let stage = Stage::new(folder.path()).await;
    stage.seed().await;
    for (name, values) in [("one", json!({"a": "1", "b": "1"})), ("two", json!({"b": "2"}))] {
        let secret: Secret = serde_json::from_value(json!({"name": name, "secrets": values})).unwrap();
        stage.store.create("dispatch", &secret).await.unwrap();
    }
    let with_secret = Function {
        secrets: vec!["one".into()],
        ..function("f", "def handle(ctx, payload): return ctx['secrets']\n")
    };
    stage.functions.create("dispatch", with_secret).await.unwrap();
    stage.settled("f").await;

    let run = stage
        .exec("f", json!({"blocking": true, "secrets": ["two"]}))
        .await;
    assert_eq!(output(&run), json!({"a": "1", "b": "2"}));
    assert_eq!(run.secrets, ["one", "two"]);
    let run = stage
        .exec("f", json!({"blocking": true, "secrets": ["none"]}))
        .await;
    let error = run.error.clone().unwrap();
    assert_eq!(error.ty, "InputError");
    assert_eq!(
        error.message,
        "error when retrieving secrets from secret store: secret none not found"
    );
    stage.stop().await;
}

#[tokio::test]
async fn an_event_is_a_run_and_a_failing_one_shows_its_next_attempt() {
    let folder = TempDir::new().unwrap();
    let stage = Stage::with(folder.path(), vec![(Uuid::from_u128(1), "f", quick(1))]).await;
    stage.seed().await;
    stage
        .create("f", "def handle(ctx, payload):\n    if payload == 'fail': raise RuntimeError('no')\n    return [ctx['event']['eventType'], ctx['event']['type'], payload]\n")
        .await;

    stage
        .append(Event::builder("1", "/s", "t").json("{\"vm\":1}").build().unwrap())
        .await;

    let run = stage.run_that(|run| run.is_finished()).await;
    assert_eq!(output(&run), json!(["t", "t", {"vm": 1}]));
    assert_eq!(
        (run.subscription.as_deref(), run.attempts),
        (Some("sub"), Some(1))
    );
    assert_eq!(run.event.as_ref().unwrap().event_id, "1");
    stage
        .functions
        .0
        .ongoing
        .forget_function(run.function_id.unwrap());

    stage
        .append(Event::builder("2", "/s", "t").json("\"fail\"").build().unwrap())
        .await;

    let waiting = stage.run_that(|run| run.next_attempt.is_some()).await;
    assert_eq!((waiting.status, waiting.attempts), (Some(Status::Error), Some(1)));
    let ended = stage
        .run_that(|run| run.attempts == Some(2) && run.is_finished())
        .await;
    assert_eq!(
        (ended.name, ended.executed_time),
        (waiting.name, waiting.executed_time)
    );
    let told = stage.told("dispatch.run.failed", 1).await;
    assert_eq!((told.len(), told[0].id()), (1, &*format!("{}-2", ended.name)));
    stage.stop().await;
}

#[tokio::test]
async fn a_call_right_after_the_creation_waits_until_the_function_is_built() {
    let folder = TempDir::new().unwrap();
    let stage = Stage::new(folder.path()).await;
    stage.seed().await;

    let created = stage
        .functions
        .create("dispatch", function("hello", HELLO))
        .await
        .unwrap();
    let run = stage.exec("hello", json!({"blocking": true})).await;

    assert_eq!(created.status, Some(Status::Initialized));
    assert_eq!(run.status, Some(Status::Ready), "{run:?}");
}

#[tokio::test]
async fn a_delivery_after_a_restart_waits_until_the_function_is_deployed_again() {
    let folder = TempDir::new().unwrap();
    let subscription = || vec![(Uuid::from_u128(1), "f", quick(0))];
    let stage = Stage::with(folder.path(), subscription()).await;
    stage.seed().await;
    let before = stage.create("f", HELLO).await;
    stage.router.drain(Duration::from_secs(2)).await;
    // Durable, and nobody delivers them any more.
    stage
        .append(Event::builder("1", "/s", "t").json("1").build().unwrap())
        .await;
    let taken = stage
        .functions
        .exec(&"dispatch".into(), "f", Run::default())
        .await
        .unwrap();
    let Exec::Taken(called) = taken else {
        panic!("nobody asked to wait");
    };
    assert_eq!(called.status, Some(Status::Initialized));
    stage.stop().await;

    let stage = Stage::with(folder.path(), subscription()).await;

    let start = Instant::now();
    let runs = loop {
        let runs = stage
            .functions
            .runs("dispatch", RunQuery::default())
            .await
            .unwrap();
        if runs.len() == 2 && runs.iter().all(|run| run.is_finished()) {
            break runs;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{runs:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(
        runs.iter().all(|run| run.status == Some(Status::Ready)),
        "{runs:?}"
    );
    assert!(runs.iter().any(|run| run.name == called.name));
    let after = stage.settled("f").await;
    assert_eq!(
        (after.faas_id, after.status),
        (before.faas_id, Some(Status::Ready))
    );
    stage.stop().await;
}

#[tokio::test]
async fn an_event_for_a_function_that_is_not_there_is_released() {
    let folder = TempDir::new().unwrap();
    let stage = Stage::with(folder.path(), vec![(Uuid::from_u128(1), "late", quick(20))]).await;
    stage.seed().await;

    stage
        .append(Event::builder("1", "/s", "t").json("1").build().unwrap())
        .await;
    let start = Instant::now();
    while stage
        .router
        .pending("dispatch", None, 10)
        .await
        .first()
        .is_none_or(|p| p.failures.is_empty())
    {
        assert!(start.elapsed() < Duration::from_secs(20), "nothing was tried");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let pending = stage.router.pending("dispatch", None, 10).await;
    assert_eq!(pending[0].failures[0].reason, "function late not found");
    stage.create("late", HELLO).await;

    let run = stage.run_that(|run| run.is_finished()).await;
    assert_eq!(run.status, Some(Status::Ready));
    stage.stop().await;
}
