//! Secrets at rest: what is in the files, who can read it, and what happens when a key is not the right one.
#![allow(clippy::unwrap_used, reason = "a helper that fails is a failed test")]

use std::fs;
use std::path::Path;

use dispatch_schemas::{Function, Secret, SecretText};
use dispatch_store::{KeyError, KeySource, OpenError, Options, Store, StoreError, copy};
use rusqlite::Connection;

const VALUE: &str = "OpenSesameStreet";

fn secret(name: &str, value: &str) -> Secret {
    Secret {
        name: name.into(),
        secrets: [("password".to_owned(), SecretText::new(value))].into(),
        ..Secret::default()
    }
}

async fn value(store: &Store, name: &str) -> String {
    let secret: Secret = store.get("acme", name).await.unwrap();
    secret.secrets["password"].expose().to_owned()
}

/// Whether any file of the folder holds the text.
fn is_found(folder: &Path, text: &str) -> bool {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.is_file()).any(|path| {
        fs::read(path)
            .unwrap()
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    })
}

fn opened_with(folder: &Path, key: KeySource) -> Result<Store, OpenError> {
    Store::open_with(
        folder,
        Options {
            key: Some(key),
            ..Options::default()
        },
    )
}

#[tokio::test]
async fn what_is_secret_is_in_no_file_and_is_read_back_after_a_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let plain = Function {
        name: "visible".into(),
        ..Function::default()
    };
    store.create("acme", &plain).await.unwrap();

    store.create("acme", &secret("s", VALUE)).await.unwrap();
    store.create("other", &secret("s", "elsewhere")).await.unwrap();
    assert!(is_found(folder.path(), "visible") && !is_found(folder.path(), VALUE));
    store
        .update("acme", "s", secret("s", "AnotherValue"))
        .await
        .unwrap();
    store.close().await;

    assert!(!is_found(folder.path(), VALUE) && !is_found(folder.path(), "AnotherValue"));
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(value(&store, "s").await, "AnotherValue");
    assert_eq!(
        store.list::<Secret>("other").await.unwrap()[0].secrets["password"].expose(),
        "elsewhere"
    );
    store.delete::<Secret>("acme", "s").await.unwrap();
}

#[tokio::test]
async fn a_row_put_in_the_place_of_another_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    for name in ["mine", "theirs"] {
        store.create("acme", &secret(name, name)).await.unwrap();
    }
    let file = Connection::open(folder.path().join("resources.db")).unwrap();
    let theirs = "(SELECT body FROM resources WHERE name = 'theirs')";
    file.execute(
        &format!("UPDATE resources SET body = {theirs} WHERE name = 'mine'"),
        [],
    )
    .unwrap();

    let error = store.get::<Secret>("acme", "mine").await.unwrap_err();

    assert!(matches!(error, StoreError::Unsealed { .. }), "{error}");
    assert!(
        error.to_string().starts_with("secret mine cannot be decrypted"),
        "{error}"
    );
    assert_eq!(value(&store, "theirs").await, "theirs");
    // Nor is one that was never sealed.
    file.execute(
        "UPDATE resources SET body = '{\"name\":\"mine\"}' WHERE name = 'mine'",
        [],
    )
    .unwrap();
    assert!(store.get::<Secret>("acme", "mine").await.is_err());
}

#[tokio::test]
async fn without_its_key_a_store_with_secrets_is_not_opened_and_the_key_s_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    store.create("acme", &secret("s", VALUE)).await.unwrap();
    store.close().await;
    let key = folder.path().join("secret.key");
    let right = fs::read(&key).unwrap();

    fs::remove_file(&key).unwrap();
    let missing = Store::open(folder.path()).unwrap_err();
    assert!(
        matches!(missing, OpenError::Key(KeyError::Missing { .. })),
        "{missing}"
    );
    assert!(missing.to_string().contains(key.to_str().unwrap()), "{missing}");
    assert!(!key.exists(), "no other key is made");

    let elsewhere = tempfile::tempdir().unwrap();
    Store::open(elsewhere.path()).unwrap().close().await;
    fs::copy(elsewhere.path().join("secret.key"), &key).unwrap();
    let wrong = Store::open(folder.path()).unwrap_err();
    assert!(matches!(wrong, OpenError::Key(KeyError::Wrong { .. })), "{wrong}");
    assert!(wrong.to_string().contains(key.to_str().unwrap()), "{wrong}");

    fs::write(&key, "OpenSesame").unwrap();
    let none = Store::open(folder.path()).unwrap_err().to_string();
    assert!(
        none.contains("cannot be used as secret key") && !none.contains("Sesame"),
        "{none}"
    );

    fs::write(&key, right).unwrap();
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(value(&store, "s").await, VALUE);
}

#[tokio::test]
async fn what_an_older_release_kept_plainly_is_encrypted_when_the_store_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let created = store.create("acme", &secret("s", VALUE)).await.unwrap();
    store.close().await;
    let file = Connection::open(folder.path().join("resources.db")).unwrap();
    file.execute_batch("DROP TABLE data_keys; DROP TABLE cancelled_runs; PRAGMA user_version = 1")
        .unwrap();
    let plain = serde_json::to_string(&created).unwrap();
    file.execute("UPDATE resources SET body = ?1", [plain]).unwrap();
    drop(file);
    assert!(is_found(folder.path(), VALUE));

    let store = Store::open(folder.path()).unwrap();

    assert!(!is_found(folder.path(), VALUE));
    assert_eq!(value(&store, "s").await, VALUE);
    let found: Secret = store.get("acme", "s").await.unwrap();
    assert_eq!(found.id, created.id);
}

#[tokio::test]
async fn a_key_is_rotated_while_the_store_is_used_and_the_old_one_opens_nothing_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("secret.key");
    let store = Store::open(folder.path()).unwrap();
    store.create("acme", &secret("s", VALUE)).await.unwrap();
    store.create("other", &secret("s", VALUE)).await.unwrap();
    let old = fs::read_to_string(&key).unwrap();

    let rotated = store.rotate_key().await.unwrap();

    assert_eq!(rotated.wrapped, 2);
    let new = fs::read_to_string(&key).unwrap();
    assert!(new != old && new.matches("dispatch-key-1:").count() == 1);
    assert_eq!(value(&store, "s").await, VALUE);
    store.create("acme", &secret("t", "after")).await.unwrap();
    store.close().await;
    let given = |text: &str| KeySource::Given(text.to_owned().into());
    assert!(matches!(
        opened_with(folder.path(), given(&old)).unwrap_err(),
        OpenError::Key(KeyError::Wrong { .. })
    ));
    // A crash in the middle leaves a file with both: the newest is taken into use, the other one still reads.
    let store = opened_with(folder.path(), given(&format!("{old}\n{new}"))).unwrap();
    assert_eq!(
        (value(&store, "s").await, value(&store, "t").await),
        (VALUE.into(), "after".into())
    );
    assert!(matches!(store.rotate_key().await.unwrap_err(), KeyError::Given));
    store.close().await;
    let store = opened_with(folder.path(), given(&old)).unwrap();
    assert_eq!(value(&store, "s").await, VALUE);
}

#[tokio::test]
async fn a_copy_holds_no_key_and_no_secret_and_is_of_use_only_with_the_key() {
    let (folder, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Store::open(folder.path()).unwrap();
    store.create("acme", &secret("s", VALUE)).await.unwrap();

    copy(folder.path(), target.path()).unwrap();

    assert!(!target.path().join("secret.key").exists() && !is_found(target.path(), VALUE));
    assert!(Store::open(target.path()).is_err());
    let copied = opened_with(target.path(), KeySource::File(folder.path().join("secret.key"))).unwrap();
    assert_eq!(value(&copied, "s").await, VALUE);
}
