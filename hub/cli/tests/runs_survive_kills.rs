//! `kill -9` of the real hub at random moments while functions are called asynchronously, so many times a second: every
//! call that was acknowledged ends exactly once.
//!
//! `RUN_KILLS` (20; `make soak`: 50), `RUN_RATE`, `KILL_SEED` and `DISPATCH_BINARY` change it. Calls are due at their own
//! times, whether the hub is there or not; one that is not acknowledged is made again, and may have been taken or not. A
//! binary that is given is one to be shipped: 500 calls a second are due, and it has to acknowledge as many a second
//! while it is up. A debug build is asked for 200 and only for correctness. The journal is read at the end: it is where a
//! run that ended twice would be seen.
// Helpers outside #[test] functions may unwrap here: a panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use dispatch_fixtures::hub::{Hub, client};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

const CALLERS: u32 = 16;
/// Calls a second.
const RATE: u32 = 500;
/// The same of a debug build.
const RATE_OF_DEBUG: u32 = 200;
/// How long a caller waits before it asks a hub again that is not there.
const AWAY: Duration = Duration::from_millis(5);
/// The shortest and the longest time a hub lives after it serves, in milliseconds.
const LIFE: std::ops::Range<u64> = 100..900;
/// How long what is owed may take to be run in the end.
const PATIENCE: Duration = Duration::from_secs(150);
/// Every seventh input is refused by the function, so that both ends are seen.
const SOURCE: &str =
    "def handle(ctx, payload):\n    if payload % 7 == 0: raise RuntimeError('seven')\n    return payload\n";

fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    let said = std::env::var(name).ok().and_then(|text| text.parse().ok());
    said.unwrap_or(default)
}

/// Callers that never give up, and the names of the runs they were told.
struct Callers {
    stop: Arc<AtomicBool>,
    told: Arc<Mutex<BTreeMap<String, u64>>>,
    tasks: Vec<JoinHandle<Result<()>>>,
}

impl Callers {
    fn start(url: &str, rate: u32) -> Result<Self> {
        let (stop, told) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let every = Duration::from_secs(1) * CALLERS / rate.max(1);
        let tasks = (0..CALLERS)
            .map(|caller| {
                let path = format!("{url}/v1/runs?functionName=f");
                Ok(tokio::spawn(call(
                    client()?,
                    path,
                    caller,
                    every,
                    Arc::clone(&stop),
                    Arc::clone(&told),
                )))
            })
            .collect::<Result<_>>()?;
        Ok(Self { stop, told, tasks })
    }

    async fn finish(self) -> Result<BTreeMap<String, u64>> {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            tokio::time::timeout(Duration::from_secs(60), task).await???;
        }
        Ok(std::mem::take(&mut *self.told.lock().unwrap()))
    }
}

async fn call(
    client: Client,
    path: String,
    caller: u32,
    every: Duration,
    stop: Arc<AtomicBool>,
    told: Arc<Mutex<BTreeMap<String, u64>>>,
) -> Result<()> {
    // Callers take turns, so the whole is even.
    let begun = tokio::time::Instant::now() + every * caller / CALLERS;
    for n in 0u32.. {
        tokio::time::sleep_until(begun + every * n).await;
        let input = u64::from(n * CALLERS + caller);
        loop {
            if stop.load(Ordering::SeqCst) {
                return Ok(());
            }
            let sent = client.post(&path).json(&json!({"input": input})).send().await;
            if let Some(name) = acknowledged(sent).await? {
                told.lock().unwrap().insert(name, input);
                break;
            }
            tokio::time::sleep(AWAY).await;
        }
    }
    Ok(())
}

/// The name of the run. None if the hub is away, went away before all of the answer came, or takes nothing now.
async fn acknowledged(sent: reqwest::Result<reqwest::Response>) -> Result<Option<String>> {
    let Ok(answer) = sent else { return Ok(None) };
    match answer.status() {
        StatusCode::ACCEPTED => {
            let Ok(run) = answer.json::<Value>().await else {
                return Ok(None);
            };
            let name = run["name"].as_str().context("a run has a name")?;
            Ok(Some(name.to_owned()))
        }
        StatusCode::SERVICE_UNAVAILABLE => Ok(None),
        status => anyhow::bail!("{status}: {}", answer.text().await?),
    }
}

/// All runs the hub lists, by name.
async fn listed(hub: &Hub, query: &str) -> Result<BTreeMap<String, Value>> {
    let client = client()?;
    let mut all = BTreeMap::new();
    let mut next = Some(format!("/v1/runs?limit=1000{query}"));
    while let Some(page) = next {
        let answer = client
            .get(format!("{}{page}", hub.url()))
            .send()
            .await?
            .error_for_status()?;
        let link = answer
            .headers()
            .get("link")
            .map(|link| link.to_str().map(str::to_owned));
        next = link
            .transpose()?
            .and_then(|link| Some(link.split(['<', '>']).nth(1)?.to_owned()));
        for run in answer.json::<Vec<Value>>().await? {
            let name = run["name"].as_str().context("a name")?.to_owned();
            ensure!(all.insert(name.clone(), run).is_none(), "{name} is listed twice");
        }
    }
    Ok(all)
}

/// How often the journal tells of the end of each run.
fn ends(binary: &str, data: &Path) -> Result<BTreeMap<String, usize>> {
    let mut dump = Command::new(binary)
        .args(["journal", "dump", "--data"])
        .arg(data)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut ends = BTreeMap::new();
    for line in BufReader::new(dump.stdout.take().context("no output")?).lines() {
        let line = line?;
        if line.contains("\"type\":\"dispatch.run.") {
            let line: Value = serde_json::from_str(&line)?;
            let name = line["event"]["data"]["name"]
                .as_str()
                .context("a run")?
                .to_owned();
            *ends.entry(name).or_default() += 1;
        }
    }
    ensure!(dump.wait()?.success(), "the journal cannot be read");
    Ok(ends)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_call_ends_exactly_once_whatever_moment_the_hub_is_killed_at() -> Result<()> {
    let shipped = std::env::var("DISPATCH_BINARY").ok();
    let kills: u32 = setting("RUN_KILLS", 20);
    let rate: u32 = setting("RUN_RATE", if shipped.is_some() { RATE } else { RATE_OF_DEBUG });
    let seed: u64 = setting("KILL_SEED", fastrand::u64(..));
    println!("KILL_SEED={seed} RUN_KILLS={kills} RUN_RATE={rate}");
    let has_to = shipped.is_some().then_some(f64::from(rate));
    let binary = shipped.unwrap_or_else(|| env!("CARGO_BIN_EXE_dispatch").to_owned());
    let mut random = fastrand::Rng::with_seed(seed);

    // Given a function, and callers that never give up
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("hub.yaml");
    std::fs::write(&config, "retention: {runs: {max-count: 10000000}}\n")?;
    let mut hub = Hub::start_with(&binary, &["--config", config.to_str().context("a path")?]).await?;
    std::fs::write(hub.scratch().join("f.py"), SOURCE)?;
    hub.ok(&[
        "create",
        "base-image",
        "python3-base",
        "x/y:1",
        "--language",
        "python3",
    ])?;
    hub.ok(&["create", "image", "python3", "python3-base"])?;
    hub.ok(&["create", "function", "f", "f.py", "--image", "python3"])?;
    hub.until("the function is READY", Duration::from_secs(60), |hub| {
        Ok(hub.json(&["get", "function", "f"])?["status"] == "READY")
    })
    .await?;
    let callers = Callers::start(&hub.url(), rate)?;

    // When the hub is killed again and again
    let began = Instant::now();
    let mut alive = Duration::ZERO;
    for _ in 0..kills {
        let since = Instant::now();
        // The moment of the kill is what is tried; nothing is waited for here.
        tokio::time::sleep(Duration::from_millis(random.u64(LIFE))).await;
        hub.kill()?;
        alive += since.elapsed();
        hub.run().await?;
    }
    let took = began.elapsed();
    let told = callers.finish().await?;
    ensure!(
        told.len() > kills as usize,
        "only {} calls were acknowledged",
        told.len()
    );

    // Then each that was acknowledged can be asked for at once, and ends
    let some: Vec<&String> = told.keys().step_by(told.len().div_ceil(50)).collect();
    for name in some {
        hub.json(&["get", "run", "f", name])?;
    }
    let (owing, until) = (Instant::now(), Instant::now() + PATIENCE);
    loop {
        let waiting =
            listed(&hub, "&status=initialized").await?.len() + listed(&hub, "&status=creating").await?.len();
        if waiting == 0 {
            break;
        }
        ensure!(Instant::now() < until, "{waiting} runs are stuck");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let owed = owing.elapsed();
    let (status, log) = hub.stop(Duration::from_secs(60)).await?;
    ensure!(
        status.success() && log.contains("drained and stopped"),
        "{status}: {log}"
    );
    hub.run().await?;
    let runs = listed(&hub, "").await?;
    let (mut ready, mut failed) = (0, 0);
    for (name, input) in &told {
        let run = runs
            .get(name)
            .with_context(|| format!("{name} was acknowledged and is gone"))?;
        let expected = match input % 7 {
            0 => {
                failed += 1;
                "ERROR"
            }
            _ => {
                ready += 1;
                "READY"
            }
        };
        ensure!(
            run["status"] == expected && run["finishedTime"].is_i64(),
            "input {input}: {run}"
        );
    }

    // And none ended twice, or did not end
    hub.stop(Duration::from_secs(60)).await?;
    let ends = ends(&binary, &hub.data())?;
    let twice: BTreeSet<_> = ends.iter().filter(|(_, count)| **count != 1).collect();
    ensure!(twice.is_empty(), "these ended more than once: {twice:?}");
    let never = told.keys().find(|name| !ends.contains_key(*name));
    ensure!(never.is_none(), "{never:?} never ended");
    let calls = told.len() as f64;
    let while_up = calls / alive.as_secs_f64();
    println!(
        "{kills} kills in {:.0} s, {calls} calls acknowledged, {:.0} a second, {while_up:.0} a second while the hub was up: {ready} READY, {failed} ERROR, 0 lost, 0 twice; {} runs in all, the last {:.1} s after the callers stopped",
        took.as_secs_f64(),
        calls / took.as_secs_f64(),
        ends.len(),
        owed.as_secs_f64(),
    );
    if let Some(rate) = has_to {
        ensure!(
            while_up >= rate,
            "{while_up:.0} calls a second are less than {rate}"
        );
    }
    Ok(())
}
