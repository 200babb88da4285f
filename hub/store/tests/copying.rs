//! A copy of the store is as the store was at one moment, whoever writes meanwhile.
#![allow(clippy::unwrap_used, reason = "a helper that fails is a failed test")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use dispatch_schemas::Function;
use dispatch_store::{Store, copy};

fn function(n: usize) -> Function {
    Function {
        name: format!("f{n:04}"),
        handler: "x".repeat(500),
        ..Function::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_made_while_somebody_writes_holds_what_was_answered_before_and_no_half_of_anything() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let store = Store::open(&data).unwrap();
    for n in 0..200 {
        store.create("acme", &function(n)).await.unwrap();
    }
    let writing = tokio::spawn({
        let store = store.clone();
        async move {
            for n in 200..400 {
                store.create("acme", &function(n)).await.unwrap();
            }
        }
    });

    let target = folder.path().join("copy");
    fs::create_dir(&target).unwrap();
    let (from, to) = (data.clone(), target.clone());
    tokio::task::spawn_blocking(move || copy(&from, &to))
        .await
        .unwrap()
        .unwrap();
    writing.await.unwrap();
    store.close().await;

    let copied = Store::open(&target).unwrap();
    let names: Vec<_> = copied
        .list::<Function>("acme")
        .await
        .unwrap()
        .into_iter()
        .map(|f| f.name)
        .collect();
    assert!(names.len() >= 200);
    assert!(
        names
            .iter()
            .enumerate()
            .all(|(n, name)| *name == function(n).name)
    );
    copied.close().await;
    let mode = fs::metadata(target.join("resources.db"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600, "there are secrets in it");
}

#[tokio::test]
async fn read_models_may_be_missing_and_resources_may_not() {
    let folder = tempfile::tempdir().unwrap();
    let (data, to) = (folder.path().join("data"), folder.path().join("to"));
    Store::open(&data).unwrap().close().await;
    fs::create_dir(&to).unwrap();
    fs::remove_file(data.join("views.db")).unwrap();

    copy(&data, &to).unwrap();
    assert!(to.join("resources.db").exists() && !to.join("views.db").exists());
    assert!(copy(&data, &to).is_err(), "nothing is written over");
    assert!(copy(&to.join("nothing"), &to).is_err());
}
