//! Functions on a real journal, store, router and engine: from a body to a run.

mod calls;
mod deliveries;
mod lifecycle;

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
use super::{Containment, Functions, Ground, Reach};
use crate::config::{Limits, LiveLimits};
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
            engine: dispatch_sink_process::Settings::new(data.join("functions")),
            containment: Containment::default(),
            reach: Reach::default(),
            limits: LiveLimits::new(Limits::default()),
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
        // No read model follows the journal here.
        functions.caught_up();
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
                .unwrap()
                .runs;
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
