//! A hub that gives prepared answers and remembers what it was asked, and the command line against it.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinHandle;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// `POST /v1/function?x=y`.
    pub(crate) line: String,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body, `null` when empty.
    pub(crate) body: Value,
}

#[derive(Default)]
struct Script {
    answers: Vec<(String, u16, String)>,
    asked: Vec<Asked>,
}

/// A hub on a port of its own.
pub(crate) struct FakeHub {
    port: u16,
    script: Arc<Mutex<Script>>,
    home: tempfile::TempDir,
    server: JoinHandle<()>,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

impl FakeHub {
    /// A hub without answers: all it says is 404.
    pub(crate) async fn start() -> Self {
        let script = Arc::new(Mutex::new(Script::default()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answering = script.clone();
        let routes = Router::new().fallback(move |request| answer(answering.clone(), request));
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self {
            port,
            script,
            home: tempfile::tempdir().unwrap(),
            server,
        }
    }

    /// Prepares an answer to requests of this method and path.
    pub(crate) fn answers(&self, line: &str, status: u16, body: Value) {
        self.answers_text(line, status, &body.to_string());
    }

    /// Prepares an answer that is no JSON.
    pub(crate) fn answers_text(&self, line: &str, status: u16, body: &str) {
        let answer = (line.to_owned(), status, body.to_owned());
        self.script.lock().unwrap().answers.push(answer);
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.script.lock().unwrap().asked.clone()
    }

    /// The only request there was.
    pub(crate) fn asked_once(&self) -> Asked {
        let asked = self.asked();
        assert_eq!(asked.len(), 1, "{asked:?}");
        asked[0].clone()
    }

    /// Home and working folder of the commands.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Runs the command line against this hub.
    pub(crate) async fn run(&self, line: &[&str]) -> Ended {
        let port = self.port.to_string();
        self.run_with(line, &[("DISPATCH_HOST", "127.0.0.1"), ("DISPATCH_PORT", &port)])
            .await
    }

    /// Runs the command line with nothing but these variables.
    pub(crate) async fn run_with(&self, line: &[&str], environment: &[(&str, &str)]) -> Ended {
        let command = Command::new(env!("CARGO_BIN_EXE_dispatch"))
            .args(line)
            .env_clear()
            .env("HOME", self.home.path())
            .env("TZ", "Asia/Tokyo")
            .envs(environment.iter().copied())
            .current_dir(self.home.path())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(Duration::from_secs(20), command)
            .await
            .expect("the command ends in time")
            .unwrap();
        Ended {
            code: output.status.code().expect("the command is not killed"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs it, expects success and nothing on standard error, gives what it printed.
    pub(crate) async fn prints(&self, line: &[&str]) -> String {
        let ended = self.run(line).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{line:?}");
        ended.stdout
    }
}

impl Drop for FakeHub {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(script: Arc<Mutex<Script>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let line = format!("{} {}", parts.method, parts.uri);
    let bytes = to_bytes(body, 1 << 20).await.unwrap();
    let mut script = script.lock().unwrap();
    script.asked.push(Asked {
        line: line.clone(),
        headers: parts.headers,
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
    });
    let without_query = line.split('?').next().unwrap_or_default();
    let found = script.answers.iter().rfind(|(known, ..)| *known == without_query);
    let (status, body) = match found {
        Some((_, status, body)) => (*status, body.clone()),
        None => (
            404,
            json!({"code": 404, "message": format!("{without_query} not found")}).to_string(),
        ),
    };
    Response::builder()
        .status(StatusCode::from_u16(status).unwrap())
        .body(Body::from(body))
        .unwrap()
}
