//! How long a hub takes from its start to its first acknowledgement.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use http::Uri;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::event::{Mode, Recipe, Stamp};
use crate::load::address;
use crate::process::Watch;
use crate::row;
use crate::wire::Connection;

const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(1);

/// What is started, and where it is asked.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// What the row is called
    #[arg(long)]
    name: String,
    /// Where the first event is posted
    #[arg(long)]
    url: Uri,
    /// How the process is ended afterwards
    #[arg(long, value_enum, default_value_t = End::Term)]
    end: End,
    /// File the row is added to as a line
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What is started
    #[arg(required = true, last = true)]
    command: Vec<String>,
}

/// How a process is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum End {
    /// Asked to stop.
    Term,
    /// Not asked.
    Kill,
}

/// Starts, measures, ends, and writes the row.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut child = Command::new(&args.command[0])
        .args(&args.command[1..])
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {}", args.command[0]))?;
    let watch = Watch::start(vec![child.id()])?;
    let took = acknowledged(&args, &mut child, begun).await;
    let (process, _) = watch.finish()?;
    end(child, args.end)?;
    let figures = process.figures(1);
    let row = json!({
        "name": args.name,
        "setting": {},
        "start_micros": u64::try_from(took?.as_micros())?,
        "rss_peak_bytes": figures["rss_peak_bytes"],
        "cpu_micros": figures["cpu_micros_per_event"],
    });
    row::write(&args.out, &row)
}

async fn acknowledged(args: &Args, child: &mut Child, begun: Instant) -> anyhow::Result<Duration> {
    let address = address(&args.url)?;
    let recipe = Recipe {
        mode: Mode::Structured,
        ty: "bench.start".to_owned(),
        types: 1,
        size: 1024,
        batch: 1,
        content_type: None,
    };
    let mut request = recipe.request(&address, args.url.path(), 0);
    let stamp = Stamp {
        run: child.id(),
        producer: 0,
        number: 0,
        at: Duration::ZERO,
    };
    let bytes = request.stamped(&stamp)?;
    while begun.elapsed() < PATIENCE {
        if let Ok(mut connection) = Connection::open(&address).await
            && let Ok(Ok(200..=299)) = tokio::time::timeout(PATIENCE, connection.exchange(bytes)).await
        {
            return Ok(begun.elapsed());
        }
        if let Some(status) = child.try_wait()? {
            bail!("{} ended by itself: {status}", args.command[0]);
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!("no acknowledgement within {PATIENCE:?}")
}

fn end(mut child: Child, end: End) -> anyhow::Result<()> {
    let signal = match end {
        End::Term => Signal::TERM,
        End::Kill => Signal::KILL,
    };
    // It may have ended by itself: that was said already.
    if child.try_wait()?.is_none() {
        kill_process(Pid::from_child(&child), signal)?;
    }
    child.wait()?;
    Ok(())
}
