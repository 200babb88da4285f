//! The commands for those who write functions, against a real hub: edit, log, dev, rerun, cancel, applications.
// Helpers outside #[test] functions may unwrap here: a panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use dispatch_fixtures::hub::Hub;
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_dispatch");
const PATIENCE: Duration = Duration::from_secs(60);
const TALKER: &str = "import sys, time\ndef handle(ctx, payload):\n    print('out', payload.get('n'))\n    print('err', file=sys.stderr)\n    time.sleep(payload.get('sleep', 0))\n    if payload.get('fail'): raise RuntimeError('failed')\n    return payload.get('n')\n";

/// A hub with the image `python3` and the function `talker`, READY.
async fn with_function() -> Result<Hub> {
    let hub = Hub::start(BINARY).await?;
    std::fs::write(hub.scratch().join("talker.py"), TALKER)?;
    hub.ok(&[
        "create",
        "base-image",
        "python3-base",
        "x/y:1",
        "--language",
        "python3",
    ])?;
    hub.ok(&["create", "image", "python3", "python3-base"])?;
    hub.ok(&[
        "create",
        "function",
        "talker",
        "talker.py",
        "--image",
        "python3",
        "-a",
        "shop",
    ])?;
    hub.until("the function is READY", PATIENCE, |hub| {
        Ok(hub.json(&["get", "function", "talker"])?["status"] == "READY")
    })
    .await?;
    Ok(hub)
}

/// Runs the command line with an editor that is this shell script; the text is its first argument.
fn edited(hub: &Hub, script: &str, args: &[&str]) -> Result<Output> {
    let editor = hub.scratch().join("editor.sh");
    std::fs::write(&editor, format!("#!/bin/sh\n{script}\n"))?;
    std::fs::set_permissions(&editor, std::fs::Permissions::from_mode(0o755))?;
    Ok(Command::new(BINARY)
        .args(args)
        .env("HOME", hub.scratch())
        .env("DISPATCH_PORT", hub.port().to_string())
        .env("EDITOR", &editor)
        .env_remove("VISUAL")
        .current_dir(hub.scratch())
        .stdin(Stdio::null())
        .output()?)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resource_is_changed_in_an_editor_and_what_is_refused_is_kept() -> Result<()> {
    let hub = with_function().await?;

    let changed = edited(
        &hub,
        "sed -i 's/timeout:.*//; $ a timeout: 1234' \"$1\"",
        &["edit", "function", "talker"],
    )?;
    let shown = edited(&hub, "cp \"$1\" shown.yaml", &["edit", "functions", "talker"])?;

    ensure!(changed.status.success(), "{}", text(&changed.stderr));
    assert_eq!(text(&changed.stdout), "Updated Function: talker\n");
    let now = hub.json(&["get", "function", "talker"])?;
    assert_eq!(now["timeout"], 1234);
    assert_eq!(text(&shown.stderr), "nothing is changed\n");
    let yaml = std::fs::read_to_string(hub.scratch().join("shown.yaml"))?;
    ensure!(
        yaml.contains("kind: Function") && yaml.contains("value: shop") && !yaml.contains("faasId"),
        "{yaml}"
    );

    // The hub refuses it: the text is in the file that is named.
    let refused = edited(
        &hub,
        "echo 'handler: \"\"\ntimeout: -1' >> \"$1\"; sed -i '/timeout: 1234/d' \"$1\"",
        &["edit", "function", "talker"],
    )?;
    let said = text(&refused.stderr);
    ensure!(
        refused.status.code() == Some(1) && said.contains("timeout"),
        "{said}"
    );
    let kept = said.trim().rsplit(' ').next().context("a file")?;
    ensure!(std::fs::read_to_string(kept)?.contains("timeout: -1"), "{said}");
    std::fs::remove_file(kept)?;
    // What is no such resource is shown again, and kept when it is left so.
    let broken = edited(&hub, "echo 'name: [' > \"$1\"", &["edit", "function", "talker"])?;
    let said = text(&broken.stderr);
    ensure!(
        broken.status.code() == Some(1) && said.matches("document 1").count() == 2,
        "{said}"
    );
    let renamed = edited(
        &hub,
        "sed -i 's/name: talker/name: other/' \"$1\"",
        &["edit", "function", "talker"],
    )?;
    ensure!(
        text(&renamed.stderr).contains("kind and name stay as they are"),
        "{}",
        text(&renamed.stderr)
    );
    assert_eq!(hub.json(&["get", "function", "talker"])?["timeout"], 1234);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_are_logged_run_again_edited_and_cancelled() -> Result<()> {
    let hub = with_function().await?;
    let first = hub.json(&["exec", "talker", "-w", "--input", r#"{"n": 1}"#, "-a", "shop"])?;
    hub.json(&[
        "exec",
        "talker",
        "--wait",
        "--input",
        r#"{"n": 2, "fail": true}"#,
        "--all",
    ])?;
    let id = first["name"].as_str().context("a name")?;

    let log = hub.ok(&["log", "talker"])?;
    let last = hub.ok(&["log", "talker", "--tail", "1"])?;

    let lines: Vec<&str> = log.lines().collect();
    ensure!(
        lines[0].starts_with("--- ") && lines[0].ends_with(&format!("{id} READY")),
        "{log}"
    );
    assert_eq!(&lines[1..3], ["out 1", "stderr: err"]);
    ensure!(
        lines[3].ends_with("ERROR") && log.contains("FunctionError: failed"),
        "{log}"
    );
    ensure!(last.starts_with("--- ") && !last.contains("out 1"), "{last}");
    let unknown = hub.cli(&["log", "nobody"])?;
    assert_eq!(text(&unknown.stderr), "[Code: 404] function nobody not found\n");

    let again = hub.json(&["rerun", id, "-w"])?;
    let other = hub.json(&["rerun", id, "--wait", "--input", r#"{"n": 5}"#])?;
    let edit = edited(&hub, "sed -i 's/1/9/' \"$1\"", &["rerun", id, "--wait", "--edit"])?;
    assert_eq!(
        (&again["output"], &again["rerunOf"], &other["output"]),
        (&json!(1), &first["name"], &json!(5))
    );
    let edit: serde_json::Value = serde_json::from_slice(&edit.stdout)?;
    assert_eq!(edit["output"], 9);
    let of_shop = hub.json(&["get", "runs", "-a", "shop", "--since", "1h"])?;
    assert_eq!(
        of_shop.as_array().map(Vec::len),
        Some(4),
        "the run and those made of it"
    );
    assert_eq!(
        hub.json(&["get", "runs", "--status", "error", "--limit", "1"])?[0]["input"]["n"],
        2
    );

    let slow = hub.json(&["exec", "talker", "--input", r#"{"n": 3, "sleep": 600}"#])?;
    let slow = slow["name"].as_str().context("a name")?;
    hub.until("it runs", PATIENCE, |hub| {
        Ok(hub.json(&["get", "run", "talker", slow])?["status"] == "CREATING")
    })
    .await?;
    assert_eq!(hub.ok(&["cancel", slow])?, format!("Cancelled run: {slow}\n"));
    let ended = hub.json(&["get", "run", "talker", slow])?;
    assert_eq!(
        ended["reason"][0],
        "error running function: talker: the run was cancelled"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applications_gather_what_is_created_for_them() -> Result<()> {
    let hub = with_function().await?;
    assert_eq!(
        hub.ok(&["create", "application", "shop"])?,
        "Created application: shop\n"
    );
    let file = "kind: Secret\nname: one\nsecrets: {a: b}\n---\nkind: Application\nname: other\n";
    std::fs::write(hub.scratch().join("all.yaml"), file)?;
    hub.ok(&["create", "-f", "all.yaml", "--application", "shop"])?;
    hub.ok(&[
        "create",
        "subscription",
        "talker",
        "--name",
        "sub",
        "--event-type",
        "t",
        "-a",
        "shop",
    ])?;

    for (what, count) in [
        ("functions", 1),
        ("secrets", 1),
        ("subscriptions", 1),
        ("images", 0),
    ] {
        let found = hub.json(&["get", what, "-a", "shop"])?;
        assert_eq!(found.as_array().map(Vec::len), Some(count), "{what}: {found}");
    }
    let table = hub.ok(&["get", "applications"])?;
    ensure!(
        table.contains("shop  | READY") && table.contains("other"),
        "{table}"
    );
    assert_eq!(
        hub.ok(&["delete", "app", "other"])?,
        "Deleted application: other\n"
    );
    Ok(())
}

/// A command that goes on, and what it says.
struct Going {
    child: Child,
    lines: Receiver<String>,
    /// Not waited for yet.
    said: Vec<String>,
}

impl Going {
    fn start(folder: &Path, args: &[&str]) -> Result<Self> {
        let mut child = Command::new(BINARY)
            .args(args)
            .env("HOME", folder)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (said, lines) = channel();
        let both: [Box<dyn std::io::Read + Send>; 2] = [
            Box::new(child.stdout.take().context("output")?),
            Box::new(child.stderr.take().context("errors")?),
        ];
        for stream in both {
            let said = said.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    if said.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        let said = Vec::new();
        Ok(Self { child, lines, said })
    }

    /// Reads on until it has said this; what it says on its two streams may come in any order.
    fn says(&mut self, wanted: &str) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.said.iter().position(|line| line.contains(wanted)) {
                self.said.remove(at);
                return Ok(());
            }
            let left = end.saturating_duration_since(Instant::now());
            let line = self
                .lines
                .recv_timeout(left)
                .with_context(|| format!("{wanted} was not said, but {:?}", self.said))?;
            self.said.push(line);
        }
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn a_function_is_run_again_each_time_its_folder_or_its_sample_changes() -> Result<()> {
    // Given a folder and a sample event
    let folder = tempfile::tempdir()?;
    let code = folder.path().join("code");
    std::fs::create_dir(&code)?;
    let source = |word: &str| {
        format!(
            "def handle(ctx, payload):\n    print('printed')\n    return '{word} ' + payload['who'] + ' ' + ctx['event']['type']\n"
        )
    };
    std::fs::write(code.join("hello.py"), source("hello"))?;
    std::fs::write(
        folder.path().join("event.json"),
        r#"{"specversion": "1.0", "type": "my.event", "source": "/s", "id": "1", "data": {"who": "Jon"}}"#,
    )?;

    let mut dev = Going::start(
        folder.path(),
        &[
            "dev",
            "code",
            "--handler",
            "hello.handle",
            "--event",
            "event.json",
        ],
    )?;

    // Then it runs, and again when the code, and when the sample changes
    dev.says("printed")?;
    dev.says("hello Jon my.event")?;
    dev.says("READY in")?;
    dev.says("waiting for changes in code")?;
    std::fs::write(code.join("hello.py"), source("goodbye"))?;
    dev.says("goodbye Jon my.event")?;
    dev.says("waiting for changes")?;
    std::fs::write(folder.path().join("event.json"), r#"{"who": "Arya"}"#)?;
    dev.says("goodbye Arya dev.sample")?;
    dev.says("waiting for changes")?;
    // What is wrong is said, and the next change is tried.
    std::fs::write(code.join("hello.py"), "def nothing(): pass\n")?;
    dev.says("Invalid function file or handler")?;
    dev.says("waiting for changes")?;
    std::fs::write(code.join("hello.py"), source("back"))?;
    dev.says("back Arya")
}

#[test]
fn a_function_is_run_once_and_its_end_is_the_exit_code() -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::write(
        folder.path().join("f.py"),
        "def handle(ctx, payload): return [payload['n'] + 1, ctx['secrets']['a']]\n",
    )?;
    std::fs::write(folder.path().join("secret.json"), r#"{"a": "b"}"#)?;
    let dev = |input: &str| {
        Command::new(BINARY)
            .args([
                "dev",
                "f.py",
                "--once",
                "--secret",
                "secret.json",
                "--input",
                input,
            ])
            .env("HOME", folder.path())
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .output()
    };

    let (fine, failed) = (dev(r#"{"n": 1}"#)?, dev("{}")?);

    ensure!(fine.status.success(), "{}", text(&fine.stderr));
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&fine.stdout)?,
        json!([2, "b"])
    );
    assert_eq!(failed.status.code(), Some(1));
    ensure!(
        text(&failed.stdout).contains("FunctionError: 'n'"),
        "{}",
        text(&failed.stdout)
    );
    let left: Vec<_> = std::fs::read_dir(folder.path())?.collect();
    assert_eq!(left.len(), 2, "nothing is left behind");
    Ok(())
}
