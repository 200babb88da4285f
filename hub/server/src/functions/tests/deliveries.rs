//! Events that reach a function: retried, waiting for it, a run each.

use super::*;

#[tokio::test]
async fn an_event_is_a_run_and_a_failing_one_shows_its_next_attempt() {
    let folder = TempDir::new().unwrap();
    // Long enough for the wait to be seen.
    let delivery = DeliverySpec {
        backoff_delay: Duration::from_secs(2),
        ..quick(1)
    };
    let stage = Stage::with(folder.path(), vec![(Uuid::from_u128(1), "f", delivery)]).await;
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
            .unwrap()
            .runs;
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
