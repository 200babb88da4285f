//! What the loop's tests share: sinks made of closures, a subscription to change, bounded waiting.
#![allow(clippy::unwrap_used, dead_code)] // test code; each test file uses its own part

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dispatch_contract::{
    Answer, BackoffPolicy, Delivery, DeliverySpec, Event, Log, Progress, Settlement, Sink, SubscriptionId,
};
use dispatch_router::{Filter, FilterVersion, Limits, Router, Silent, Subscription, start};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::memory_log::MemoryLog;

type Work = dyn Fn(Delivery) -> BoxFuture<'static, Answer> + Send + Sync;

/// A sink that remembers when it was called and with what.
pub(crate) struct TestSink {
    work: Box<Work>,
    calls: Mutex<Vec<(Instant, Delivery)>>,
}

impl TestSink {
    /// Answers at once.
    pub(crate) fn answering(answer: impl Fn(&Delivery) -> Answer + Send + Sync + 'static) -> Arc<Self> {
        Self::working(move |delivery| {
            let answer = answer(&delivery);
            async move { answer }.boxed()
        })
    }

    pub(crate) fn working(
        work: impl Fn(Delivery) -> BoxFuture<'static, Answer> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            work: Box::new(work),
            calls: Mutex::default(),
        })
    }

    pub(crate) fn accepting() -> Arc<Self> {
        Self::answering(|_| Answer::accepted())
    }

    pub(crate) fn hanging() -> Arc<Self> {
        Self::working(|_| futures_util::future::pending().boxed())
    }

    pub(crate) fn calls(&self) -> Vec<Delivery> {
        self.calls
            .lock()
            .unwrap()
            .iter()
            .map(|(_, d)| d.clone())
            .collect()
    }

    /// Ids of the events it got, in order.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.calls().iter().map(|d| d.event.id().to_owned()).collect()
    }

    /// Time from each call to the next.
    pub(crate) fn gaps(&self) -> Vec<Duration> {
        let calls = self.calls.lock().unwrap();
        calls.windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
    }
}

impl Sink for TestSink {
    fn deliver(&self, delivery: Delivery) -> BoxFuture<'_, Answer> {
        self.calls
            .lock()
            .unwrap()
            .push((Instant::now(), delivery.clone()));
        (self.work)(delivery)
    }

    fn destination(&self) -> Option<Arc<str>> {
        Some("test://sink".into())
    }
}

pub(crate) fn id(n: u128) -> SubscriptionId {
    SubscriptionId(uuid::Uuid::from_u128(n))
}

/// Wants everything of `dispatch`, retries three times, linear, after 1 s, 2 s, 3 s.
pub(crate) fn subscription(n: u128, sink: Arc<TestSink>) -> Subscription {
    Subscription {
        id: id(n),
        organization: "dispatch".into(),
        name: format!("sub-{n}").into(),
        filters: vec![FilterVersion {
            from: 1,
            filter: Filter::All(vec![]),
        }],
        sink,
        dead_letter_sink: None,
        delivery: DeliverySpec {
            retry: 3,
            backoff_policy: BackoffPolicy::Linear,
            backoff_delay: Duration::from_secs(1),
            ..DeliverySpec::default()
        },
        progress: Progress::default(),
    }
}

pub(crate) fn event(id: impl Into<String>) -> Event {
    Event::builder(id, "/test", "test.happened").build().unwrap()
}

pub(crate) fn route(log: &Arc<MemoryLog>, subscriptions: Vec<Subscription>) -> (Router, JoinHandle<()>) {
    route_within(log, subscriptions, Limits::default())
}

pub(crate) fn route_within(
    log: &Arc<MemoryLog>,
    subscriptions: Vec<Subscription>,
    limits: Limits,
) -> (Router, JoinHandle<()>) {
    start(log.clone(), log.head(), subscriptions, limits, Arc::new(Silent))
}

/// Waits until it holds, at most two hours of the paused clock.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..720_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain until {what}");
}

/// The settlements of a subscription once there are `count`.
pub(crate) async fn settlements(log: &Arc<MemoryLog>, id: SubscriptionId, count: usize) -> Vec<Settlement> {
    until("all deliveries are settled", || {
        log.settlements(id).len() >= count
    })
    .await;
    log.settlements(id)
}
