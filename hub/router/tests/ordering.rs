//! Order by key on the paused clock: one of a key at a time, poisoned keys parked, and back in order.
#![allow(clippy::unwrap_used)] // test code

mod harness;
mod memory_log;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dispatch_contract::{Answer, Event, Log as _, NewEvent, Order, Outcome, Settled};
use dispatch_router::{Limits, Subscription, Waits};
use futures_util::FutureExt as _;
use harness::{TestSink, id, route, route_within, settlements, subscription, until};
use memory_log::MemoryLog;

fn keyed(id: impl Into<String>, key: &str) -> Event {
    Event::builder(id, "/test", "test.happened")
        .subject(key)
        .build()
        .unwrap()
}

fn in_order(n: u128, sink: Arc<TestSink>) -> Subscription {
    let mut subscription = subscription(n, sink);
    subscription.delivery.order = Order::Key;
    subscription.delivery.retry = 1;
    subscription.delivery.backoff_delay = Duration::from_millis(10);
    subscription
}

/// Refuses events of the key `poison` until it is mended.
fn poisoned() -> (Arc<TestSink>, Arc<AtomicBool>) {
    let mended = Arc::new(AtomicBool::new(false));
    let is_mended = mended.clone();
    let sink = TestSink::answering(move |d| match d.event.key() {
        Some("poison") if !is_mended.load(Ordering::Relaxed) => Answer::rejected("poisoned"),
        _ => Answer::accepted(),
    });
    (sink, mended)
}

fn of_key(sink: &TestSink, key: &str) -> Vec<String> {
    let calls = sink.calls().into_iter();
    let calls = calls.filter(|d| d.event.key() == Some(key));
    calls.map(|d| d.event.id().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn of_each_key_one_event_is_out_at_a_time_and_all_go_in_order() {
    let log = MemoryLog::new();
    let out: Arc<Mutex<HashSet<String>>> = Arc::default();
    let at_once = Arc::new(Mutex::new(0));
    let (is_out, most) = (out.clone(), at_once.clone());
    let sink = TestSink::working(move |d| {
        let (is_out, most) = (is_out.clone(), most.clone());
        async move {
            let key = d.event.key().unwrap().to_owned();
            {
                let mut is_out = is_out.lock().unwrap();
                assert!(is_out.insert(key.clone()), "{key} is out already");
                let mut most = most.lock().unwrap();
                *most = (*most).max(is_out.len());
            }
            tokio::time::sleep(Duration::from_millis(1 + d.sequence % 7)).await;
            is_out.lock().unwrap().remove(&key);
            // Every fifth fails once.
            match d.attempt == 1 && d.sequence % 5 == 0 {
                true => Answer::from(Outcome::Released {
                    reason: "once".into(),
                    code: Some(500),
                    after: None,
                }),
                false => Answer::accepted(),
            }
        }
        .boxed()
    });
    let mut narrow = in_order(1, sink.clone());
    narrow.delivery.max_in_flight = 64;
    let (_router, _task) = route(&log, vec![narrow]);

    for n in 0..3000 {
        log.append_event("dispatch", keyed(format!("{n}"), &format!("k{}", n % 100)));
    }
    settlements(&log, id(1), 3000).await;

    let mut last: HashMap<String, u64> = HashMap::new();
    for delivery in sink.calls() {
        let last = last.entry(delivery.event.key().unwrap().to_owned()).or_default();
        assert!(*last < delivery.sequence || delivery.attempt > 1, "out of order");
        *last = delivery.sequence;
    }
    assert_eq!(*at_once.lock().unwrap(), 64, "different keys go together");
}

#[tokio::test(start_paused = true)]
async fn a_poisoned_key_is_parked_while_the_others_flow_and_goes_on_in_order_when_unparked() {
    let log = MemoryLog::new();
    let (sink, mended) = poisoned();
    let (router, _task) = route(&log, vec![in_order(1, sink.clone())]);

    for n in 0..5000 {
        let key = if n % 10 == 0 {
            "poison".to_owned()
        } else {
            format!("k{}", n % 997)
        };
        log.append_event("dispatch", keyed(format!("{n}"), &key));
    }
    settlements(&log, id(1), 4500).await;

    let status = router.status(id(1)).await.unwrap();
    assert_eq!((status.parked_keys, status.behind_keys), (1, 500));
    assert_eq!((status.queued, status.dead_lettered), (0, 0));
    assert_eq!(of_key(&sink, "poison"), ["0"], "one attempt, of the first");
    let pending = router.pending("dispatch", Some(id(1)), 2).await;
    assert_eq!((pending[0].waits, pending[0].sequence), (Waits::Unpark, 1));
    assert_eq!(pending[0].failures[0].reason, "poisoned");
    assert_eq!(pending[1].waits, Waits::Key);

    assert_eq!(router.unpark(id(1), Some("k1".into()), false).await, Some(0));
    mended.store(true, Ordering::Relaxed);
    assert_eq!(router.unpark(id(1), Some("poison".into()), false).await, Some(1));
    settlements(&log, id(1), 5000).await;

    let expected: Vec<String> = ["0".to_owned()]
        .into_iter()
        .chain((0..5000).step_by(10).map(|n| n.to_string()))
        .collect();
    assert_eq!(of_key(&sink, "poison"), expected);
    assert!(
        log.settlements(id(1))
            .iter()
            .all(|s| s.settled == Settled::Delivered)
    );
}

#[tokio::test(start_paused = true)]
async fn skipping_makes_the_parked_event_a_dead_letter_and_its_key_goes_on() {
    let log = MemoryLog::new();
    let sink = TestSink::answering(|d| match d.event.id() {
        "bad" => Answer::rejected("poisoned"),
        _ => Answer::accepted(),
    });
    let (router, _task) = route(&log, vec![in_order(1, sink.clone())]);
    for id in ["a", "bad", "b", "c"] {
        log.append_event("dispatch", keyed(id, "k"));
    }
    until("the key is parked", || sink.calls().len() == 2).await;
    settlements(&log, id(1), 1).await;

    assert_eq!(router.unpark(id(1), None, true).await, Some(1));
    let settled = settlements(&log, id(1), 4).await;

    assert_eq!(sink.ids(), ["a", "bad", "b", "c"]);
    let bad = settled.iter().find(|s| s.event == 2).unwrap();
    assert_eq!((bad.settled, bad.attempts), (Settled::DeadLettered, 1));
    let reasons: Vec<&str> = bad.failures.iter().map(|f| f.reason.as_str()).collect();
    assert_eq!(reasons, ["poisoned", "skipped by command"]);
}

#[tokio::test(start_paused = true)]
async fn a_restart_tries_what_was_parked_again() {
    let log = MemoryLog::new();
    let (sink, mended) = poisoned();
    let (router, _task) = route(&log, vec![in_order(1, sink.clone())]);
    for n in 0..20 {
        let key = if n < 10 { "poison" } else { "fine" };
        log.append_event("dispatch", keyed(format!("{n}"), key));
    }
    settlements(&log, id(1), 10).await;
    assert!(router.drain(Duration::from_secs(1)).await.finished);
    mended.store(true, Ordering::Relaxed);

    let mut again = in_order(1, sink.clone());
    again.progress = log.progress(id(1), 0);
    let (_router, _task) = route(&log, vec![again]);
    settlements(&log, id(1), 20).await;

    let expected: Vec<String> = std::iter::once("0".to_owned())
        .chain((0..10).map(|n| n.to_string()))
        .collect();
    assert_eq!(of_key(&sink, "poison"), expected);
}

#[tokio::test(start_paused = true)]
async fn too_many_parked_events_are_given_up_in_order_and_never_stop_the_lane() {
    let log = MemoryLog::new();
    let (sink, _) = poisoned();
    let limits = Limits {
        set_aside: 50,
        ..Limits::default()
    };
    let (router, _task) = route_within(&log, vec![in_order(1, sink.clone())], limits);

    for n in 0..1000 {
        let key = if n % 2 == 0 { "poison" } else { "fine" };
        log.append_event("dispatch", keyed(format!("{n}"), key));
    }
    until("the others flow", || of_key(&sink, "fine").len() == 500).await;

    let status = router.status(id(1)).await.unwrap();
    assert!(status.behind_keys <= 50, "{status:?}");
    let letters: Vec<_> = log.settlements(id(1));
    let letters: Vec<_> = letters
        .iter()
        .filter(|s| s.settled == Settled::DeadLettered)
        .collect();
    assert!(letters.len() >= 450);
    assert!(letters.windows(2).all(|pair| pair[0].event < pair[1].event));
    let reason = &letters[5].failures.last().unwrap().reason;
    assert!(reason.contains("too many"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_key_is_not_parked_for_ever() {
    let log = MemoryLog::new();
    let (sink, _) = poisoned();
    let dead = TestSink::accepting();
    let mut keeps_order = in_order(1, sink.clone());
    keeps_order.dead_letter_sink = Some(dead.clone());
    let (_router, _task) = route(&log, vec![keeps_order]);

    for n in 0..3 {
        log.append_event("dispatch", keyed(format!("{n}"), "poison"));
    }
    until("it is tried", || sink.calls().len() == 1).await;
    tokio::time::sleep(Limits::default().longest_parked + Duration::from_secs(1)).await;
    let settled = settlements(&log, id(1), 3).await;

    assert!(settled.iter().all(|s| s.settled == Settled::DeadLettered));
    assert_eq!(dead.ids(), ["0", "1", "2"]);
    let first = &dead.calls()[0].event;
    assert_eq!(
        first.attribute("knativeerrordata"),
        Some("it was parked too long: poisoned")
    );
    log.append_event("dispatch", keyed("3", "poison"));
    until("its key is tried again", || sink.calls().len() == 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_retried_holds_back_only_itself_however_many_wait_for_it() {
    let log = MemoryLog::new();
    let sink = TestSink::answering(|d| match (d.event.id(), d.attempt) {
        ("0", 1) => Answer::from(Outcome::Released {
            reason: "not yet".into(),
            code: Some(409),
            after: Some(Duration::from_secs(10)),
        }),
        _ => Answer::accepted(),
    });
    let (router, _task) = route(&log, vec![in_order(1, sink.clone())]);

    for n in 0..6000 {
        let key = if n % 2 == 0 { "hot" } else { "other" };
        log.append_event("dispatch", keyed(format!("{n}"), key));
    }
    settlements(&log, id(1), 3000).await;
    let status = router.status(id(1)).await.unwrap();
    let waiting = sink.calls().len();
    settlements(&log, id(1), 6000).await;

    assert_eq!((status.behind_keys, status.parked_keys), (2999, 0));
    assert_eq!(waiting, 3001);
    let hot: Vec<String> = of_key(&sink, "hot").split_off(1);
    assert_eq!(
        hot,
        (0..6000).step_by(2).map(|n| n.to_string()).collect::<Vec<_>>()
    );
}

#[tokio::test(start_paused = true)]
async fn redriven_events_keep_the_order_too_and_events_without_a_key_wait_for_nobody() {
    let log = MemoryLog::new();
    let (sink, mended) = poisoned();
    let (router, _task) = route(&log, vec![in_order(1, sink.clone())]);
    log.append_event("dispatch", keyed("first", "poison"));
    let group = dispatch_contract::Group {
        events: vec![NewEvent {
            organization: "dispatch".into(),
            event: keyed("targeted", "poison"),
            target: Some(id(1)),
        }],
        ..Default::default()
    };
    log.append(group).await.unwrap();
    log.append_event("dispatch", harness::event("free"));
    settlements(&log, id(1), 1).await;

    assert_eq!(sink.ids(), ["first", "free"]);
    mended.store(true, Ordering::Relaxed);
    router.unpark(id(1), None, false).await;
    settlements(&log, id(1), 3).await;

    assert_eq!(sink.ids(), ["first", "free", "first", "targeted"]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_long_stops_nobody_and_a_restart_tries_nothing_else_again() {
    let log = MemoryLog::new();
    let (sink, mended) = poisoned();
    let limits = Limits {
        beyond: 100,
        ..Limits::default()
    };
    let (router, _task) = route_within(&log, vec![in_order(1, sink.clone())], limits.clone());

    for n in 0..5000 {
        let key = if n % 500 == 10 { "poison" } else { "fine" };
        log.append_event("dispatch", keyed(format!("{n}"), key));
    }
    settlements(&log, id(1), 4990).await;
    assert!(router.drain(Duration::from_secs(1)).await.finished);

    let progress = log.progress(id(1), 0);
    assert_eq!(progress.owed.len() + progress.beyond.len(), 10, "{progress:?}");
    mended.store(true, Ordering::Relaxed);
    let tried = sink.calls().len();
    let mut again = in_order(1, sink.clone());
    again.progress = progress;
    let (_router, _task) = route_within(&log, vec![again], limits);
    settlements(&log, id(1), 5000).await;

    let expected: Vec<String> = (10..5000).step_by(500).map(|n| n.to_string()).collect();
    assert_eq!(sink.ids().split_off(tried), expected);
    until("nothing is owed", || {
        let progress = log.progress(id(1), 0);
        progress.owed.is_empty() && progress.beyond.is_empty()
    })
    .await;
}
