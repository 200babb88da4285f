//! Lists of runs: narrowed, in pages, and forgotten by age.
#![allow(clippy::unwrap_used, reason = "a helper that fails is a failed test")]

use dispatch_schemas::{Run, Status, Tag};
use dispatch_store::{RunCursor, RunQuery, RunRow, Store};
use uuid::Uuid;

/// Ten runs: those with an even number ended well, the first five are of the application `shop`; two at each moment.
async fn filled() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    for n in 0..10u128 {
        let executed = i64::try_from(n / 2).unwrap() * 100;
        let shop = Tag {
            key: Tag::APPLICATION.to_owned(),
            value: "shop".to_owned(),
        };
        let run = Run {
            name: Uuid::from_u128(n),
            function_name: "f".into(),
            executed_time: executed,
            finished_time: (n != 1).then_some(executed + 1),
            status: Some(if n % 2 == 0 { Status::Ready } else { Status::Error }),
            tags: if n < 5 { vec![shop] } else { Vec::new() },
            ..Run::default()
        };
        let organization = "acme".to_owned();
        store.record_run(RunRow { organization, run }).await.unwrap();
    }
    (folder, store)
}

async fn names(store: &Store, query: RunQuery) -> (Vec<u128>, bool) {
    let page = store.runs("acme", query).await.unwrap();
    (page.runs.iter().map(|run| run.name.as_u128()).collect(), page.cut)
}

#[tokio::test]
async fn pages_follow_one_another_also_where_many_runs_came_at_once() {
    let (_folder, store) = filled().await;
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let query = RunQuery {
            after,
            limit: Some(3),
            ..RunQuery::default()
        };
        let page = store.runs("acme", query).await.unwrap();
        all.extend(page.runs.iter().map(|run| run.name.as_u128()));
        if !page.cut {
            break;
        }
        let last = RunCursor::of(page.runs.last().unwrap());
        let text = format!("{}-{}", last.executed, last.name);
        after = Some(text.parse().unwrap());
    }
    assert_eq!(all, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
    for text in ["", "1", "x-00000000-0000-0000-0000-000000000000", "1-x"] {
        assert!(text.parse::<RunCursor>().is_err(), "{text}");
    }
}

#[tokio::test]
async fn lists_are_narrowed_before_they_are_cut() {
    let (_folder, store) = filled().await;
    let ready = RunQuery {
        status: Some(Status::Ready),
        application: Some("shop".to_owned()),
        ..RunQuery::default()
    };
    assert_eq!(names(&store, ready.clone()).await, (vec![4, 2, 0], false));
    let some = RunQuery {
        limit: Some(2),
        except: [Uuid::from_u128(4)].into(),
        ..ready
    };
    assert_eq!(names(&store, some).await, (vec![2, 0], false));
}

#[tokio::test]
async fn runs_are_forgotten_by_their_age_once_they_have_ended() {
    let (_folder, store) = filled().await;

    assert_eq!(store.forget_runs_before(200).await.unwrap(), 3);

    assert_eq!(names(&store, RunQuery::default()).await.0, [9, 8, 7, 6, 5, 4, 1]);
}
