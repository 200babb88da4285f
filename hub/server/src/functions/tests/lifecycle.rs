//! From a body to READY or a reason, through a change, to nothing.

use super::*;

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
            .runs
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
