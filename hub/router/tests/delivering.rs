//! One delivery on the paused clock: attempts, waits, dead letters, and what a delivery causes.
#![allow(clippy::unwrap_used)] // test code

mod harness;
mod memory_log;

use std::sync::Arc;
use std::time::Duration;

use dispatch_contract::{Answer, DeliverySpec, Event, Outcome, Settled, ext};
use futures_util::FutureExt as _;
use harness::{TestSink, event, id, route, settlements, subscription, until};
use memory_log::MemoryLog;

fn near(gap: Duration, seconds: f64) -> bool {
    (gap.as_secs_f64() / seconds - 1.0).abs() < 0.11
}

#[tokio::test(start_paused = true)]
async fn a_failing_delivery_follows_the_default_table_and_ends_as_a_dead_letter() {
    let log = MemoryLog::new();
    let sink = TestSink::answering(|d| {
        Answer::from(Outcome::Released {
            reason: format!("busy {}", d.attempt),
            code: Some(503),
            after: None,
        })
    });
    let mut defaults = subscription(1, sink.clone());
    defaults.delivery = DeliverySpec::default();
    let (_router, _task) = route(&log, vec![defaults]);

    let sequence = log.append_event("dispatch", event("e"));
    let settled = settlements(&log, id(1), 1).await;

    let gaps = sink.gaps();
    assert_eq!(gaps.len(), 10);
    for (n, gap) in gaps.iter().enumerate() {
        assert!(near(*gap, 0.2 * f64::from(1 << n)), "wait {n} was {gap:?}");
    }
    assert_eq!(settled[0].settled, Settled::DeadLettered);
    assert_eq!((settled[0].event, settled[0].attempts), (sequence, 11));
    let reasons: Vec<_> = settled[0].failures.iter().map(|f| f.reason.clone()).collect();
    assert_eq!(reasons, (1..=11).map(|n| format!("busy {n}")).collect::<Vec<_>>());
    assert!(settled[0].failures.iter().all(|f| f.code == Some(503)));
    let attempts: Vec<_> = sink.calls().iter().map(|d| d.attempt).collect();
    assert_eq!(attempts, (1..=11).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_refused_delivery_is_a_dead_letter_at_once() {
    let log = MemoryLog::new();
    let sink = TestSink::answering(|_| Answer::rejected("no such thing"));
    let (_router, _task) = route(&log, vec![subscription(1, sink.clone())]);

    log.append_event("dispatch", event("e"));
    let settled = settlements(&log, id(1), 1).await;

    assert_eq!(settled[0].settled, Settled::DeadLettered);
    assert_eq!(settled[0].failures[0].reason, "no such thing");
    assert_eq!(sink.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_waited_for_but_not_for_ever() {
    let log = MemoryLog::new();
    let sink = TestSink::answering(|d| match d.attempt {
        3 => Answer::accepted(),
        attempt => Answer::from(Outcome::Released {
            reason: "later".into(),
            code: Some(429),
            after: Some(Duration::from_secs(if attempt == 1 { 20 } else { 86_400 })),
        }),
    });
    let (_router, _task) = route(&log, vec![subscription(1, sink.clone())]);

    log.append_event("dispatch", event("e"));
    let settled = settlements(&log, id(1), 1).await;

    let gaps = sink.gaps();
    assert!((20.0..=22.1).contains(&gaps[0].as_secs_f64()), "{gaps:?}");
    assert!((600.0..=600.1).contains(&gaps[1].as_secs_f64()), "{gaps:?}");
    assert_eq!(settled[0].settled, Settled::Delivered);
    assert_eq!((settled[0].attempts, settled[0].failures.len()), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn no_answer_in_time_is_tried_again() {
    let log = MemoryLog::new();
    let sink = TestSink::working(|d| {
        async move {
            if d.attempt == 1 {
                tokio::time::sleep(Duration::from_secs(31)).await;
            }
            Answer::accepted()
        }
        .boxed()
    });
    let (_router, _task) = route(&log, vec![subscription(1, sink.clone())]);

    log.append_event("dispatch", event("e"));
    let settled = settlements(&log, id(1), 1).await;

    assert_eq!(settled[0].settled, Settled::Delivered);
    assert_eq!(settled[0].failures[0].reason, "no answer within 30s");
    assert_eq!(settled[0].failures[0].took, 30_000);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_panics_is_tried_again() {
    let log = MemoryLog::new();
    let sink = TestSink::answering(|d| match d.attempt {
        1 => panic!("a bug in a sink"),
        _ => Answer::accepted(),
    });
    let (_router, _task) = route(&log, vec![subscription(1, sink.clone())]);

    log.append_event("dispatch", event("e"));
    let settled = settlements(&log, id(1), 1).await;

    assert_eq!(settled[0].settled, Settled::Delivered);
    assert_eq!(
        settled[0].failures[0].reason,
        "the sink panicked: a bug in a sink"
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_delivery_caused_is_in_the_log_only_when_it_is_settled() {
    let log = MemoryLog::new();
    let sink = TestSink::answering(|d| {
        let reply = Event::builder(format!("reply-{}", d.attempt), "/sink", "dispatch.reply")
            .attribute(ext::HOPS, 0)
            .build()
            .unwrap();
        match d.attempt {
            1 => Answer::released("again").with_event(reply),
            _ => Answer::accepted().with_event(reply),
        }
    });
    let (_router, _task) = route(&log, vec![subscription(1, sink)]);

    log.append_event("dispatch", event("cause"));
    settlements(&log, id(1), 1).await;

    let events = log.events();
    assert_eq!(events.len(), 2);
    let reply = &events[1].1;
    assert_eq!(&*reply.organization, "dispatch");
    assert_eq!(reply.event.id(), "reply-2");
    assert_eq!(reply.event.attribute(ext::CAUSATION), Some("cause"));
    assert_eq!(reply.event.attribute(ext::CORRELATION), Some("cause"));
    assert_eq!(reply.event.attribute(ext::HOPS), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_loop_ends_as_a_dead_letter_that_says_so() {
    let log = MemoryLog::new();
    let echo = TestSink::answering(|d| {
        let id = format!("echo-{}", d.sequence);
        Answer::accepted().with_event(Event::builder(id, "/echo", "test.happened").build().unwrap())
    });
    let (_router, _task) = route(&log, vec![subscription(1, echo.clone())]);

    log.append_event("dispatch", event("first"));
    let settled = settlements(&log, id(1), 17).await;

    let last = &settled[16];
    assert_eq!((last.settled, last.attempts), (Settled::DeadLettered, 0));
    let reason = &last.failures[0].reason;
    assert!(
        reason.starts_with("hop limit of 16 reached: event echo-"),
        "{reason}"
    );
    assert_eq!(echo.calls().len(), 16);
}

#[tokio::test(start_paused = true)]
async fn the_dead_letter_sink_gets_the_event_with_the_reasons() {
    let log = MemoryLog::new();
    let sink = TestSink::answering(|_| {
        Answer::from(Outcome::Rejected {
            reason: "bad\nrequest".into(),
            code: Some(400),
        })
    });
    let graveyard = TestSink::answering(|d| match d.attempt {
        1 => Answer::released("not yet"),
        _ => Answer::accepted(),
    });
    let mut subscribed = subscription(1, sink.clone());
    subscribed.dead_letter_sink = Some(graveyard.clone());
    let (router, _task) = route(&log, vec![subscribed]);

    log.append_event("dispatch", event("e"));
    let settled = settlements(&log, id(1), 1).await;

    let buried = &graveyard.calls()[1].event;
    assert_eq!(buried.id(), "e");
    assert_eq!(buried.attribute("knativeerrordest"), Some("test://sink"));
    assert_eq!(buried.attribute("knativeerrorcode"), Some("400"));
    assert_eq!(buried.attribute("knativeerrordata"), Some("bad request"));
    assert!(near(graveyard.gaps()[0], 1.0));
    assert_eq!(settled[0].settled, Settled::DeadLettered);
    assert_eq!((settled[0].attempts, settled[0].failures.len()), (1, 2));
    assert_eq!(settled[0].failures[1].reason, "dead letter sink: not yet");
    assert_eq!(router.status(id(1)).await.unwrap().dead_lettered, 1);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_sink_that_fails_too_is_named_in_the_settlement() {
    let log = MemoryLog::new();
    let sink = TestSink::answering(|_| Answer::rejected("no"));
    let mut subscribed = subscription(1, sink);
    subscribed.dead_letter_sink = Some(TestSink::answering(|_| Answer::released("full")));
    let (_router, _task) = route(&log, vec![subscribed]);

    log.append_event("dispatch", event("e"));
    let settled = settlements(&log, id(1), 1).await;

    let reasons: Vec<_> = settled[0].failures.iter().map(|f| f.reason.as_str()).collect();
    assert_eq!(reasons[0], "no");
    assert_eq!(reasons[1..], ["dead letter sink: full"; 4]);
}

#[tokio::test(start_paused = true)]
async fn a_targeted_event_reaches_its_subscription_and_no_other() {
    let log = MemoryLog::new();
    let (all, function) = (TestSink::accepting(), TestSink::accepting());
    let mut targeted = subscription(2, function.clone());
    targeted.filters.clear();
    let (_router, _task) = route(&log, vec![subscription(1, all.clone()), targeted]);

    log.append_to("dispatch", event("exec"), Some(id(2)));
    log.append_to("other", event("stranger"), Some(id(2)));
    log.append_event("dispatch", event("plain"));
    settlements(&log, id(2), 1).await;
    settlements(&log, id(1), 1).await;

    assert_eq!(function.ids(), ["exec"]);
    assert_eq!(all.ids(), ["plain"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_sink_keeps_nobody_else_waiting() {
    let log = MemoryLog::new();
    let (slow, fast) = (TestSink::hanging(), TestSink::accepting());
    let mut patient = subscription(1, slow.clone());
    patient.delivery.max_in_flight = 2;
    let (router, _task) = route(&log, vec![patient, subscription(2, fast.clone())]);
    let before = tokio::time::Instant::now();

    for n in 0..500 {
        log.append_event("dispatch", event(format!("e{n}")));
    }
    settlements(&log, id(2), 500).await;

    assert!(before.elapsed() < Duration::from_secs(1));
    let status = router.status(id(1)).await.unwrap();
    assert_eq!((status.in_flight, slow.calls().len()), (2, 2));
    assert_eq!(fast.calls().len(), 500);
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_listed_with_its_next_attempt() {
    let log = MemoryLog::new();
    let sink = TestSink::answering(|_| Answer::released("busy"));
    let (router, _task) = route(&log, vec![subscription(1, sink.clone())]);

    let sequence = log.append_event("dispatch", event("e"));
    until("the first attempt was made", || !sink.calls().is_empty()).await;
    let pending = router.pending("dispatch", None, 10).await;

    assert_eq!(pending.len(), 1);
    assert_eq!((pending[0].sequence, pending[0].attempts), (sequence, 1));
    assert_eq!(pending[0].failures[0].reason, "busy");
    let due = pending[0].next_attempt.unwrap() - pending[0].failures[0].at;
    assert!((500..2000).contains(&due), "due in {due} ms");
    assert!(router.pending("other", None, 10).await.is_empty());
    assert!(router.pending("dispatch", Some(id(9)), 10).await.is_empty());
    assert_eq!(router.floor(), sequence - 1);
    let all = router.statuses().await;
    assert_eq!((all.len(), all[0].retrying, all[0].retried), (1, 1, 1));
    assert_eq!(all[0].name, Arc::from("sub-1"));
}
