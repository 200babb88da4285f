//! A call with nothing in between: a function's worker on its socket, asked by the generator itself.
//!
//! What a call costs through a hub begins with what it costs without one. The worker is the program the hub starts, spoken
//! to as the hub does (frames: a 32-bit big-endian length, then JSON; first an order to load the function), one call at a
//! time. The function has to return what it gets: an answer that is not the first one's twin is counted as refused.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::Command;
use tokio::time::timeout;

use crate::alarm::Alarm;
use crate::event::{Clock, Mode, Recipe, Stamp};
use crate::load::Posted;
use crate::process::Watch;
use crate::row;

const LOADED_WITHIN: Duration = Duration::from_secs(60);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest answer.
const MOST_BYTES: usize = 8 << 20;
const HEAD: usize = 4;

/// Which worker, and how it is asked.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// What the row is called
    #[arg(long)]
    name: String,
    /// Folder with the function
    #[arg(long)]
    folder: PathBuf,
    /// The function, as its language says
    #[arg(long, default_value = "")]
    handler: String,
    /// Bytes of the payload's data
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// Calls a second (open loop); as fast as answered if not given (closed loop)
    #[arg(long)]
    rate: Option<f64>,
    /// Seconds that count
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Seconds before, that do not
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
    /// File the row is added to as a line
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The worker's program; the path of its socket is added as its last argument
    #[arg(required = true, last = true)]
    command: Vec<String>,
}

/// Starts the worker, measures, ends it, and writes the row.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    ensure!(
        args.rate.is_none_or(|rate| rate > 0.0),
        "--rate must be more than 0"
    );
    let folder = std::fs::canonicalize(&args.folder)
        .with_context(|| format!("there is no folder {}", args.folder.display()))?;
    let socket = std::env::temp_dir().join(format!("dispatch-bench-{}", std::process::id()));
    let listener =
        UnixListener::bind(&socket).with_context(|| format!("cannot listen at {}", socket.display()))?;
    let started = Command::new(&args.command[0])
        .args(&args.command[1..])
        .arg(&socket)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", args.command[0]));
    let measured = match started {
        Ok(mut worker) => {
            let pid = worker.id().context("the worker is gone already")?;
            let measured = measure(&args, &listener, &folder, pid).await;
            worker.kill().await?;
            measured
        }
        Err(error) => Err(error),
    };
    std::fs::remove_file(&socket).with_context(|| format!("cannot remove {}", socket.display()))?;
    row::write(&args.out, &measured?)
}

async fn measure(args: &Args, listener: &UnixListener, folder: &Path, pid: u32) -> anyhow::Result<Value> {
    let connected = timeout(LOADED_WITHIN, listener.accept()).await;
    let (stream, _) = connected.context("the worker does not come to its socket")??;
    let mut line = Line {
        stream,
        answer: Vec::new(),
    };
    let order = json!({"load": {"folder": folder, "handler": args.handler, "maxResult": MOST_BYTES}});
    line.exchange(&frame(order.to_string().as_bytes())?).await?;
    let loaded: Value = serde_json::from_slice(&line.answer)?;
    if let Some(error) = loaded["error"].as_str() {
        bail!("the function is not loaded: {error}");
    }
    let call = frame(&message(args.size)?)?;
    line.exchange(&call).await?;
    let first: Value = serde_json::from_slice(&line.answer)?;
    ensure!(first["context"]["error"].is_null(), "the call fails: {first}");

    let clock = Clock::start();
    if args.warmup > 0.0 {
        load(args, &mut line, &call, clock, args.warmup).await?;
    }
    let (generator, process) = (Watch::start(vec![std::process::id()])?, Watch::start(vec![pid])?);
    let posted = load(args, &mut line, &call, clock, args.seconds).await?;
    let ((process, children), (generator, _)) = (process.finish()?, generator.finish()?);
    let calls = posted.acknowledged;
    let mut row = json!({
        "name": args.name,
        "setting": {"data_bytes": args.size, "rate": args.rate, "producers": 1},
        "generator": generator.figures(calls),
        "process": process.figures(calls),
        "per_core_second": process.per_core_second(children, calls),
    });
    posted.tell(&mut row);
    Ok(row)
}

/// Calls until the time is over.
async fn load(
    args: &Args,
    line: &mut Line,
    call: &[u8],
    clock: Clock,
    seconds: f64,
) -> anyhow::Result<Posted> {
    let alarm = Alarm::new().context("no timer")?;
    let twin = line.answer.clone();
    let begin = clock.now();
    let end = begin + Duration::from_secs_f64(seconds);
    let mut posted = Posted::default();
    for turn in 0u32.. {
        let due = match args.rate {
            None => clock.now(),
            Some(rate) => begin + Duration::from_secs_f64(f64::from(turn) / rate),
        };
        if due >= end || clock.now() >= end + ANSWER_TIMEOUT {
            break;
        }
        if args.rate.is_some() {
            alarm.at(clock.instant(due)).await?;
        }
        let answered = timeout(ANSWER_TIMEOUT, line.exchange(call)).await;
        answered.context("no answer in time")??;
        if line.answer == twin {
            posted.acknowledged += 1;
            posted.latency.add(clock.now().saturating_sub(due));
        } else {
            *posted.refused.entry(500).or_default() += 1;
        }
    }
    posted.took = clock.now() - begin;
    Ok(posted)
}

/// The function message, and how long it may take: the payload is what the other rows post.
fn message(size: usize) -> anyhow::Result<Vec<u8>> {
    let recipe = Recipe {
        mode: Mode::Structured,
        ty: "bench.event".to_owned(),
        types: 1,
        size,
        batch: 1,
        content_type: None,
    };
    let mut request = recipe.request("127.0.0.1", "/", 0);
    request.stamped(&Stamp {
        run: std::process::id(),
        producer: 0,
        number: 0,
        at: Duration::ZERO,
    })?;
    let payload: Value = serde_json::from_slice(request.body())?;
    Ok(serde_json::to_vec(
        &json!({"left": ANSWER_TIMEOUT.as_millis(), "context": {"secrets": {}}, "payload": payload}),
    )?)
}

fn frame(body: &[u8]) -> anyhow::Result<Vec<u8>> {
    let head = u32::try_from(body.len())?.to_be_bytes();
    Ok([&head, body].concat())
}

/// The connection of the worker.
struct Line {
    stream: UnixStream,
    /// The last one.
    answer: Vec<u8>,
}

impl Line {
    /// Sends a frame and reads the one that answers it.
    async fn exchange(&mut self, frame: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(frame).await?;
        self.answer.clear();
        loop {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                bail!("the worker hung up");
            }
            let Some((head, body)) = self.answer.split_first_chunk::<HEAD>() else {
                continue;
            };
            let length = u32::from_be_bytes(*head) as usize;
            ensure!(length <= MOST_BYTES, "an answer of {length} bytes");
            if body.len() >= length {
                self.answer.drain(..HEAD);
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker in the shell of Python: it loads anything, and returns the payload.
    const WORKER: &str = "
import json, socket, struct, sys
link = socket.socket(socket.AF_UNIX); link.connect(sys.argv[1]); file = link.makefile('rb')
def send(body): link.sendall(struct.pack('>I', len(body)) + body)
def read(): return file.read(struct.unpack('>I', file.read(4))[0])
order = json.loads(read())['load']
send(json.dumps({'error': 'no such thing'} if order['handler'] == 'missing' else {'ok': True}).encode())
while True:
    payload = json.loads(read())['payload']
    send(json.dumps({'context': {'error': None}, 'payload': payload}).encode())
";

    fn args(folder: &Path, handler: &str, rate: Option<f64>) -> Args {
        Args {
            name: "worker".to_owned(),
            folder: folder.to_owned(),
            handler: handler.to_owned(),
            size: 64,
            rate,
            seconds: 0.3,
            warmup: 0.0,
            out: folder.join("rows"),
            command: ["python3", "-c", WORKER].map(str::to_owned).to_vec(),
        }
    }

    #[tokio::test]
    async fn a_worker_is_loaded_and_called_and_one_that_loads_nothing_says_why() {
        let folder = tempfile::tempdir().unwrap();

        run(args(folder.path(), "f", Some(50.0))).await.unwrap();
        let refused = run(args(folder.path(), "missing", None)).await.unwrap_err();

        let row: Value =
            serde_json::from_str(&std::fs::read_to_string(folder.path().join("rows")).unwrap()).unwrap();
        assert_eq!(
            (&row["acknowledged"], &row["refused"]),
            (&json!(15), &json!(0)),
            "{row}"
        );
        assert!(row["ack_micros"]["p50"].as_u64().unwrap() > 0, "{row}");
        assert!(refused.to_string().contains("no such thing"), "{refused}");
    }
}
