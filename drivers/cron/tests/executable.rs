//! The promises of `dispatch-driver-cron` as a process: its exit codes, its end, and that no tick is lost or doubled.

// A helper that fails fails its test.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use dispatch_contract::Event;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Fake {
    ids: Vec<String>,
    /// Of each event, as `name=value` with spaces between.
    extensions: Vec<String>,
    checkpoint: Option<String>,
}
type Shared = Arc<Mutex<Fake>>;

async fn take(State(fake): State<Shared>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut fake = fake.lock().unwrap();
    let events = match headers["content-type"] == "application/cloudevents+json" {
        true => vec![Event::from_json(&body).unwrap()],
        false => Event::batch_from_json(&body, 1000).unwrap(),
    };
    fake.ids.extend(events.iter().map(|event| event.id().to_owned()));
    let extensions = events.iter().map(|event| {
        let each = event.extensions().map(|a| format!("{}={}", a.name, a.text));
        each.collect::<Vec<_>>().join(" ")
    });
    fake.extensions.extend(extensions);
    fake.checkpoint = Some(headers["dispatch-checkpoint"].to_str().unwrap().to_owned());
    StatusCode::ACCEPTED
}

async fn checkpoint(State(fake): State<Shared>) -> Result<Vec<u8>, StatusCode> {
    use base64::Engine as _;
    let stored = fake.lock().unwrap().checkpoint.clone();
    let stored = stored.ok_or(StatusCode::NO_CONTENT)?;
    Ok(base64::engine::general_purpose::STANDARD.decode(stored).unwrap())
}

async fn serve(fake: &Shared) -> SocketAddr {
    let routes = Router::new()
        .route("/sink", post(take))
        .route("/sink/checkpoint", get(checkpoint))
        .with_state(fake.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    address
}

fn driver(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dispatch-driver-cron"));
    command.args(args).kill_on_drop(true).stdin(Stdio::piped());
    command
}

fn start(address: SocketAddr) -> Child {
    let mut command = driver(&["--cron=@every 1s", "--missed=all"]);
    command
        .env("K_SINK", format!("http://{address}/sink"))
        .env("DISPATCH_DRIVER_ID", "d");
    command.spawn().unwrap()
}

async fn until_ticks(fake: &Shared, count: usize) {
    let enough = async {
        while fake.lock().unwrap().ids.len() < count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, enough)
        .await
        .expect("ticks in time");
}

async fn code(child: &mut Child) -> Option<i32> {
    tokio::time::timeout(PATIENCE, child.wait())
        .await
        .expect("the end in time")
        .unwrap()
        .code()
}

#[tokio::test]
async fn no_tick_is_lost_or_doubled_when_the_driver_is_killed_and_started_again() {
    let fake = Shared::default();
    let address = serve(&fake).await;
    let mut first = start(address);
    until_ticks(&fake, 1).await;

    first.kill().await.unwrap();
    let before = fake.lock().unwrap().ids.len();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut second = start(address);
    until_ticks(&fake, before + 2).await;
    drop(second.stdin.take());

    assert_eq!(code(&mut second).await, Some(0), "it ends with its hub");
    let ids = fake.lock().unwrap().ids.clone();
    let times: Vec<i64> = ids
        .iter()
        .map(|id| {
            id.split_once('-')
                .unwrap()
                .1
                .parse::<chrono::DateTime<chrono::Utc>>()
                .unwrap()
                .timestamp()
        })
        .collect();
    assert!(times.windows(2).all(|pair| pair[1] == pair[0] + 1), "{ids:?}");
}

#[tokio::test]
async fn every_event_has_the_extensions_that_the_one_who_set_the_driver_up_wants() {
    let fake = Shared::default();
    let address = serve(&fake).await;
    let mut command = driver(&["--cron=@every 1s"]);
    command.env("K_SINK", format!("http://{address}/sink"));
    let overrides = |text: &str| [("K_CE_OVERRIDES", text.to_owned())];

    let wrong = command
        .envs(overrides(r#"{"extensions":{"time":"now"}}"#))
        .output()
        .await
        .unwrap();
    let _running = command
        .envs(overrides(r#"{"extensions":{"site":"east","floor":"3"}}"#))
        .spawn()
        .unwrap();
    until_ticks(&fake, 2).await;

    let said = String::from_utf8(wrong.stderr).unwrap();
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        said.contains("K_CE_OVERRIDES: extensions: time is no extension"),
        "{said}"
    );
    for extensions in &fake.lock().unwrap().extensions {
        assert_eq!(extensions, "floor=3 site=east");
    }
}

#[tokio::test]
async fn the_next_ticks_are_printed_in_the_schedules_time_zone() {
    let output = driver(&["--cron=0 9 * * *", "--timezone=Asia/Tokyo", "--next=3"])
        .output()
        .await
        .unwrap();

    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert_eq!(text.lines().count(), 3);
    assert!(
        text.lines().all(|line| line.ends_with("T09:00:00+09:00")),
        "{text}"
    );
}

#[tokio::test]
async fn wrong_settings_end_with_code_1_and_one_line() {
    for args in [
        &["--cron=nonsense"][..],
        &["--corn=* * * * *"],
        &["--cron=nonsense", "--next=3"],
        &[],
    ] {
        let mut command = driver(args);
        let output = command
            .env("K_SINK", "http://127.0.0.1:1")
            .output()
            .await
            .unwrap();

        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("--c"), "{text}");
    }
}

#[tokio::test]
async fn help_names_every_setting() {
    let output = driver(&["--help"]).output().await.unwrap();

    let text = String::from_utf8(output.stdout).unwrap();
    for key in [
        "--cron",
        "--timezone",
        "--dialect",
        "--missed",
        "--source",
        "--type",
        "K_SINK",
    ] {
        assert!(text.contains(key), "{text}");
    }
}
