//! Opening: what is wrong with a file is said in one line that names it.
#![allow(clippy::unwrap_used, reason = "a helper that fails is a failed test")]

use std::fs;
use std::path::Path;

use dispatch_schemas::Function;
use dispatch_store::{OpenError, Store};

async fn filled(folder: &Path) {
    let store = Store::open(folder).unwrap();
    for n in 0..200 {
        let function = Function {
            name: format!("f{n}"),
            handler: "x".repeat(200),
            ..Function::default()
        };
        store.create("acme", &function).await.unwrap();
    }
    store.close().await;
}

#[tokio::test]
async fn a_newer_format_is_refused_and_left_alone() {
    for file in ["resources.db", "views.db"] {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path()).await;
        let path = folder.path().join(file);
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        drop(connection);

        let error = Store::open(folder.path()).unwrap_err();

        assert!(
            matches!(error, OpenError::NewerFormat { found: 99, .. }),
            "{error}"
        );
        let said = error.to_string();
        assert!(said.contains(file) && said.contains("data format 99"), "{said}");
        let connection = rusqlite::Connection::open(&path).unwrap();
        let version: i64 = connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .unwrap();
        assert_eq!(version, 99);
    }
}

#[tokio::test]
async fn a_damaged_file_is_named_with_what_can_be_done() {
    let middle = |bytes: &mut Vec<u8>| {
        let at = bytes.len() / 2;
        bytes[at..at + 8192].fill(0xA5);
    };
    let head = |bytes: &mut Vec<u8>| bytes[..100].fill(0xA5);
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(5000);
    let damages: [fn(&mut Vec<u8>); 3] = [middle, head, cut];
    for damage in damages {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path()).await;
        let path = folder.path().join("resources.db");
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, bytes).unwrap();

        let error = Store::open(folder.path()).unwrap_err();

        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
        let said = error.to_string();
        assert!(said.contains("resources.db") && said.contains("backup"), "{said}");
    }
}

#[test]
fn a_damaged_view_may_be_deleted() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("views.db"),
        "this is not a database, but it is long enough to be looked at",
    )
    .unwrap();

    let error = Store::open(folder.path()).unwrap_err();

    assert!(error.to_string().contains("rebuilt from the journal"), "{error}");
    fs::remove_file(folder.path().join("views.db")).unwrap();
    assert!(Store::open(folder.path()).is_ok());
}

#[test]
fn the_database_of_another_program_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resources.db");
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE theirs (a)")
        .unwrap();
    let before = fs::read(&path).unwrap();

    let error = Store::open(folder.path()).unwrap_err();

    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();

    let error = Store::open(&file.join("data")).unwrap_err();

    assert!(error.to_string().contains("file/data"), "{error}");
}
