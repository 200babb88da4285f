//! Archives that are broken, huge or not what they seem, and addresses from which the hub fetches none.

use std::io::Write as _;

use anyhow::{Result, ensure};
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse as _;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tar::EntryType::{Char, Directory, Regular, Symlink};

use crate::stage::{Stage, Table, reason};

const HELLO: &[u8] = b"def handle(context, payload): return 'hello'\n";

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// A header of 512 bytes with a name as it is.
fn entry(name: &[u8], kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_mode(0o4777);
    header.set_size(size);
    header.set_cksum();
    header
}

fn tar(entries: &[(&[u8], tar::EntryType, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, content) in entries {
        builder
            .append(&entry(name, *kind, content.len() as u64), *content)
            .unwrap();
    }
    builder.into_inner().unwrap()
}

/// A name longer than a header has room for.
fn long_name(name: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut long = tar::Header::new_gnu();
    long.as_old_mut().name[..13].copy_from_slice(b"././@LongLink");
    long.set_entry_type(tar::EntryType::GNULongName);
    long.set_size(name.len() as u64);
    long.set_cksum();
    builder.append(&long, name.as_bytes()).unwrap();
    builder
        .append(&entry(b"x", Regular, HELLO.len() as u64), HELLO)
        .unwrap();
    builder.into_inner().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_is_taken_whole_or_not_at_all() -> Result<()> {
    let stage = Stage::start().await?;
    let good = gz(&tar(&[(b"a.py", Regular, HELLO)]));
    let names: Vec<String> = (0..10_001).map(|n| format!("{n}.py")).collect();
    let many: Vec<_> = names
        .iter()
        .map(|name| (name.as_bytes(), Regular, &b""[..]))
        .collect();
    let folders: Vec<_> = names
        .iter()
        .map(|name| (name.as_bytes(), Directory, &b""[..]))
        .collect();
    let zeros = vec![0; 51 << 20];
    let mut claims = entry(b"a.py", Regular, 1 << 42).as_bytes().to_vec();
    claims.extend(HELLO);
    let mut broken = tar(&[(b"a.py", Regular, HELLO)]);
    broken[148] = b'9';
    let mut behind = good.clone();
    behind.extend(b"and more");
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0xff;
    let (deep, climbing) = (
        "d/".repeat(2000) + "a.py",
        "d/".repeat(200) + "../../../../etc/x.py",
    );
    let rows: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        (
            "nothing",
            Vec::new(),
            400,
            "either source or sourceURL must be specified",
        ),
        (
            "only the beginning of gzip",
            vec![0x1f, 0x8b],
            400,
            "no tar.gz archive",
        ),
        ("gzip of nothing", gz(b""), 400, "the source has no files"),
        (
            "gzip of a text",
            gz(b"def handle(c, p): pass\n"),
            400,
            "no tar.gz archive",
        ),
        ("gzip within gzip", gz(&good), 400, "no tar.gz archive"),
        (
            "only folders",
            gz(&tar(&[(b"a/", Directory, b"")])),
            400,
            "the source has no files",
        ),
        ("cut in its head", good[..12].to_vec(), 400, "no tar.gz archive"),
        (
            "cut in the middle",
            good[..good.len() / 2].to_vec(),
            400,
            "no tar.gz archive",
        ),
        ("one bit that fell over", flipped, 400, "no tar.gz archive"),
        ("something behind it", behind, 400, "no tar.gz archive"),
        ("a checksum that is wrong", gz(&broken), 400, "no tar.gz archive"),
        (
            "a file that says it has 4 TB",
            gz(&claims),
            413,
            "unpacks to more than",
        ),
        (
            "51 MB of zeros in 50 kB",
            gz(&tar(&[(b"a.py", Regular, &zeros)])),
            413,
            "unpacks to more than",
        ),
        (
            "51 MB of zeros behind a file",
            gz(&[&tar(&[(b"a.py", Regular, HELLO)])[..], &zeros].concat()),
            413,
            "unpacks to more than",
        ),
        ("10001 files", gz(&tar(&many)), 413, "more than 10000 entries"),
        (
            "10001 folders",
            gz(&tar(&folders)),
            413,
            "more than 10000 entries",
        ),
        (
            "a device",
            gz(&tar(&[(b"a.py", Char, b"")])),
            400,
            "only files and folders are allowed",
        ),
        (
            "a link to itself",
            gz(&tar(&[(b"a.py", Symlink, b"")])),
            400,
            "only files and folders are allowed",
        ),
        (
            "a kind nobody knows",
            gz(&tar(&[(b"a.py", tar::EntryType::new(b'Z'), HELLO)])),
            400,
            "only files and folders are allowed",
        ),
        (
            "a name of two dots",
            gz(&tar(&[(b"..", Regular, HELLO)])),
            400,
            "must lie inside",
        ),
        (
            "a name of one dot",
            gz(&tar(&[(b".", Regular, HELLO)])),
            400,
            "a file needs a name",
        ),
        (
            "a long name that climbs",
            gz(&long_name(&climbing)),
            400,
            "must lie inside",
        ),
        ("a name of 4 kB", gz(&long_name(&deep)), 400, "is longer than"),
        (
            "a part of 300 letters",
            gz(&long_name(&format!("{}.py", "x".repeat(300)))),
            400,
            "is longer than",
        ),
        ("a NUL in a name", gz(&long_name("a\0b/../../x.py")), 400, ""),
        (
            "a file and a folder of one name",
            gz(&tar(&[(b"a", Regular, HELLO), (b"a/b.py", Regular, HELLO)])),
            400,
            "is a file and a folder",
        ),
        (
            "a folder and a file of one name",
            gz(&tar(&[(b"a/b.py", Regular, HELLO), (b"a", Regular, HELLO)])),
            400,
            "is a file and a folder",
        ),
        (
            "10 MiB and a byte",
            vec![b'#'; (10 << 20) + 1],
            413,
            "the source is too large",
        ),
    ];

    let mut table = Table::new("archive | status | what came back");
    for (what, bytes, status, wanted) in rows {
        let body = json!({"name": "bad", "image": "python3", "handler": "a.handle", "source": STANDARD.encode(bytes)});
        let answer = stage.rest("POST /v1/function", &body).await?;
        table.row(what, answer.status, status, &answer.said(), wanted);
        if answer.status == 201 {
            stage.settled("function", "bad").await?;
            stage.hub.ok(&["delete", "function", "bad"])?;
        }
    }
    table.done()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_without_the_handler_is_an_error_with_one_reason() -> Result<()> {
    let stage = Stage::start().await?;
    let archive = gz(&tar(&[
        (b"pkg/a.py", Regular, HELLO),
        (b"pkg/__init__.py", Regular, b""),
        (b"b.txt", Regular, b"x"),
    ]));
    let zip = b"PK\x03\x04 and so on".to_vec();
    let mut table = Table::new("archive: handler | status | why");
    for (at, (what, bytes, handler, wanted)) in [
        (
            "a file that is not there",
            &archive,
            "c.handle",
            "No module named 'c'",
        ),
        (
            "a function that is not there",
            &archive,
            "pkg.a.other",
            "has no 'other'",
        ),
        (
            "a file that is not Python",
            &archive,
            "b.handle",
            "No module named 'b'",
        ),
        ("a path", &archive, "pkg/a.handle", "No module named"),
        (
            "out of its folder",
            &archive,
            "..os.getcwd",
            "is not of the form module.function",
        ),
        (
            "no handler for several files",
            &archive,
            "",
            "Exactly 1 source file needed when HANDLER is empty: there are 3",
        ),
        ("a ZIP archive", &zip, "", "Invalid function file or handler"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("f{at}");
        let more = json!({"handler": handler, "source": STANDARD.encode(bytes)});
        let made = stage.function(&name, "", more).await?;
        let why = match made["status"] == "ERROR" {
            true => reason(&made)?,
            false => made.to_string(),
        };
        let status = made["status"].as_str().unwrap_or_default();
        table.row(&format!("{what}: `{handler}`"), status, "ERROR", &why, wanted);
        ensure!(
            why.contains("Invalid function file or handler") || !wanted.contains("module"),
            "{why}"
        );
    }
    table.done()
}

/// A server on this machine that leads to other places; its port.
async fn guide() -> Result<u16> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let to = |place: String| {
        let place = place.clone();
        get(move || async move { (StatusCode::FOUND, [(header::LOCATION, place)]).into_response() })
    };
    let app = Router::new()
        .route("/hello.py", get(|| async { HELLO }))
        .route("/itself", to("/hello.py".to_owned()))
        .route("/name", to(format!("http://localhost:{port}/hello.py")))
        .route(
            "/metadata",
            to("http://169.254.169.254/latest/meta-data".to_owned()),
        )
        .route("/file", to("file:///etc/passwd".to_owned()));
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(port)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_fetches_nothing_from_where_only_it_can_reach() -> Result<()> {
    let stage = Stage::start().await?;
    let port = guide().await?;
    let hub = stage.hub.port();
    let no = "is no public address, and this hub fetches from no others";
    let mut table = Table::new("sourceURL | status | what came back");
    let addresses = [
        format!("http://127.0.0.1:{hub}/v1/secret"),
        format!("http://localhost:{port}/hello.py"),
        format!("http://127.1:{port}/hello.py"),
        format!("http://2130706433:{port}/hello.py"),
        format!("http://[::1]:{port}/hello.py"),
        format!("http://[::ffff:127.0.0.1]:{port}/hello.py"),
        format!("http://0.0.0.0:{port}/hello.py"),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "http://10.0.0.1/x.py".to_owned(),
        "http://192.168.0.1/x.py".to_owned(),
        "http://[fd00:ec2::254]/x.py".to_owned(),
    ];
    for address in addresses {
        let body = json!({"name": "bad", "image": "python3", "sourceURL": address});
        let answer = stage.rest("POST /v1/function", &body).await?;
        let shown = address
            .replace(&port.to_string(), "PORT")
            .replace(&hub.to_string(), "HUB");
        table.row(&shown, answer.status, 400, &answer.said(), no);
    }
    for (address, wanted) in [
        ("file:///etc/passwd", "must begin with http://"),
        ("http://", "must begin with http://"),
        ("gopher://x", "must begin with http://"),
    ] {
        let body = json!({"name": "bad", "image": "python3", "sourceURL": address});
        let answer = stage.rest("POST /v1/function", &body).await?;
        table.row(address, answer.status, 400, &answer.said(), wanted);
    }
    table.done()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_operator_names_is_fetched_from_and_leads_nowhere_else() -> Result<()> {
    let stage = Stage::with(&["--fetch-from", "127.0.0.0/8"]).await?;
    let server = format!("http://127.0.0.1:{}", guide().await?);
    let mut table = Table::new("sourceURL | status | what came back");
    for (path, status, wanted) in [
        ("/hello.py", 201, ""),
        ("/itself", 201, ""),
        ("/name", 201, ""),
        ("/metadata", 400, "169.254.169.254 is no public address"),
        ("/file", 400, "sourceURL cannot be fetched"),
        ("/nothing", 400, "the server answered 404"),
    ] {
        let body = json!({"name": "f", "image": "python3", "sourceURL": format!("{server}{path}")});
        let answer = stage.rest("POST /v1/function", &body).await?;
        table.row(path, answer.status, status, &answer.said(), wanted);
        if answer.status == 201 {
            stage.hub.ok(&["delete", "function", "f"])?;
        }
    }
    table.done()
}
