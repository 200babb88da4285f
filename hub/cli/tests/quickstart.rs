//! What a newcomer sees: the first start, the second start, and what is said when it cannot start.
// Helpers outside #[test] functions may unwrap here: a panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use dispatch_fixtures::hub::{Hub, free_port};

const BINARY: &str = env!("CARGO_BIN_EXE_dispatch");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_start_runs_a_function_within_seconds_and_the_second_goes_on() -> Result<()> {
    let started = Instant::now();
    let mut hub = Hub::start_with(BINARY, &["--quickstart"]).await?;
    hub.until("a first run is printed", Duration::from_secs(25), |hub| {
        Ok(hub.stdout().contains("cron.trigger"))
    })
    .await?;
    eprintln!("first run after {:?}", started.elapsed());
    let printed = hub.stdout();
    for part in [
        "http://127.0.0.1:",
        "curl",
        "dispatch get runs",
        "dispatch create function",
        "hello",
        "READY",
    ] {
        ensure!(printed.contains(part), "{part:?} is missing in:\n{printed}");
    }
    let before = hub.json(&["get", "runs"])?.as_array().map_or(0, Vec::len);
    ensure!(before >= 1, "no runs listed");

    let stopped = Instant::now();
    let (status, said) = hub.stop(Duration::from_secs(6)).await?;
    ensure!(status.success(), "{status}: {said}");
    ensure!(
        stopped.elapsed() < Duration::from_secs(5),
        "took {:?} to stop",
        stopped.elapsed()
    );

    hub.run().await?;
    let functions = hub.json(&["get", "functions"])?;
    assert_eq!(functions.as_array().map_or(0, Vec::len), 1, "{functions}");
    hub.until("runs go on", Duration::from_secs(25), |hub| {
        Ok(hub.json(&["get", "runs"])?.as_array().map_or(0, Vec::len) > before)
    })
    .await
}

fn server(args: &[&str]) -> Result<Output> {
    Ok(Command::new(BINARY).arg("server").args(args).output()?)
}

fn one_line_that_names(output: &Output, setting: &str) -> Result<()> {
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "{}: {text}", output.status);
    // A first start may have said before that it made a key.
    let problems = text.lines().filter(|line| !line.contains(" INFO ")).count();
    ensure!(
        problems == 1 && text.contains(setting),
        "{setting} not named in one line:\n{text}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_cannot_be_says_which_setting_in_one_line() -> Result<()> {
    let hub = Hub::start(BINARY).await?;
    let folder = tempfile::tempdir()?;
    let (data, port) = (folder.path().join("data"), free_port()?.to_string());
    let data = data.to_str().unwrap();

    let busy = server(&["--data", data, "--port", &hub.port().to_string()])?;
    one_line_that_names(&busy, "--port")?;

    let opened = server(&["--data", hub.data().to_str().unwrap(), "--port", &port])?;
    one_line_that_names(&opened, "--data")?;

    let unwritable = server(&["--data", "/proc/dispatch", "--port", &port])?;
    one_line_that_names(&unwritable, "--data")?;

    let open_to_all = server(&["--data", data, "--port", &port, "--host", "0.0.0.0"])?;
    one_line_that_names(&open_to_all, "--insecure-no-auth")
}
