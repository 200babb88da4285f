//! The transcript in the articles about Dispatch Solo, command by command, against the real binary.
// Helpers outside #[test] functions may unwrap here: a panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chrono::DateTime;
use dispatch_fixtures::hub::Hub;
use dispatch_fixtures::wheels;
use serde_json::Value;

const HELLO: &str = r#"
def handle(ctx, payload):
    name = "Noone"
    place = "Nowhere"
    if payload:
        name = payload.get("name", name)
        place = payload.get("place", place)
    return {"myField": "Hello, %s from %s" % (name, place)}
"#;

fn find<'a>(list: &'a Value, name: &str) -> &'a Value {
    list.as_array()
        .and_then(|l| l.iter().find(|i| i["name"] == name))
        .unwrap_or(&Value::Null)
}

/// The tick of a run by cron, and when the run was taken: Unix nanoseconds, as runs have them.
fn tick_and_taken(run: &Value) -> Result<(i64, i64)> {
    let tick = run["event"]["eventTime"].as_str().context("eventTime")?;
    let tick = DateTime::parse_from_rfc3339(tick)?.timestamp_nanos_opt();
    let taken = run["executedTime"].as_i64();
    Ok((tick.context("nanoseconds")?, taken.context("executedTime")?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_published_transcript_runs_as_printed() -> Result<()> {
    // The hub's pip finds the packages of the seed images here, and asks the registry only where they could not be fetched.
    let wheels = wheels::folder()?.map(|folder| folder.to_string_lossy().into_owned());
    let environment = match &wheels {
        Some(wheels) => vec![("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", wheels.as_str())],
        None => Vec::new(),
    };
    let hub = Hub::start_in(env!("CARGO_BIN_EXE_dispatch"), &[], &environment).await?;
    std::fs::write(hub.scratch().join("hello.py"), HELLO)?;

    let seeded = hub.ok(&["create", "seed-images"])?;
    let want: Vec<String> = ["nodejs-base", "python3-base", "powershell-base", "java-base"]
        .map(|n| format!("Created BaseImage: {n}"))
        .into_iter()
        .chain(["nodejs", "python3", "powershell", "java"].map(|n| format!("Created Image: {n}")))
        .collect();
    assert_eq!(seeded.lines().collect::<Vec<_>>(), want);
    hub.until(
        "python3 and nodejs READY, the others decided",
        Duration::from_secs(60),
        |hub| {
            let images = hub.json(&["get", "images"])?;
            let is_ready = |name: &str| find(&images, name)["status"] == "READY";
            let is_being_made = |name: &str| {
                let status = find(&images, name)["status"].as_str();
                matches!(status, Some("INITIALIZED" | "CREATING"))
            };
            Ok(["python3", "nodejs"].into_iter().all(is_ready)
                && !["java", "powershell"].into_iter().any(is_being_made))
        },
    )
    .await?;
    let images = hub.json(&["get", "images"])?;
    for name in ["java", "powershell"] {
        let image = find(&images, name);
        let honest =
            image["status"] == "READY" || image["status"] == "ERROR" && image["reason"][0].is_string();
        ensure!(honest, "{name}: {image}");
    }

    let created = hub.ok(&[
        "create",
        "function",
        "hello-world",
        "--image",
        "python3",
        "./hello.py",
    ])?;
    assert_eq!(created, "Created function: hello-world\n");
    hub.until("hello-world READY", Duration::from_secs(60), |hub| {
        Ok(hub.json(&["get", "function", "hello-world"])?["status"] == "READY")
    })
    .await?;

    let input = r#"{"name": "Jon", "place": "Winterfell"}"#;
    let printed = hub.ok(&["exec", "hello-world", "--input", input, "--wait"])?;
    let run: Value = serde_json::from_str(&printed)?;
    assert_eq!(run["output"]["myField"], "Hello, Jon from Winterfell");
    assert_eq!(run["status"], "READY");
    assert_eq!(run["blocking"], true);
    assert_eq!(run["functionName"], "hello-world");
    assert_eq!(run["input"]["place"], "Winterfell");
    for (key, value) in [("reason", Value::Null), ("services", Value::Null)] {
        assert_eq!(run[key], value, "{key}");
    }
    assert_eq!(
        (&run["secrets"], &run["tags"]),
        (&serde_json::json!([]), &serde_json::json!([]))
    );
    ensure!(
        run["finishedTime"].as_i64() > run["executedTime"].as_i64(),
        "times: {run}"
    );

    let typed = hub.ok(&[
        "create",
        "eventdrivertype",
        "cron",
        "dispatchframework/dispatch-events-cron:0.0.1",
    ])?;
    assert_eq!(typed, "Created event driver type: cron\n");
    let driver = hub.ok(&[
        "create",
        "eventdriver",
        "cron",
        "--name",
        "every-10-seconds",
        "--set",
        "cron=0/10 * * * *",
    ])?;
    assert_eq!(
        driver.lines().next(),
        Some("Created event driver: every-10-seconds")
    );
    let subscribed = hub.ok(&[
        "create",
        "subscription",
        "hello-world",
        "--name",
        "cron-sub",
        "--event-type",
        "cron.trigger",
    ])?;
    assert_eq!(subscribed, "created subscription: cron-sub\n");

    hub.until("two runs by cron", Duration::from_secs(45), |hub| {
        let runs = hub.json(&["get", "runs"])?;
        let is_done = |run: &&Value| run["event"].is_object() && run["status"] == "READY";
        Ok(runs
            .as_array()
            .is_some_and(|r| r.iter().filter(is_done).count() >= 2))
    })
    .await?;
    let table = hub.ok(&["get", "runs"])?;
    let header = table.lines().next().unwrap_or_default();
    for column in ["ID", "FUNCTION", "STATUS", "STARTED", "FINISHED"] {
        ensure!(header.contains(column), "{header}");
    }
    let runs = hub.json(&["get", "runs"])?;
    let mut by_cron: Vec<(i64, i64)> = runs
        .as_array()
        .unwrap()
        .iter()
        .filter(|r| r["event"]["eventType"] == "cron.trigger")
        .map(tick_and_taken)
        .collect::<Result<_>>()?;
    by_cron.sort_unstable();
    ensure!(by_cron.len() >= 2, "{runs}");
    for pair in by_cron.windows(2) {
        let apart = pair[1].0 - pair[0].0;
        ensure!(apart == 10_000_000_000, "ticks {apart} ns apart: {runs}");
    }
    // No run comes before its tick, and not all of them late: a busy machine may hold up one.
    let late: Vec<i64> = by_cron.iter().map(|(tick, taken)| taken - tick).collect();
    ensure!(late.iter().all(|late| *late >= 0), "{late:?} ns late: {runs}");
    ensure!(late.iter().any(|late| *late < 1_000_000_000), "{late:?} ns late");
    ensure!(
        runs.as_array().unwrap().iter().all(|r| r["status"] == "READY"),
        "{runs}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_command_exits_with_exactly_one_and_says_why() -> Result<()> {
    let hub = Hub::start(env!("CARGO_BIN_EXE_dispatch")).await?;

    let missing = hub.cli(&["get", "function", "nobody"])?;
    let unknown = hub.cli(&["create", "eventdriver", "nothing", "--name", "x"])?;
    let upper = hub.cli(&[
        "create",
        "eventdriver",
        "cron",
        "--name",
        "testDriver-1",
        "--set",
        "cron=@hourly",
    ])?;

    for output in [&missing, &unknown, &upper] {
        assert_eq!(output.status.code(), Some(1), "{output:?}");
    }
    let text = |o: &std::process::Output| String::from_utf8_lossy(&o.stderr).into_owned();
    ensure!(
        text(&missing).contains("[Code: 404]") && text(&missing).contains("nobody not found"),
        "{}",
        text(&missing)
    );
    ensure!(
        text(&unknown).contains("driver type nothing does not exist"),
        "{}",
        text(&unknown)
    );
    ensure!(text(&upper).contains("lower case"), "{}", text(&upper));
    Ok(())
}
