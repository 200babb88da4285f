//! Each check fails for a driver that breaks its promise: the example in Python with one line changed, and a door that
//! says yes too early.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use serde_json::Value;

use crate::examples::{checked, dispatch, example};

/// A check, and the line of the example without which it cannot pass: what it is and what becomes of it.
const FAULTS: &[(&str, &str, &str)] = &[
    (
        "valid-events",
        r#""specversion": "1.0""#,
        r#""specversion": "0.1""#,
    ),
    (
        "stops-on-sigterm",
        "def main():",
        "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ndef main():",
    ),
    ("stops-without-hub", "os._exit(0)", "pass"),
    (
        "stable-ids",
        r#""id": str(number)"#,
        r#""id": os.urandom(8).hex()"#,
    ),
    (
        "nothing-early",
        r#"    ask("", json.dumps(event).encode(), headers)"#,
        "    alone = {**headers, 'content-type': 'application/cloudevents-batch+json'}\n    ask('', b'[]', alone)\n    \
         ask('', json.dumps(event).encode(), headers)",
    ),
    (
        "sends-again",
        "if 400 <= error.code < 500",
        "if 400 <= error.code",
    ),
    ("full-hub", "time.sleep(after)", "time.sleep(after / 20)"),
    (
        "reconnects",
        "except OSError as error:",
        "except ZeroDivisionError as error:",
    ),
    (
        "malformed",
        "except UnicodeDecodeError",
        "except ZeroDivisionError",
    ),
];

fn executable(folder: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    std::fs::write(&path, text)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// The one finding of a check that was asked for alone.
fn finding(stdout: &[u8]) -> Result<Value> {
    let findings: Vec<Value> = serde_json::from_slice(stdout)?;
    ensure!(findings.len() == 1, "{findings:?}");
    findings.into_iter().next().context("there is one")
}

#[test]
fn there_is_a_fault_for_each_check() {
    let broken: Vec<&str> = FAULTS.iter().map(|(check, ..)| *check).collect();
    assert_eq!(broken, dispatch_driver_suite::names());
}

#[tokio::test]
async fn each_check_fails_for_a_driver_that_breaks_its_promise() -> Result<()> {
    let good = std::fs::read_to_string(example("python/lines.py"))?;
    let folder = tempfile::tempdir()?;

    let all = FAULTS.iter().map(async |(check, line, fault)| {
        ensure!(
            good.matches(line).count() == 1,
            "{check}: {line:?} is not in the example"
        );
        let driver = executable(folder.path(), check, &good.replace(line, fault))?;
        let only = ["--only", check, "--patience", "6s", "-o", "json"];
        let output = checked(&driver, &only).await?;
        let found = finding(&output.stdout)?;
        println!("{check}: {}", found["seen"]);
        ensure!(output.status.code() == Some(1), "{check}: {found}");
        ensure!(found["check"] == *check && found["verdict"] == "fail", "{found}");
        Ok(())
    });

    try_join_all(all).await?;
    Ok(())
}

/// A driver that listens, and answers when the hub has the event.
const DOOR: &str = r#"#!/usr/bin/env python3
import http.server, json, os, sys, threading, urllib.request

SINK, TOKEN = os.environ["K_SINK"], os.environ["DISPATCH_TOKEN"]

def ask(method, path, body, kind):
    headers = {"authorization": "Bearer " + TOKEN, "content-type": kind}
    try:
        urllib.request.urlopen(urllib.request.Request(SINK + path, body, headers, method=method), timeout=2)
        return True
    except OSError:
        return False

class Door(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        name = self.rfile.read(int(self.headers["content-length"])).decode()
        event = {"specversion": "1.0", "id": name, "source": "/door", "type": "door.opened"}
        said = ask("POST", "", json.dumps(event).encode(), "application/cloudevents+json")
        self.send_response(202 if said else 503)
        self.send_header("retry-after", "1")
        self.end_headers()

def stop_with_the_hub():
    sys.stdin.buffer.read()
    os._exit(0)

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Door)
server.daemon_threads = True
threading.Thread(target=stop_with_the_hub, daemon=True).start()
listen = {"status": "READY", "listen": "127.0.0.1:%d" % server.server_port}
ask("PUT", "/health", json.dumps(listen).encode(), "application/json")
server.serve_forever()
"#;

async fn sent_to(door: &Path, more: &[&str]) -> Result<std::process::Output> {
    let trigger =
        r#"curl --silent --fail --output /dev/null --max-time 10 --data "event $NUMBER" "http://$LISTEN/""#;
    dispatch(
        &[
            &["driver", "check", &door.to_string_lossy(), "--trigger", trigger],
            more,
        ]
        .concat(),
    )
    .await
}

#[tokio::test]
async fn a_door_that_answers_when_the_hub_has_the_event_passes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let door = executable(folder.path(), "door", DOOR)?;

    let output = sent_to(&door, &[]).await?;

    let told = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{told}");
    ensure!(told.matches("| pass").count() == 8, "{told}");
    Ok(())
}

#[tokio::test]
async fn a_door_that_says_yes_before_the_hub_has_the_event_fails() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let early = DOOR
        .replace("said = ask(", "threading.Thread(target=ask, args=(")
        .replace(r#"cloudevents+json")"#, r#"cloudevents+json")).start()"#)
        .replace("202 if said else 503", "202");
    let door = executable(folder.path(), "door", &early)?;

    let only = [
        "--only",
        "nothing-early",
        "--only",
        "full-hub",
        "--patience",
        "6s",
        "-o",
        "json",
    ];
    let output = sent_to(&door, &only).await?;

    let findings: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    assert_eq!(findings[0]["verdict"], "fail", "{findings:?}");
    assert!(
        findings[0]["seen"]
            .to_string()
            .contains("acknowledged upstream before"),
        "{findings:?}"
    );
    assert!(
        findings[1]["seen"]
            .to_string()
            .contains("no sender was told to come again"),
        "{findings:?}"
    );
    Ok(())
}
