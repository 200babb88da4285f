//! Functions that mean harm, run by a real hub with bubblewrap and on a machine without: what each attempt came to.
//!
//! Each test prints a row per attempt. Whatever a function does, its call ends within its timeout and a second, the
//! next call is answered, and when the function is deleted no process of it is left, wherever it hid.
// Helpers outside #[test] functions may unwrap here: a panic is how a test fails. The rows are for people.
#![allow(clippy::unwrap_used, clippy::print_stdout)]
#![cfg(target_os = "linux")]

mod attempts;
mod machine;
mod remains;
mod settings;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use dispatch_fixtures::hub::Hub;
use serde_json::{Value, json};

use attempts::{ATTEMPTS, Attempt, Ends};
use machine::Machine;

const BINARY: &str = env!("CARGO_BIN_EXE_dispatch");
/// More than anything here should take.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a function has.
const TIMEOUT: Duration = Duration::from_secs(3);
/// How much later its call may end.
const GRACE: Duration = Duration::from_secs(1);
/// What the command line and a machine that does other things may take besides.
const AROUND: Duration = Duration::from_secs(2);

/// A hub with images.
async fn hub(machine: &Machine, extra: &[&str]) -> Result<Hub> {
    let hub = Hub::start_in(BINARY, extra, &machine.environment()).await?;
    hub.ok(&["create", "seed-images"])?;
    hub.until("python3 and nodejs READY", PATIENCE, |hub| {
        let images = hub.json(&["get", "images"])?;
        let ready = |name: &str| {
            let all = images.as_array().into_iter().flatten();
            all.filter(|i| i["name"] == name).any(|i| i["status"] == "READY")
        };
        Ok(ready("python3") && ready("nodejs"))
    })
    .await?;
    Ok(hub)
}

/// Creates a function of one file and waits until it is READY or ERROR; gives it.
async fn function(hub: &Hub, name: &str, image: &str, text: &str, flags: &[&str]) -> Result<Value> {
    let file = hub.scratch().join(match image {
        "nodejs" => format!("{name}.js"),
        _ => format!("{name}.py"),
    });
    std::fs::write(&file, text)?;
    let file = file.to_string_lossy();
    let handler = format!("./{name}.js");
    let mut args = vec!["create", "function", name, "--image", image, &file];
    if image == "nodejs" {
        args.extend(["--handler", &handler]);
    }
    args.extend(flags);
    hub.ok(&args)?;
    settled(hub, name).await
}

async fn settled(hub: &Hub, name: &str) -> Result<Value> {
    let mut seen = Value::Null;
    hub.until("the function is READY or ERROR", PATIENCE, |hub| {
        seen = hub.json(&["get", "function", name])?;
        Ok(seen["status"] == "READY" || seen["status"] == "ERROR")
    })
    .await?;
    Ok(seen)
}

/// Calls a function and gives its run, and how long that took.
fn exec(hub: &Hub, name: &str, input: &Value) -> Result<(Value, Duration)> {
    let start = Instant::now();
    let output = hub.cli(&[
        "exec",
        name,
        "--wait",
        "--input",
        &input.to_string(),
        "-o",
        "json",
    ])?;
    let took = start.elapsed();
    let text = String::from_utf8_lossy(&output.stdout);
    let run = serde_json::from_str(&text)
        .with_context(|| format!("{text}{}", String::from_utf8_lossy(&output.stderr)))?;
    Ok((run, took))
}

/// One attempt: how it ended, in a word or two.
async fn attempt(hub: &Hub, attempt: &Attempt, input: &Value) -> Result<String> {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = attempt.name.chars().map(plain).collect();
    let flags = ["--timeout", "3000", "--memory", "256Mi", "--scratch", "64Mi"];
    let made = function(hub, &name, attempt.image, attempt.text, &flags).await?;
    ensure!(made["status"] == "READY", "{made}");
    let mark = made["faasId"].as_str().context("faasId")?.to_owned();

    let (run, took) = exec(hub, &name, input)?;

    ensure!(took < TIMEOUT + GRACE + AROUND, "{took:?}: {run}");
    let came = came_of(&run);
    match attempt.ends {
        Ends::Refused => ensure!(
            run["status"] == "READY" && run["output"]["refused"].is_string(),
            "{run}"
        ),
        Ends::Answered => ensure!(run["status"] == "READY", "{run}"),
        Ends::Failed => ensure!(run["status"] == "ERROR", "{run}"),
        Ends::Somehow => {}
    }
    remains::gone("what hid from the call", PATIENCE, &format!("HIDDEN={name}")).await?;
    let (next, _) = exec(hub, &name, &json!({"fine": true}))?;
    ensure!(next["output"] == json!("fine"), "the next call: {next}");
    hub.ok(&["delete", "function", &name])?;
    remains::gone("what belongs to the function", PATIENCE, &mark).await?;
    Ok(format!("{came} ({:.1} s)", took.as_secs_f64()))
}

fn came_of(run: &Value) -> String {
    let text = match (&run["output"]["refused"], &run["error"]["message"]) {
        (Value::String(refused), _) => format!("refused: {refused}"),
        (_, Value::String(message)) => format!("failed: {message}"),
        _ => format!("answered {}", run["output"]),
    };
    text.chars().take(110).collect()
}

async fn all_attempts(machine: &Machine) -> Result<()> {
    let mut hub = hub(machine, &[]).await?;
    let victim = function(&hub, "victim", "python3", attempts::VICTIM, &[]).await?;
    ensure!(victim["protections"]["inForce"].is_array(), "{victim}");
    println!("\n{}: {}", machine.name(), victim["protections"]);
    let data = hub.data();
    let input = json!({
        "data": data, "port": hub.port(), "pid": hub.pid(),
        "victim": victims_source(&data, &victim)?,
    });

    let mut failed = Vec::new();
    for case in &ATTEMPTS {
        match attempt(&hub, case, &input).await {
            Ok(came) => println!("| {:<28} | {came}", case.name),
            Err(error) => {
                println!("| {:<28} | NOT CONTAINED: {error:#}", case.name);
                failed.push(case.name);
            }
        }
    }

    ensure!(failed.is_empty(), "not contained: {failed:?}");
    let (run, _) = exec(&hub, "victim", &json!({}))?;
    ensure!(run["output"] == json!("unharmed"), "{run}");
    hub.stop(PATIENCE).await?;
    remains::gone("what belongs to the hub", PATIENCE, &data.to_string_lossy()).await
}

/// Where the victim's source lies, for who would read it.
fn victims_source(data: &Path, victim: &Value) -> Result<String> {
    let revision = victim["faasId"].as_str().context("faasId")?;
    let folder = std::fs::read_dir(data.join("functions/revisions"))?
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with(revision))
        .context("the victim's folder")?;
    let files = std::fs::read_dir(folder.path().join("source"))?.flatten();
    let file = files
        .map(|f| f.path())
        .find(|f| f.is_file())
        .context("its source")?;
    Ok(file.to_string_lossy().into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attempt_is_contained_with_bubblewrap() -> Result<()> {
    match Machine::with_bubblewrap()? {
        Some(machine) => all_attempts(&machine).await,
        None => Ok(()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attempt_is_contained_without_bubblewrap() -> Result<()> {
    all_attempts(&Machine::without_bubblewrap()?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_hidden_behind_the_number_of_tasks_runs_beside_no_later_call() -> Result<()> {
    // Given workers that are as many tasks with a process left behind as without
    let Some(machine) = Machine::with_bubblewrap()? else {
        return Ok(());
    };
    let mut hub = hub(&machine, &[]).await?;
    for (name, source) in attempts::HIDES {
        function(&hub, name, "python3", source, &["--max-workers", "1"]).await?;
        let answers = |step: u8| -> Result<serde_json::Value> {
            let (run, _) = exec(&hub, name, &json!({"step": step}))?;
            ensure!(run["status"] == "READY", "{run}");
            Ok(run["output"].clone())
        };

        // When the second call leaves one behind
        let before = answers(1)?;
        ensure!(answers(2)? == before, "{name}: the worker ended too early");

        // Then the third has another worker, and nothing is left
        ensure!(answers(3)? != before, "{name}: the worker went on");
        remains::gone("what hid from the count", PATIENCE, &format!("HIDDEN={name}")).await?;
    }
    hub.stop(PATIENCE).await?;
    Ok(())
}
