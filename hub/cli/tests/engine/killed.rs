//! What a hub that is killed leaves running: nothing, and that without a hub that starts again.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context as _, Result};
use dispatch_fixtures::hub::Hub;
use dispatch_fixtures::process::{runs_from, until};
use serde_json::{Value, json};

use crate::bench::Bench;

/// The shell waits for nothing else; the rest is for a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// Answers with its own number and that of what it left running.
const WARM: &str = r#"
import os, subprocess
left = subprocess.Popen(["sleep", "3600"])
def handle(context, payload):
    return [os.getpid(), left.pid]
"#;
const SERVER: &str = r#"#!/usr/bin/env python3
import json, os, subprocess
from http.server import BaseHTTPRequestHandler, HTTPServer

left = subprocess.Popen(["sleep", "3600"])

class Function(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"context": {}, "payload": [os.getpid(), left.pid]}).encode())

HTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Function).serve_forever()
"#;
/// Never answers, and has a child; both have the function's folder in their command lines.
const ONCE: &str = r#"#!/bin/sh
sh -c "sleep 3600; true" "$PWD" &
wait
"#;

fn lives(process: &Value) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
    !matches!(fields.split_whitespace().next(), None | Some("Z" | "X"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_and_tools_end_with_a_hub_that_is_killed_without_a_sandbox_too() -> Result<()> {
    // Given a worker that waits, one that listens, one in the middle of a call, and a tool whose registry says nothing
    let hub = Hub::start_with(env!("CARGO_BIN_EXE_dispatch"), &["--sandbox", "off"]).await?;
    let mut bench = Bench { hub };
    for language in ["python3", "exec"] {
        bench.image(language, "").await?.context("it is everywhere")?;
    }
    let mut processes = Vec::new();
    for (image, name, file, text, handler) in [
        ("python3", "warm", "warm.py", WARM, "warm.handle"),
        ("exec", "server", "server", SERVER, "./server::http"),
    ] {
        let path = bench.file(file, text)?;
        bench
            .function(name, image, &path, &["--handler", handler])
            .await?;
        let run = bench.exec(name, "{}", &[])?;
        processes.extend(run["output"].as_array().with_context(|| run.to_string())?.clone());
    }
    assert_eq!(processes.len(), 4);
    let path = bench.file("once", ONCE)?;
    bench
        .function(
            "once",
            "exec",
            &path,
            &["--handler", "./once", "--timeout", "600000"],
        )
        .await?;
    bench.hub.ok(&["exec", "once", "--input", "{}"])?;
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let manifest = format!("--index-url http://{}/simple\nrequests\n", silent.local_addr()?);
    let path = bench.file("requirements.txt", &manifest)?;
    bench
        .hub
        .ok(&["create", "image", "slow", "python3", "--runtime-deps", &path])?;
    let below = |folder: &str| bench.hub.data().join(folder).to_string_lossy().into_owned();
    let (called, tool) = (below("functions/revisions"), below("images/partial-"));
    until("the call and the tool run", SOON, async || {
        Ok(runs_from(&called) && runs_from(&tool))
    })
    .await?;
    assert!(processes.iter().all(lives), "{}", json!(processes));

    // When the hub is killed, and none starts again
    bench.hub.kill()?;

    // Then nothing of it is left
    until(
        "workers, what they left and the tool are gone",
        SOON,
        async || Ok(!processes.iter().any(lives) && !runs_from(&called) && !runs_from(&tool)),
    )
    .await
}
