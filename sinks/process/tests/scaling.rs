//! How many workers a function has: by its queue, between its minimum and its maximum, down to none.
// Helpers outside #[test] functions may unwrap here: a panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod stage;

use std::time::{Duration, Instant};

use dispatch_contract::{InvocationError, Scale};
use futures_util::future::join_all;
use serde_json::{Value, json};
use stage::{Stage, alive, error, eventually};

/// Answers its process group, after a while if asked to.
const GROUP: &str = r#"
import os, time
def handle(ctx, payload):
    time.sleep(payload or 0)
    return os.getpgrp()
"#;

/// A server of threads: answers its process id, after a while if asked to.
const SERVER: &str = r#"#!/usr/bin/env python3
import json, os, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

lock, now, most = threading.Lock(), 0, 0

class Function(BaseHTTPRequestHandler):
    def do_POST(self):
        global now, most
        payload = json.loads(self.rfile.read(int(self.headers["content-length"])))["payload"]
        with lock:
            now += 1
            most = max(most, now)
        if payload == "exit":
            os._exit(3)
        time.sleep(payload if isinstance(payload, (int, float)) else 0)
        body = json.dumps({"payload": {"pid": os.getpid(), "most": most}}).encode()
        with lock:
            now -= 1
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass

ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Function).serve_forever()
"#;

fn groups(answers: &[Value]) -> Vec<i64> {
    let mut groups: Vec<i64> = answers.iter().map(|g| g.as_i64().unwrap()).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

fn living(groups: &[i64]) -> usize {
    groups.iter().filter(|group| alive(**group) > 0).count()
}

#[tokio::test]
async fn a_function_nobody_calls_has_no_worker_and_gets_one_with_the_next_call() {
    let stage = Stage::with(|s| s.idle = Duration::from_millis(100));
    let revision = stage.python(GROUP).await;

    let first = stage.output(revision, json!(0)).await.as_i64().unwrap();
    eventually("no worker is left", || alive(first) == 0).await;

    let next = stage.output(revision, json!(0)).await.as_i64().unwrap();
    assert_ne!(next, first);
}

#[tokio::test]
async fn a_function_has_as_many_workers_as_it_says_within_the_engines_bound() {
    let mut stage = Stage::with(|s| s.max_workers = 3);
    stage.scale = Scale {
        min: Some(2),
        max: Some(50),
        idle: Some(Duration::from_millis(200)),
        ..Scale::default()
    };
    let revision = stage.python(GROUP).await;

    let answers = join_all((0..6).map(|_| stage.output(revision, json!(1.0)))).await;

    let groups = groups(&answers);
    assert_eq!(groups.len(), 3, "{groups:?}");
    eventually("two workers stay", || living(&groups) == 2).await;
    // They stay: several idle times later still two.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(living(&groups), 2);
}

#[tokio::test]
async fn a_function_of_one_worker_does_one_call_at_a_time() {
    let mut stage = Stage::new();
    stage.scale.max = Some(1);
    let revision = stage.python(GROUP).await;

    let answers = join_all((0..5).map(|_| stage.output(revision, json!(0.05)))).await;

    assert_eq!(groups(&answers).len(), 1);
}

#[tokio::test]
async fn a_server_takes_as_many_calls_at_a_time_as_its_function_says() {
    let mut stage = Stage::with(|s| s.max_workers = 1);
    stage.scale.concurrency = Some(8);
    let revision = stage
        .deploy("exec", &[("serve", SERVER)], "serve::http")
        .await
        .unwrap();

    let start = Instant::now();
    let answers = join_all((0..16).map(|_| stage.output(revision, json!(0.5)))).await;

    // Two rounds of eight, not sixteen calls in a row.
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    assert!(
        answers.iter().all(|a| a["pid"] == answers[0]["pid"]),
        "{answers:?}"
    );
    let most = stage.output(revision, json!(0)).await["most"].as_u64().unwrap();
    assert!((5..=8).contains(&most), "{most}");
}

#[tokio::test]
async fn a_late_call_among_several_ends_the_worker_and_the_others_are_told_to_try_again() {
    let mut stage = Stage::with(|s| s.max_workers = 1);
    stage.scale.concurrency = Some(4);
    let revision = stage
        .deploy("exec", &[("serve", SERVER)], "serve::http")
        .await
        .unwrap();
    let before = stage.output(revision, json!(0)).await["pid"].clone();

    let late = stage.call_within(revision, json!(600), Duration::from_secs(1));
    let other = stage.call(revision, json!(10));
    let (late, other) = tokio::join!(late, other);

    assert!(matches!(late.result, Err(InvocationError::Timeout)), "{late:?}");
    assert!(
        matches!(other.result, Err(InvocationError::Unavailable(_))),
        "{other:?}"
    );
    assert_ne!(stage.output(revision, json!(0)).await["pid"], before);
    let exit = error(stage.call(revision, json!("exit")).await);
    assert!(exit.message.contains("exit status: 3"), "{exit}");
    assert!(stage.output(revision, json!(0)).await["pid"].is_number());
}
