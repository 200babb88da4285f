//! Where a function's code may come from: a file, a folder, an address; and what is not fetched or unpacked.

use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::bench::Bench;

const HELLO: &str = "def handle(context, payload): return 'hello'\n";

/// An archive of entries: a path, a kind and what is in it (or what it points to).
fn archive(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, kind, content) in entries {
        let mut header = tar::Header::new_gnu();
        let name = &mut header.as_old_mut().name;
        name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        let mut body = *content;
        if kind.is_symlink() || kind.is_hard_link() {
            header
                .set_link_name(std::str::from_utf8(content).unwrap())
                .unwrap();
            body = b"";
        }
        header.set_size(body.len() as u64);
        header.set_cksum();
        builder.append(&header, body).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

/// A server of sources, good and bad, on a free port; its address.
async fn server() -> Result<String> {
    async fn serve(files: Arc<Vec<u8>>, name: String) -> Response {
        match name.as_str() {
            "hello.py" => HELLO.into_response(),
            "hello.tar.gz" => files.as_ref().clone().into_response(),
            "moved.py" => (StatusCode::FOUND, [(header::LOCATION, "/hello.py")]).into_response(),
            "round" => (StatusCode::FOUND, [(header::LOCATION, "/round")]).into_response(),
            "file" => (StatusCode::FOUND, [(header::LOCATION, "file:///etc/passwd")]).into_response(),
            "large" => vec![b'x'; 11 << 20].into_response(),
            "empty" => StatusCode::OK.into_response(),
            "broken" => vec![0x1f, 0x8b, 8, 0].into_response(),
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    }
    let kind = tar::EntryType::Regular;
    let files = Arc::new(archive(&[
        ("pkg/hello.py", kind, HELLO.as_bytes()),
        ("pkg/__init__.py", kind, b""),
    ]));
    let app = Router::new().route("/{name}", get(move |Path(name): Path<String>| serve(files, name)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(format!("http://{address}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_is_fetched_from_where_it_is_kept_within_bounds() -> Result<()> {
    let here = [("DISPATCH_SERVER_FETCH_FROM", "127.0.0.1")];
    let bench = Bench::start_in(&here).await?;
    bench.image("python3", "").await?;
    let server = server().await?;

    for (name, path, handler) in [
        ("file", "hello.py", "hello.handle"),
        ("archive", "hello.tar.gz", "pkg.hello.handle"),
        ("moved", "moved.py", "moved.handle"),
    ] {
        bench
            .function(
                name,
                "python3",
                &format!("{server}/{path}"),
                &["--handler", handler],
            )
            .await?;
        assert_eq!(bench.exec(name, "{}", &[])?["output"], "hello", "{name}");
    }
    let shown = bench.hub.json(&["get", "function", "file"])?;
    assert_eq!(
        (&shown["sourceURL"], &shown["source"]),
        (&json!(format!("{server}/hello.py")), &json!(null))
    );

    println!("| sourceURL | what came back |\n|---|---|");
    for (address, wanted) in [
        (
            format!("{server}/nothing"),
            "sourceURL cannot be fetched: the server answered 404",
        ),
        (
            format!("{server}/large"),
            "the source is too large: sourceURL has more than",
        ),
        (format!("{server}/round"), "too many redirects"),
        (format!("{server}/file"), "sourceURL cannot be fetched"),
        (format!("{server}/empty"), "the source has no files"),
        (format!("{server}/broken"), "no tar.gz archive"),
        (
            "http://user:password@127.0.0.1:1/x".to_owned(),
            "sourceURL cannot be fetched",
        ),
    ] {
        let refused = bench
            .hub
            .cli(&["create", "function", "bad", "--image", "python3", &address])?;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            refused.status.code() == Some(1) && said.contains(wanted),
            "{address}: {said}"
        );
        assert!(!said.contains("password"), "{said}");
        println!(
            "| {} | {} |",
            address.replace(&server, "http://server"),
            said.trim()
        );
    }
    assert_eq!(bench.hub.cli(&["get", "function", "bad"])?.status.code(), Some(1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_in_an_archive_leaves_the_functions_folder() -> Result<()> {
    use tar::EntryType::{Block, Directory, Fifo, Link, Regular, Symlink};
    let bench = Bench::start().await?;
    bench.image("python3", "").await?;
    let client = dispatch_fixtures::hub::client()?;
    let hello = HELLO.as_bytes();
    let zeros = vec![0; 26 << 20];
    let table: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "an absolute path",
            archive(&[("/tmp/dispatch-escaped.py", Regular, hello)]),
            "must lie inside",
        ),
        (
            "a path that climbs",
            archive(&[("../escaped.py", Regular, hello)]),
            "must lie inside",
        ),
        (
            "a path that climbs later",
            archive(&[("a/../../escaped.py", Regular, hello)]),
            "must lie inside",
        ),
        (
            "a folder that climbs",
            archive(&[("../up", Directory, b""), ("a.py", Regular, hello)]),
            "must lie inside",
        ),
        (
            "a link out",
            archive(&[("a.py", Symlink, b"/etc/passwd")]),
            "no links",
        ),
        (
            "a link and a file behind it",
            archive(&[("a", Symlink, b"/tmp"), ("a/b.py", Regular, hello)]),
            "no links",
        ),
        (
            "a hard link",
            archive(&[("a.py", Link, b"/etc/passwd")]),
            "no links",
        ),
        ("a pipe", archive(&[("a.py", Fifo, b"")]), "no links"),
        ("a device", archive(&[("a.py", Block, b"")]), "no links"),
        (
            "a bomb",
            archive(&[("a", Regular, &zeros), ("b", Regular, &zeros)]),
            "too large",
        ),
        ("nothing", archive(&[]), "no files"),
        ("no archive", vec![0x1f, 0x8b, 0, 0], "no tar.gz archive"),
        (
            "a cut archive",
            archive(&[("a.py", Regular, hello)])[..40].to_vec(),
            "no tar.gz archive",
        ),
    ];

    println!("| archive | status | what came back |\n|---|---|---|");
    for (what, bytes, wanted) in table {
        let source = base64(&bytes);
        let body = json!({"name": "bad", "image": "python3", "handler": "a.handle", "source": source});
        let answer = client
            .post(format!("{}/v1/function", bench.hub.url()))
            .body(body.to_string());
        let answer = answer.header("content-type", "application/json").send().await?;
        let status = answer.status().as_u16();
        let said = answer.text().await?;
        assert!(
            (status == 400 || status == 413) && said.contains(wanted),
            "{what}: {status} {said}"
        );
        println!("| {what} | {status} | {said} |");
    }
    for escaped in [
        "/tmp/dispatch-escaped.py".into(),
        bench.hub.scratch().join("escaped.py"),
    ] {
        assert!(!escaped.exists(), "{}", escaped.display());
    }
    Ok(())
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
