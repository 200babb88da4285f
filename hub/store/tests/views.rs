//! Read models: fed in steps that may be repeated, bounded, and told apart by organization.
#![allow(clippy::unwrap_used, reason = "a helper that fails is a failed test")]

use std::time::Duration;

use dispatch_contract::{Attempt, Event, SubscriptionId, parse_duration};
use dispatch_schemas::{DeadLetter, DeliverySettings, Run};
use dispatch_store::{
    Applied, DeadLetterKey, DeadLetterQuery, DeadLetterRow, EventTypeRow, Limits, Options, Projection,
    RunQuery, RunRow, Store, StoreError,
};
use tempfile::TempDir;
use uuid::Uuid;

const SECOND: i64 = 1_000_000_000;

fn opened(limits: Limits) -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_with(
        folder.path(),
        Options {
            limits,
            ..Options::default()
        },
    )
    .unwrap();
    (folder, store)
}

/// The `n`-th run, begun at `n` seconds and ended half a second later.
fn run(n: u32, function: &str) -> RunRow {
    let run = Run {
        name: Uuid::from_u128(n.into()),
        function_name: function.into(),
        function_id: Some(Uuid::from_u128(1000)),
        executed_time: i64::from(n) * SECOND,
        finished_time: Some(i64::from(n) * SECOND + SECOND / 2),
        ..Run::default()
    };
    RunRow {
        organization: "acme".into(),
        run,
    }
}

fn key(sequence: u64) -> DeadLetterKey {
    DeadLetterKey {
        sequence,
        subscription: SubscriptionId(Uuid::from_u128(5)),
    }
}

fn dead(sequence: u64, subscription: &str) -> DeadLetterRow {
    let failure = Attempt {
        at: 1_500,
        took: 20,
        code: Some(503),
        reason: "busy".into(),
    };
    DeadLetterRow {
        organization: "acme".into(),
        key: key(sequence),
        subscription_name: subscription.into(),
        time: 2_000,
        reason: "busy".into(),
        attempts: 11,
        failures: vec![failure],
        event: Event::builder("1", "/s", "t")
            .json(r#"{ "a":1 }"#)
            .build()
            .unwrap(),
        redriven: None,
    }
}

fn step(cursor: u64) -> Projection {
    Projection {
        cursor_name: "main".into(),
        cursor,
        ..Projection::default()
    }
}

async fn names(store: &Store, query: RunQuery) -> Vec<u128> {
    store
        .runs("acme", query)
        .await
        .unwrap()
        .runs
        .iter()
        .map(|run| run.name.as_u128())
        .collect()
}

#[tokio::test]
async fn a_step_applied_twice_is_applied_once() {
    let (_folder, store) = opened(Limits::default());
    let seen = EventTypeRow {
        organization: "acme".into(),
        ty: "t".into(),
        count: 3,
        last: 9,
    };
    let first = Projection {
        runs: vec![run(1, "f")],
        dead_letters: vec![dead(7, "s")],
        event_types: vec![seen.clone()],
        ..step(10)
    };

    let applied = store.apply(first.clone()).await.unwrap();
    let repeated = store.apply(first).await.unwrap();

    assert_eq!(applied, Applied::default());
    assert!(repeated.stale);
    assert_eq!(store.cursor("main").await.unwrap(), 10);
    assert_eq!(store.cursor("other").await.unwrap(), 0);
    assert_eq!(names(&store, RunQuery::default()).await, [1]);
    assert_eq!(
        store
            .dead_letters("acme", DeadLetterQuery::default())
            .await
            .unwrap()
            .len(),
        1
    );
    assert_eq!(store.event_types("acme").await.unwrap(), [seen]);
}

#[tokio::test]
async fn read_models_fed_again_after_a_reset_are_the_same() {
    let (_folder, store) = opened(Limits::default());
    let seen = |count| EventTypeRow {
        organization: "acme".into(),
        ty: "t".into(),
        count,
        last: 1,
    };
    let steps = [
        Projection {
            runs: vec![run(1, "f")],
            event_types: vec![seen(1)],
            ..step(5)
        },
        Projection {
            dead_letters: vec![dead(7, "s")],
            event_types: vec![seen(2)],
            ..step(9)
        },
        Projection {
            redriven: vec![("acme".into(), key(7), 99)],
            ..step(12)
        },
    ];
    let mut told = Vec::new();
    for _ in 0..2 {
        for step in steps.clone() {
            assert!(!store.apply(step).await.unwrap().stale);
        }

        let all = DeadLetterQuery {
            redriven: true,
            ..DeadLetterQuery::default()
        };
        let dead = store.dead_letters("acme", all).await.unwrap();
        let types = store.event_types("acme").await.unwrap();
        told.push((names(&store, RunQuery::default()).await, dead[0].redriven, types));
        store.reset_read_models().await.unwrap();
        assert_eq!(store.cursor("main").await.unwrap(), 0);
    }

    assert_eq!(told[0], told[1]);
    assert_eq!((told[0].1, told[0].2[0].count), (Some(99), 3));
}

#[tokio::test]
async fn runs_are_listed_newest_first_by_function_time_and_number() {
    let (_folder, store) = opened(Limits::default());
    let runs = vec![run(1, "f"), run(2, "g"), run(3, "f"), run(4, "f")];
    store.apply(Projection { runs, ..step(1) }).await.unwrap();

    let all = RunQuery::default();
    assert_eq!(names(&store, all.clone()).await, [4, 3, 2, 1]);
    assert_eq!(
        names(
            &store,
            RunQuery {
                function: Some("f".into()),
                ..all.clone()
            }
        )
        .await,
        [4, 3, 1]
    );
    assert_eq!(
        names(
            &store,
            RunQuery {
                since: Some(3),
                ..all.clone()
            }
        )
        .await,
        [4, 3]
    );
    assert_eq!(
        names(
            &store,
            RunQuery {
                limit: Some(1),
                ..all
            }
        )
        .await,
        [4]
    );
    assert!(
        store
            .runs("other", RunQuery::default())
            .await
            .unwrap()
            .runs
            .is_empty()
    );
    assert_eq!(
        store.run("acme", Uuid::from_u128(2)).await.unwrap().function_name,
        "g"
    );
    let missing = store.run("other", Uuid::from_u128(2)).await.unwrap_err();
    assert!(
        matches!(missing, StoreError::NotFound { kind: "run", .. }),
        "{missing}"
    );
}

#[tokio::test]
async fn only_the_newest_runs_are_kept_for_each_organization() {
    let (_folder, store) = opened(Limits {
        runs: 3,
        ..Limits::default()
    });
    let other = RunRow {
        organization: "other".into(),
        ..run(1, "f")
    };
    let runs = (1..=5).map(|n| run(n, "f")).chain([other]).collect();

    let applied = store.apply(Projection { runs, ..step(1) }).await.unwrap();
    store.record_run(run(6, "f")).await.unwrap();

    assert_eq!(applied.runs_dropped, 2);
    assert_eq!(names(&store, RunQuery::default()).await, [6, 5, 4]);
    assert_eq!(
        store.runs("other", RunQuery::default()).await.unwrap().runs.len(),
        1
    );
}

#[tokio::test]
async fn a_run_that_ended_is_not_taken_back_by_an_older_word() {
    let (_folder, store) = opened(Limits::default());
    let begun = |attempts| {
        let mut row = run(1, "f");
        row.run.finished_time = None;
        row.run.attempts = Some(attempts);
        row
    };
    let told = async || store.run("acme", Uuid::from_u128(1)).await.unwrap();

    store.record_run(begun(1)).await.unwrap();
    store.record_run(begun(2)).await.unwrap();
    assert_eq!(told().await.attempts, Some(2));
    store
        .apply(Projection {
            runs: vec![run(1, "f")],
            ..step(1)
        })
        .await
        .unwrap();
    store.record_run(begun(1)).await.unwrap();

    assert!(told().await.is_finished());
}

#[tokio::test]
async fn runs_go_with_their_function() {
    let (_folder, store) = opened(Limits::default());
    let mut other = run(2, "f");
    other.run.function_id = Some(Uuid::from_u128(2000));
    store
        .apply(Projection {
            runs: vec![run(1, "f"), other],
            ..step(1)
        })
        .await
        .unwrap();

    assert_eq!(store.delete_runs(Uuid::from_u128(1000)).await.unwrap(), 1);

    assert_eq!(names(&store, RunQuery::default()).await, [2]);
}

#[tokio::test]
async fn a_dead_letter_keeps_the_event_and_every_failed_attempt() {
    let (folder, store) = opened(Limits::default());
    store
        .apply(Projection {
            dead_letters: vec![dead(7, "s")],
            ..step(1)
        })
        .await
        .unwrap();
    store.close().await;

    let store = Store::open(folder.path()).unwrap();
    let row = store.dead_letter("acme", key(7)).await.unwrap();

    assert_eq!(row.failures, dead(7, "s").failures);
    assert_eq!(row.event.encoded(), dead(7, "s").event.encoded());
    let shown = DeadLetter::from(&row);
    assert_eq!(shown.id.parse(), Ok(row.key));
    assert!(
        shown.event.get().contains(r#""data":{ "a":1 }"#),
        "{}",
        shown.event
    );
    assert_eq!((shown.attempts, shown.failures[0].code), (11, Some(503)));
    let missing = store.dead_letter("acme", key(8)).await.unwrap_err();
    assert!(matches!(missing, StoreError::NotFound { .. }), "{missing}");
}

#[tokio::test]
async fn dead_letters_are_listed_in_pages_until_they_are_redriven_or_deleted() {
    let (_folder, store) = opened(Limits::default());
    let dead_letters = vec![dead(3, "a"), dead(1, "a"), dead(2, "b"), dead(4, "a")];
    store
        .apply(Projection {
            dead_letters,
            ..step(1)
        })
        .await
        .unwrap();
    let list = async |query: DeadLetterQuery| -> Vec<u64> {
        store
            .dead_letters("acme", query)
            .await
            .unwrap()
            .iter()
            .map(|row| row.key.sequence)
            .collect()
    };
    let all = DeadLetterQuery::default();

    assert_eq!(
        list(DeadLetterQuery {
            limit: Some(2),
            ..all.clone()
        })
        .await,
        [1, 2]
    );
    assert_eq!(
        list(DeadLetterQuery {
            after: Some(key(2)),
            ..all.clone()
        })
        .await,
        [3, 4]
    );
    assert_eq!(
        list(DeadLetterQuery {
            subscription: Some("b".into()),
            ..all.clone()
        })
        .await,
        [2]
    );
    assert_eq!(
        store
            .mark_redriven("acme", vec![key(1), key(9)], 50)
            .await
            .unwrap(),
        1
    );
    assert_eq!(store.mark_redriven("other", vec![key(2)], 50).await.unwrap(), 0);
    assert_eq!(store.delete_dead_letters("acme", vec![key(4)]).await.unwrap(), 1);

    assert_eq!(list(all.clone()).await, [2, 3]);
    assert_eq!(
        list(DeadLetterQuery {
            redriven: true,
            ..all
        })
        .await,
        [1, 2, 3]
    );
}

#[tokio::test]
async fn too_many_dead_letters_are_dropped_oldest_first_and_counted() {
    let (_folder, store) = opened(Limits {
        dead_letters: 2,
        ..Limits::default()
    });
    let dead_letters = (1..=5).map(|n| dead(n, "s")).collect();

    let applied = store
        .apply(Projection {
            dead_letters,
            ..step(1)
        })
        .await
        .unwrap();

    assert_eq!(applied.dead_letters_dropped, 3);
    assert_eq!(
        store
            .dead_letters("acme", DeadLetterQuery::default())
            .await
            .unwrap()[0]
            .key,
        key(4)
    );
}

#[tokio::test]
async fn a_dead_letter_told_again_stays_redriven() {
    let (_folder, store) = opened(Limits::default());
    let told = |cursor| Projection {
        dead_letters: vec![dead(7, "s")],
        ..step(cursor)
    };
    store.apply(told(1)).await.unwrap();
    store.mark_redriven("acme", vec![key(7)], 50).await.unwrap();

    store.apply(told(2)).await.unwrap();

    assert_eq!(
        store.dead_letter("acme", key(7)).await.unwrap().redriven,
        Some(50)
    );
}

#[test]
fn what_is_no_dead_letters_id_is_refused() {
    for text in ["", "7", "7-", "x-00000000-0000-0000-0000-000000000005", "-7-1"] {
        assert!(text.parse::<DeadLetterKey>().is_err(), "{text}");
    }
}

#[test]
fn schemas_and_contract_read_the_same_durations() {
    let texts = "PT0.2S PT30S PT1H30M P1DT1S P1D 200ms 30s 1h30m 1.5h PT1M pt5s P PT 5 -1s 1x PT1D s 1.2.3s PTS P1 1d";
    for text in texts.split(' ').chain([""]) {
        let settings = DeliverySettings {
            backoff_delay: Some(text.into()),
            ..DeliverySettings::default()
        };

        let refused = settings.check().is_err();

        let read = parse_duration(text);
        let out = !matches!(read, Ok(duration) if duration <= Duration::from_secs(3600));
        assert_eq!(refused, out, "{text:?}: {read:?}");
    }
}
