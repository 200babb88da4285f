//! Resources: what was answered is kept, and nobody's change is lost.
#![allow(clippy::unwrap_used, reason = "a helper that fails is a failed test")]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;

use dispatch_schemas::{BaseImage, ConfigItem, Driver, Function, Resource, Secret, SecretText};
use dispatch_store::{Store, StoreError};
use tempfile::TempDir;
use uuid::Uuid;

fn opened() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    (folder, store)
}

fn function(name: &str) -> Function {
    Function {
        name: name.into(),
        image: "python3".into(),
        ..Function::default()
    }
}

#[tokio::test]
async fn a_name_is_taken_once_per_kind_and_organization() {
    let (_folder, store) = opened();
    store.create("acme", &function("hello")).await.unwrap();

    let again = store.create("acme", &function("hello")).await.unwrap_err();

    assert_eq!(again.to_string(), "function hello already exists");
    assert!(matches!(
        again,
        StoreError::AlreadyExists { kind: "function", .. }
    ));
    store.create("other", &function("hello")).await.unwrap();
    let secret = Secret {
        name: "hello".into(),
        ..Secret::default()
    };
    store.create("acme", &secret).await.unwrap();
    assert_eq!(store.list::<Function>("acme").await.unwrap().len(), 1);
    assert_eq!(store.list_all::<Function>().await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let (_folder, store) = opened();
    let image = BaseImage {
        name: "b".into(),
        ..BaseImage::default()
    };
    store.create("acme", &image).await.unwrap();

    let errors = [
        store.get::<BaseImage>("acme", "a").await.err(),
        store.get::<BaseImage>("other", "b").await.err(),
        store.update("acme", "a", image).await.err(),
        store.modify::<BaseImage>("acme", "a", |_| {}).await.err(),
        store.delete::<BaseImage>("acme", "a").await.err(),
    ];

    for error in errors {
        let error = error.unwrap();
        assert!(error.to_string().starts_with("base image "), "{error}");
        assert!(error.to_string().ends_with(" not found"), "{error}");
    }
}

#[tokio::test]
async fn resources_and_sources_survive_a_reopening() {
    let (folder, store) = opened();
    let revision = Uuid::from_u128(7);
    let created = store.create("acme", &function("hello")).await.unwrap();
    store.put_source(revision, vec![1, 2, 3]).await.unwrap();

    store.close().await;
    let store = Store::open(folder.path()).unwrap();

    assert_eq!(store.get::<Function>("acme", "hello").await.unwrap(), created);
    assert_eq!(store.source(revision).await.unwrap(), Some(vec![1, 2, 3]));
    assert_eq!(
        store.find::<Function>(created.id).await.unwrap(),
        Some(("acme".into(), created.clone()))
    );
    assert_eq!(store.find::<Driver>(created.id).await.unwrap(), None);
}

#[tokio::test]
async fn a_killed_process_loses_nothing_that_was_answered() {
    let (folder, store) = opened();
    store.create("acme", &function("hello")).await.unwrap();

    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }

    let as_found = Store::open(copy.path()).unwrap();
    assert_eq!(
        as_found.get::<Function>("acme", "hello").await.unwrap().name,
        "hello"
    );
}

#[tokio::test]
async fn identity_and_creation_time_are_the_stores_own() {
    let (_folder, store) = opened();
    let id = Uuid::from_u128(1);
    let claimed = Function {
        id,
        created_time: 1,
        kind: "Nonsense".into(),
        ..function("hello")
    };

    let created = store.create("acme", &claimed).await.unwrap();
    let impostor = Function {
        id,
        name: "other".into(),
        created_time: 2,
        handler: "h".into(),
        ..claimed
    };
    let updated = store.update("acme", "hello", impostor).await.unwrap();

    assert!(created.id != id && created.created_time > 1_600_000_000);
    assert_eq!(created.kind, "Function");
    assert_eq!(
        (updated.id, updated.created_time),
        (created.id, created.created_time)
    );
    assert_eq!((updated.name.as_str(), updated.handler.as_str()), ("hello", "h"));
    assert_eq!(store.get::<Function>("acme", "hello").await.unwrap(), updated);
}

#[tokio::test]
async fn a_resource_created_again_is_another_one() {
    let (_folder, store) = opened();
    let first = store.create("acme", &function("hello")).await.unwrap();

    let deleted = store.delete::<Function>("acme", "hello").await.unwrap();
    let second = store.create("acme", &function("hello")).await.unwrap();

    assert_eq!(deleted, first);
    assert_ne!(second.id(), first.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_change_is_lost_when_many_modify_at_once() {
    let (_folder, store) = opened();
    let driver = Driver {
        name: "d".into(),
        ty: "t".into(),
        ..Driver::default()
    };
    store.create("acme", &driver).await.unwrap();

    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..64 {
        let store = store.clone();
        tasks.spawn(async move {
            let item = ConfigItem {
                key: format!("k{n}"),
                value: String::new(),
            };
            store
                .modify("acme", "d", move |d: &mut Driver| d.config.push(item))
                .await
                .unwrap();
        });
    }
    tasks.join_all().await;

    let keys: BTreeSet<_> = store
        .get::<Driver>("acme", "d")
        .await
        .unwrap()
        .config
        .into_iter()
        .map(|c| c.key)
        .collect();
    assert_eq!(keys.len(), 64);
}

#[tokio::test]
async fn a_change_that_says_no_writes_nothing() {
    let (_folder, store) = opened();
    let before = store.create("acme", &function("hello")).await.unwrap();

    let refused = store
        .modify_if("acme", "hello", |f: &mut Function| {
            f.handler = "changed".into();
            false
        })
        .await
        .unwrap_err();

    assert!(matches!(refused, StoreError::Conflict { .. }), "{refused}");
    assert_eq!(store.get::<Function>("acme", "hello").await.unwrap(), before);
}

#[tokio::test]
async fn names_that_no_path_could_hold_are_refused() {
    let (_folder, store) = opened();
    for (organization, name) in [("acme", ""), ("acme", "a/b"), ("", "a"), ("a b", "a")] {
        let refused = store.create(organization, &function(name)).await.unwrap_err();

        assert!(matches!(refused, StoreError::Refused { .. }), "{refused}");
    }
}

#[tokio::test]
async fn secrets_come_back_whole_and_only_the_owner_can_read_the_files() {
    let (folder, store) = opened();
    let password = "p&<>\"'\u{1F511}";
    let secrets = [("password".to_owned(), SecretText::new(password))].into();
    store
        .create(
            "acme",
            &Secret {
                name: "vc".into(),
                secrets,
                ..Secret::default()
            },
        )
        .await
        .unwrap();

    let read = store.get::<Secret>("acme", "vc").await.unwrap();

    assert_eq!(read.secrets["password"].expose(), password);
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(
            file.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{:?}",
            file.path()
        );
    }
}

#[tokio::test]
async fn sources_of_no_live_revision_are_pruned() {
    let (_folder, store) = opened();
    let [live, dead, gone] = [1, 2, 3].map(Uuid::from_u128);
    for revision in [live, dead, gone] {
        store.put_source(revision, vec![0]).await.unwrap();
    }
    store.delete_source(gone).await.unwrap();
    store.delete_source(gone).await.unwrap();

    let pruned = store.prune_sources([live].into()).await.unwrap();

    assert_eq!(pruned, 1);
    assert!(store.source(live).await.unwrap().is_some());
    assert_eq!(store.source(dead).await.unwrap(), None);
}

#[tokio::test]
async fn one_unreadable_row_hides_no_other() {
    let (folder, store) = opened();
    store.create("acme", &function("good")).await.unwrap();
    store.create("acme", &function("odd")).await.unwrap();
    store.close().await;
    let file = rusqlite::Connection::open(folder.path().join("resources.db")).unwrap();
    file.execute("UPDATE resources SET body = '{}' WHERE name = 'odd'", [])
        .unwrap();
    drop(file);

    let store = Store::open(folder.path()).unwrap();

    assert_eq!(store.list_all::<Function>().await.unwrap().len(), 1);
    let odd = store.get::<Function>("acme", "odd").await.unwrap_err();
    assert_eq!(odd.to_string(), "internal error when processing function odd");
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let (_folder, store) = opened();
    store.close().await;
    store.close().await;

    let closed = store.list::<Function>("acme").await.unwrap_err();

    assert!(matches!(closed, StoreError::Closed), "{closed}");
}
