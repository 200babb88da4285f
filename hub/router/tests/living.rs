//! The router's life on the paused clock: falling behind and catching up, changes, restarts, drains, a log
//! that fails.
#![allow(clippy::unwrap_used)] // test code

mod harness;
mod memory_log;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dispatch_contract::{Answer, AppendError, Log as _, Outcome, Record};
use dispatch_router::{Drained, Filter, FilterVersion, Limits};
use futures_util::FutureExt as _;
use harness::{TestSink, event, id, route, route_within, settlements, subscription, until};
use memory_log::MemoryLog;
use tokio::time::{Instant, sleep, timeout};

const TINY: usize = 4;

fn tiny() -> Limits {
    Limits {
        queue_events: TINY,
        read_bytes: 7 * 256,
        ..Limits::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_falls_behind_again_and_again_misses_nothing_and_doubles_nothing() {
    let log = MemoryLog::new();
    let sink = TestSink::working(|_| {
        async {
            sleep(Duration::from_millis(7)).await;
            Answer::accepted()
        }
        .boxed()
    });
    let mut slow = subscription(1, sink.clone());
    slow.delivery.max_in_flight = 3;
    let (router, _task) = route_within(&log, vec![slow], tiny());

    let producer = {
        let log = log.clone();
        tokio::spawn(async move {
            for n in 0..300u64 {
                log.append_event("dispatch", event(format!("e{n}")));
                if n % 10 == 9 {
                    sleep(Duration::from_millis(n * 7 % 61)).await;
                }
            }
        })
    };
    let mut was = (false, false);
    while log.settlements(id(1)).len() < 300 {
        let status = router.status(id(1)).await.unwrap();
        assert!(status.queued + status.in_flight + status.retrying <= TINY);
        was = (was.0 | status.behind, was.1 | !status.behind);
        sleep(Duration::from_millis(3)).await;
    }
    timeout(Duration::from_secs(1), producer).await.unwrap().unwrap();

    assert_eq!(was, (true, true), "the lane was behind, and was live");
    let mut ids = sink.ids();
    assert_eq!(ids.len(), 300);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 300);
    until("nothing is owed any more", || router.floor() >= 300).await;
    assert!(!router.status(id(1)).await.unwrap().behind);
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_where_the_log_says() {
    let log = MemoryLog::new();
    for n in 0..50 {
        log.append_event("dispatch", event(format!("e{n}")));
    }
    let first = TestSink::answering(|d| match d.sequence {
        10 => Answer::released("not this one"),
        _ => Answer::accepted(),
    });
    let (router, task) = route(&log, vec![subscription(1, first.clone())]);
    settlements(&log, id(1), 49).await;
    drop(router);
    timeout(Duration::from_secs(1), task).await.unwrap().unwrap();
    log.append_event("dispatch", event("later"));

    let second = TestSink::accepting();
    let mut again = subscription(1, second.clone());
    again.progress = log.progress(id(1), 0);
    let (_router, _task) = route(&log, vec![again]);
    settlements(&log, id(1), 51).await;

    assert_eq!(second.ids(), ["e9", "later"]);
}

#[tokio::test(start_paused = true)]
async fn a_drain_lets_attempts_end_and_writes_what_they_came_to() {
    let log = MemoryLog::new();
    let sink = TestSink::working(|_| {
        async {
            sleep(Duration::from_secs(2)).await;
            Answer::accepted()
        }
        .boxed()
    });
    let mut narrow = subscription(1, sink.clone());
    narrow.delivery.max_in_flight = 3;
    let (router, task) = route(&log, vec![narrow]);
    for n in 0..9 {
        log.append_event("dispatch", event(format!("e{n}")));
    }
    until("attempts are under way", || sink.calls().len() == 3).await;

    let drained = router.drain(Duration::from_secs(5)).await;

    let whole = Drained {
        finished: true,
        in_flight_left: 0,
    };
    assert_eq!(drained, whole);
    assert_eq!(sink.calls().len(), 3, "nothing new starts");
    assert_eq!(log.settlements(id(1)).len(), 3);
    let last = log.entries().pop().unwrap().record;
    assert!(
        matches!(&last, Record::Through(mark) if mark.sequence == 3),
        "{last:?}"
    );
    timeout(Duration::from_secs(1), task).await.unwrap().unwrap();
    assert!(router.status(id(1)).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_in_time_and_says_what_was_cut_off() {
    let log = MemoryLog::new();
    let (hanging, quick) = (TestSink::hanging(), TestSink::accepting());
    let subscribed = vec![subscription(1, hanging.clone()), subscription(2, quick)];
    let (router, task) = route(&log, subscribed);
    log.append_event("dispatch", event("e"));
    settlements(&log, id(2), 1).await;
    until("an attempt is under way", || !hanging.calls().is_empty()).await;
    let asked = Instant::now();

    let drained = router.drain(Duration::from_secs(3)).await;

    assert!(asked.elapsed() <= Duration::from_secs(3));
    assert_eq!((drained.finished, drained.in_flight_left), (false, 1));
    assert!(log.settlements(id(1)).is_empty());
    assert_eq!(log.progress(id(2), 0).through, 1);
    timeout(Duration::from_secs(1), task).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_log_that_takes_nothing_for_a_while_loses_no_settlement() {
    let log = MemoryLog::new();
    let full = AppendError::Unavailable {
        reason: "disk full".into(),
        retry_after: Duration::from_secs(1),
    };
    log.fail_notes(vec![full; 20]);
    let sink = TestSink::accepting();
    let limits = Limits {
        unwritten: 10,
        ..Limits::default()
    };
    let mut narrow = subscription(1, sink.clone());
    narrow.delivery.max_in_flight = 20;
    let (router, _task) = route_within(&log, vec![narrow], limits);

    for n in 0..100 {
        log.append_event("dispatch", event(format!("e{n}")));
    }
    sleep(Duration::from_secs(15)).await;
    let meanwhile = sink.calls().len();
    settlements(&log, id(1), 100).await;

    assert!(
        meanwhile < 100,
        "attempts wait while settlements pile up: {meanwhile}"
    );
    assert_eq!(sink.calls().len(), 100);
    until("the floor follows", || router.floor() >= 100).await;
}

#[tokio::test(start_paused = true)]
async fn a_removed_subscription_is_cut_off_and_forgotten() {
    struct Flag(Arc<AtomicBool>);
    impl Drop for Flag {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let log = MemoryLog::new();
    let dropped = Arc::new(AtomicBool::new(false));
    let sink = {
        let dropped = dropped.clone();
        TestSink::working(move |_| {
            let flag = Flag(dropped.clone());
            async move {
                futures_util::future::pending::<()>().await;
                drop(flag);
                Answer::accepted()
            }
            .boxed()
        })
    };
    let (router, _task) = route(&log, vec![subscription(1, sink.clone())]);
    log.append_event("dispatch", event("e"));
    until("the attempt is under way", || !sink.calls().is_empty()).await;

    router.remove(id(1)).await;

    until("the attempt is cut off", || dropped.load(Ordering::SeqCst)).await;
    log.append_event("dispatch", event("after"));
    until("nothing is owed any more", || router.floor() >= 1).await;
    assert!(router.status(id(1)).await.is_none());
    assert_eq!(sink.ids(), ["e"]);
    assert!(log.settlements(id(1)).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_mended_sink_gets_what_waits_for_the_old_one() {
    let log = MemoryLog::new();
    let (broken, mended) = (
        TestSink::answering(|_| Answer::released("broken")),
        TestSink::accepting(),
    );
    let (router, _task) = route(&log, vec![subscription(1, broken.clone())]);
    log.append_event("dispatch", event("e"));
    until("the first attempt was made", || !broken.calls().is_empty()).await;

    router.put(subscription(1, mended.clone())).await;
    let settled = settlements(&log, id(1), 1).await;

    assert_eq!(mended.ids(), ["e"]);
    assert_eq!((settled[0].attempts, settled[0].failures.len()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn an_event_is_judged_by_the_filters_that_were_in_force_when_it_came() {
    let log = MemoryLog::new();
    let sink = TestSink::working(|_| {
        async {
            sleep(Duration::from_millis(50)).await;
            Answer::accepted()
        }
        .boxed()
    });
    let mut changing = subscription(1, sink.clone());
    changing.delivery.max_in_flight = 1;
    let (router, _task) = route_within(&log, vec![changing.clone()], tiny());
    for n in 0..20 {
        log.append_event("dispatch", event(format!("old-{n}")));
    }
    until("the lane is behind", || !sink.calls().is_empty()).await;

    changing.filters.push(FilterVersion {
        from: log.head() + 1,
        filter: Filter::All(vec![Filter::exact("subject", "wanted")]),
    });
    router.put(changing).await;
    log.append_event("dispatch", event("unwanted"));
    let wanted = event("new").to_builder().subject("wanted").build().unwrap();
    log.append_event("dispatch", wanted);
    settlements(&log, id(1), 21).await;

    let ids = sink.ids();
    assert_eq!(ids.len(), 21);
    assert_eq!(ids[19..], ["old-19", "new"]);
}

#[tokio::test(start_paused = true)]
async fn idle_subscriptions_follow_the_log_so_that_a_restart_reads_little() {
    let log = MemoryLog::new();
    let mut idle = subscription(1, TestSink::accepting());
    idle.filters.clear();
    let (router, _task) = route(&log, vec![idle]);

    for n in 0..100 {
        log.append_event("other", event(format!("e{n}")));
    }
    until("its mark follows", || log.progress(id(1), 0).through == 100).await;

    assert_eq!(log.head(), 101, "one mark is enough");
    assert!(router.floor() >= 100);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_retried_for_long_does_not_stop_its_lane() {
    let log = MemoryLog::new();
    let sink = TestSink::answering(|d| match d.event.id() {
        "e0" => Answer::from(Outcome::Released {
            reason: "not yet".into(),
            code: Some(409),
            after: Some(Duration::from_secs(30)),
        }),
        _ => Answer::accepted(),
    });
    let limits = Limits {
        beyond: 50,
        ..Limits::default()
    };
    let (_router, _task) = route_within(&log, vec![subscription(1, sink.clone())], limits);

    for n in 0..2000 {
        log.append_event("dispatch", event(format!("e{n}")));
    }
    tokio::time::sleep(Duration::from_secs(20)).await;

    assert_eq!(log.settlements(id(1)).len(), 1999);
    let progress = log.progress(id(1), 0);
    assert!(
        progress.owed.contains(&1) && progress.beyond.len() <= 50,
        "{progress:?}"
    );
}
